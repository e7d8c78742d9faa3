package upstream

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/transomhq/transom/rpc"
)

// Resume stands before a relay and reopens server streams that their backend
// lost, each after the last event that went down: the client notices a pause,
// and neither a gap nor an event twice. Methods without a cursor pass.
type Resume struct {
	// Next ends the calls: a *Relay.
	Next interface {
		Unary(*rpc.Method) grpc.UnaryHandler
		Stream(*rpc.Method) grpc.StreamHandler
	}
	// Cursor returns where streams of a method resume from, nil for not at all.
	Cursor func(*rpc.Method) *rpc.Cursor
	// Patience is how long a lost stream is tried to be reopened before it
	// fails. 0: 30 s.
	Patience time.Duration
}

const (
	defaultPatience = 30 * time.Second
	// acceptedAfter is how long a call that said nothing must have run for a
	// backend to have taken it, rather than never to have been reached.
	acceptedAfter = time.Second
	resumeFirst   = 50 * time.Millisecond
	resumeMost    = 2 * time.Second
)

// Unary returns the handler that ends unary calls of method.
func (r *Resume) Unary(method *rpc.Method) grpc.UnaryHandler { return r.Next.Unary(method) }

// Stream returns the handler that ends all other calls of method.
func (r *Resume) Stream(method *rpc.Method) grpc.StreamHandler {
	next := r.Next.Stream(method)
	var cursor *rpc.Cursor
	if r.Cursor != nil && method.ServerStreams && !method.ClientStreams {
		cursor = r.Cursor(method)
	}
	if cursor == nil {
		return next
	}
	patience := r.Patience
	if patience == 0 {
		patience = defaultPatience
	}
	return func(srv any, down grpc.ServerStream) error {
		s := &resumed{ServerStream: down, method: method, cursor: cursor, patience: patience}
		err := s.run(func() error { return next(srv, s) })
		s.report()
		return err
	}
}

// resumed is the client's side of a stream as each attempt sees it.
type resumed struct {
	grpc.ServerStream
	method   *rpc.Method
	cursor   *rpc.Cursor
	patience time.Duration

	read    bool   // the request was read
	request []byte // as the client sent it
	last    []byte // the position of the last event that went down
	next    []byte // memory for the one that is going down
	header  bool   // the header went down
	events  int    // that went down in this attempt
	fresh   bool   // nothing came in this attempt yet
	asked   bool   // the attempt has its request
	times   int    // reopened
	lost    error  // why nothing more can go down
	trailer metadata.MD
}

// run makes attempts until one ends in a way that another would not mend.
func (s *resumed) run(attempt func() error) error {
	var since time.Time // of the loss
	wait := resumeFirst
	for {
		began := time.Now()
		s.fresh, s.asked, s.events, s.trailer = true, false, 0, nil
		err := attempt()
		if s.events > 0 {
			since, wait = time.Time{}, resumeFirst
		}
		if !s.again(err, time.Since(began)) {
			s.ServerStream.SetTrailer(s.trailer)
			return err
		}
		if since.IsZero() {
			since = time.Now()
		}
		if time.Since(since) > s.patience || !sleep(s.Context(), wait/2+rand.N(wait)) { //nolint:gosec // a spread, not a secret
			s.ServerStream.SetTrailer(s.trailer)
			return err
		}
		wait = min(wait*2, resumeMost)
		s.times++
	}
}

// again reports whether a stream that ended with err was lost, and may be
// opened again.
func (s *resumed) again(err error, took time.Duration) bool {
	if err == nil || s.lost != nil || s.Context().Err() != nil || !isLoss(err) {
		return false
	}
	return s.times > 0 || s.header || s.events > 0 || took >= acceptedAfter
}

// isLoss reports whether err says that the backend, or the way to it, is gone,
// rather than what the backend has decided.
func isLoss(err error) bool {
	if rpc.StatusOf(err).Code() == codes.Unavailable {
		return true
	}
	var own *rpc.Error
	return errors.As(err, &own) && own.Code == codes.Internal && own.HTTPStatus == 502
}

// RecvMsg gives each attempt the request, with the place to resume from.
func (s *resumed) RecvMsg(m any) error {
	msg, ok := m.(*rpc.Message)
	if !ok || s.asked {
		return s.ServerStream.RecvMsg(m)
	}
	if !s.read {
		if err := s.first(msg); err != nil {
			return err
		}
	}
	s.asked = true
	request := s.request[:len(s.request):len(s.request)] // appending copies
	if len(s.last) > 0 {
		var err error
		if request, err = s.cursor.AppendRequest(request, string(s.last)); err != nil {
			return rpc.Errorf(codes.Internal, "the stream was lost, and its place cannot be said").WithCause(err)
		}
	}
	msg.SetBytes(request)
	return nil
}

func (s *resumed) first(msg *rpc.Message) error {
	if err := s.ServerStream.RecvMsg(msg); err != nil {
		s.lost = err
		return err
	}
	b, err := msg.Bytes()
	if err != nil {
		s.lost = err
		return err
	}
	s.request, s.read = append([]byte(nil), b...), true
	return nil
}

// SendHeader sends the first attempt's header; the client has no use for those
// of later ones.
func (s *resumed) SendHeader(md metadata.MD) error {
	if s.header {
		return nil
	}
	s.header = true
	err := s.ServerStream.SendHeader(md)
	s.lost = err
	return err
}

// SetTrailer keeps the trailer of the attempt that will be the last one.
func (s *resumed) SetTrailer(md metadata.MD) { s.trailer = metadata.Join(s.trailer, md) }

// SendMsg passes an event down and notes its position. An event that went down
// before the loss is not sent twice.
func (s *resumed) SendMsg(m any) error {
	msg, err := rpc.MessageOf(s.method.Desc.Output(), m)
	if err != nil {
		return rpc.Errorf(codes.Internal, "internal error").WithCause(err)
	}
	wire, err := msg.Bytes()
	if err != nil {
		return err
	}
	position, ok := s.cursor.AppendPosition(s.next[:0], wire)
	s.next = position
	again := s.fresh && s.times > 0 && ok && string(position) == string(s.last)
	s.fresh = false
	if again {
		return nil
	}
	if err := s.ServerStream.SendMsg(msg); err != nil {
		s.lost = err
		return err
	}
	s.events++
	if ok {
		s.last = append(s.last[:0], position...)
	}
	return nil
}

// report says in the call's record how often the stream was reopened.
func (s *resumed) report() {
	if call := rpc.FromContext(s.Context()); call != nil && s.times > 0 {
		n := s.times
		call.Update(func(o *rpc.Outcome) { o.Attrs = append(o.Attrs, slog.Int("resumed", n)) })
	}
}
