package streams

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/rpc"
)

// Rules are one method's; the zero value has none.
type Rules struct {
	// Idle ends a call when no message passed in either direction for so long.
	Idle time.Duration
	// MaxAge ends a call after so long, give or take a tenth, so that calls
	// which began together do not end together.
	MaxAge time.Duration
	// FirstMessage is how long the first message of a server stream may take.
	FirstMessage time.Duration
	// Slow is what happens when the client reads too slowly.
	Slow Slow
	// Reopens says that the client can open the stream again without loss, so
	// that it need not be kept when the server ends.
	Reopens bool
}

// IsZero reports whether there is nothing to do.
func (r Rules) IsZero() bool { return r == Rules{} }

// Slow says what happens when a client reads slower than messages come.
type Slow int

// The choices.
const (
	Block      Slow = iota // the sender waits
	DropOldest             // the oldest waiting messages are lost, and counted
	Close                  // the call ends
)

// Options configure the interceptor.
type Options struct {
	// Rules returns the rules of a method, given by its full name.
	Rules func(fullMethod string) Rules
	// Ending ends streams with their server; nil: they run to their own end.
	Ending *Ending
}

// The reasons, in an ErrorInfo, for which a stream is ended.
const (
	ReasonIdle         = "STREAM_IDLE"
	ReasonMaxAge       = "STREAM_MAX_AGE" // open it again
	ReasonFirstMessage = "STREAM_FIRST_MESSAGE_TIMEOUT"
	ReasonSlow         = "STREAM_SLOW_CONSUMER"
)

// DroppedTrailer is the trailer key that says how many messages a slow client
// did not get.
const DroppedTrailer = "transom-dropped"

func ended(code codes.Code, reason, text string) *rpc.Error {
	return rpc.Errorf(code, "%s", text).WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: "transom"})
}

// Stream returns the interceptor. It is for all calls but unary ones.
func Stream(opts Options) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		rules := opts.Rules(info.FullMethod)
		if rules.IsZero() {
			return next(srv, ss)
		}
		ctx, cancel := context.WithCancelCause(ss.Context())
		defer cancel(nil)
		s := &stream{ServerStream: ss, ctx: ctx, cancel: cancel, began: time.Now()}
		stop := s.watch(rules, info)
		if rules.Reopens && opts.Ending != nil {
			defer opts.Ending.watch(s)()
		}
		if rules.Slow != Block && info.IsServerStream {
			s.queue = newQueue(ss, rules.Slow)
		}
		err := next(srv, s)
		stop()
		if cause, ours := context.Cause(ctx).(*rpc.Error); ours && err != nil { //nolint:errorlint // it is the very one that watch gave
			err = cause
		}
		if s.queue != nil {
			err = s.queue.end(err)
			s.report()
		}
		return err
	}
}

// stream is a call under rules.
type stream struct {
	grpc.ServerStream
	ctx    context.Context
	cancel context.CancelCauseFunc
	queue  *queue // nil: senders wait
	began  time.Time
	active atomic.Int64 // when the last message passed, since began
	first  *time.Timer  // until the first message; nil: no matter
}

// watch sets the timers that end the call. Each only cancels the context, so
// none needs to be waited for.
func (s *stream) watch(r Rules, info *grpc.StreamServerInfo) (stop func()) {
	var timers []*time.Timer
	after := func(d time.Duration, err *rpc.Error) *time.Timer {
		t := time.AfterFunc(d, func() { s.cancel(err) })
		timers = append(timers, t)
		return t
	}
	if r.MaxAge > 0 {
		age := time.Duration(float64(r.MaxAge) * (0.9 + 0.2*rand.Float64())) //nolint:gosec // a spread, not a secret
		after(age, ended(codes.Unavailable, ReasonMaxAge, "the stream has reached its greatest age; open it again"))
	}
	if r.FirstMessage > 0 && info.IsServerStream {
		s.first = after(r.FirstMessage, ended(codes.DeadlineExceeded, ReasonFirstMessage, "the first message did not come in time"))
	}
	if r.Idle > 0 {
		var idle *time.Timer
		ready := make(chan struct{})
		idle = time.AfterFunc(r.Idle, func() {
			<-ready
			if since := time.Since(s.began) - time.Duration(s.active.Load()); since < r.Idle {
				idle.Reset(r.Idle - since)
				return
			}
			s.cancel(ended(codes.DeadlineExceeded, ReasonIdle, "no message passed for too long; open the stream again when there is something to say"))
		})
		close(ready)
		timers = append(timers, idle)
	}
	return func() {
		for _, t := range timers {
			t.Stop()
		}
	}
}

// Context returns the call's context, which ends when a rule says so.
func (s *stream) Context() context.Context { return s.ctx }

func (s *stream) touch() { s.active.Store(int64(time.Since(s.began))) }

// RecvMsg receives a message from the client.
func (s *stream) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	s.touch()
	return err
}

// SendMsg sends a message to the client, or puts it where it waits for it.
func (s *stream) SendMsg(m any) error {
	if cause, ours := context.Cause(s.ctx).(*rpc.Error); ours { //nolint:errorlint // it is the very one that watch gave
		return cause
	}
	if s.first != nil {
		s.first.Stop()
		s.first = nil
	}
	var err error
	if s.queue != nil {
		err = s.queue.put(m)
	} else {
		err = s.ServerStream.SendMsg(m)
	}
	s.touch()
	return err
}
