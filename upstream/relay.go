package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/transomhq/transom/rpc"
)

// Backend is where a method's calls go.
type Backend struct {
	// Name is the cluster's name, for the record.
	Name string
	// Conn makes the calls.
	Conn grpc.ClientConnInterface
	// Retry is how the method's failed calls are repeated, which needs a Guard.
	Retry Retry
	// Guard is the cluster's; nil bounds nothing.
	Guard *Guard
}

// Relay is the end of the chain: it passes calls to their backends. It
// satisfies interceptors.Terminal.
type Relay struct {
	// Backend returns where calls of a method go; false: nowhere.
	Backend func(*rpc.Method) (Backend, bool)
	// Drop reports whether a client's metadata key never reaches a backend:
	// credentials that end here, and what only the gateway may say. nil: none.
	Drop func(key string) bool
}

// Unary returns the handler that ends unary calls of method.
func (r *Relay) Unary(method *rpc.Method) grpc.UnaryHandler {
	backend, ok := r.Backend(method)
	if !ok {
		return func(context.Context, any) (any, error) { return nil, noBackend(method) }
	}
	in := method.Desc.Input()
	backend.Retry = backend.Retry.withDefaults()
	return func(ctx context.Context, req any) (any, error) {
		msg, err := rpc.MessageOf(in, req)
		if err != nil {
			return nil, rpc.Errorf(codes.Internal, "internal error").WithCause(err)
		}
		if err := msg.Load(); err != nil {
			return nil, err
		}
		up, err := r.outgoing(ctx)
		if err != nil {
			return nil, err
		}
		if err := backend.Guard.enter(method); err != nil {
			record(ctx, backend.Name, nil, 0)
			return nil, err
		}
		defer backend.Guard.leave()
		reply, err := backend.call(ctx, up, method, msg)
		if err != nil {
			return nil, err
		}
		return reply, nil
	}
}

// call makes a unary call, with as many attempts as it may take. up is the
// context that the backend learns of, ctx the client's.
func (b *Backend) call(ctx, up context.Context, method *rpc.Method, msg *rpc.Message) (*rpc.Message, error) {
	t := tries{retry: &b.Retry, guard: b.Guard}
	reply := rpc.NewMessage(method.Desc.Output())
	var a answer
	for {
		try, done := t.next(up, true)
		err := b.Conn.Invoke(try, method.Name, msg, reply, grpc.Header(&a.header), grpc.Trailer(&a.trailer), grpc.Peer(&a.peer))
		done()
		if err == nil {
			a.passOn(ctx, b.Name, t.made)
			return reply, nil
		}
		if !t.again(ctx, err, a.trailer, msg.Len()) {
			a.passOn(ctx, b.Name, t.made)
			reply.Free()
			return nil, failure(ctx, method, err, a.header, a.trailer)
		}
		a = answer{}
	}
}

// answer is what comes back beside the message.
type answer struct {
	header, trailer metadata.MD
	peer            peer.Peer
}

// passOn hands the backend's metadata to the door and names the backend in the record.
func (a *answer) passOn(ctx context.Context, cluster string, attempts int) {
	if h := inbound(a.header); len(h) > 0 {
		_ = grpc.SetHeader(ctx, h) // without a server transport there is nobody to tell
	}
	if t := inbound(a.trailer); len(t) > 0 {
		_ = grpc.SetTrailer(ctx, t)
	}
	record(ctx, cluster, a.peer.Addr, attempts)
}

func record(ctx context.Context, cluster string, addr net.Addr, attempts int) {
	call := rpc.FromContext(ctx)
	if call == nil {
		return
	}
	endpoint := ""
	if addr != nil {
		endpoint = addr.String()
	}
	call.Update(func(o *rpc.Outcome) { o.Cluster, o.Endpoint, o.Attempts = cluster, endpoint, attempts })
}

func noBackend(method *rpc.Method) error {
	return rpc.Errorf(codes.Unavailable, "no upstream serves %s: the gateway's routes do not name it", method.Service()).WithProxy(rpc.DestinationNotFound)
}

// Stream returns the handler that ends all other calls of method.
func (r *Relay) Stream(method *rpc.Method) grpc.StreamHandler {
	backend, ok := r.Backend(method)
	if !ok {
		return func(any, grpc.ServerStream) error { return noBackend(method) }
	}
	backend.Retry = backend.Retry.withDefaults()
	if method.ClientStreams {
		backend.Retry.Attempts = 1 // many requests are not kept
	}
	desc := &grpc.StreamDesc{StreamName: string(method.Desc.Name()), ClientStreams: method.ClientStreams, ServerStreams: method.ServerStreams}
	return func(_ any, down grpc.ServerStream) error {
		ctx, err := r.outgoing(down.Context())
		if err != nil {
			return err
		}
		s := &stream{method: method, backend: &backend, desc: desc, down: down}
		// A call that streams nothing up is read first: a request that is
		// refused never reaches the backend.
		var first *rpc.Message
		if !method.ClientStreams {
			first = rpc.NewMessage(method.Desc.Input())
			defer first.Free() // run frees it sooner
			if err := s.receiveOnly(first); err != nil {
				return err
			}
		}
		if err := backend.Guard.enter(method); err != nil {
			record(down.Context(), backend.Name, nil, 0)
			return err
		}
		defer backend.Guard.leave()
		return s.run(ctx, first)
	}
}

// stream is one call that is not unary, between its client (down) and its backend (up).
type stream struct {
	method  *rpc.Method
	backend *Backend
	desc    *grpc.StreamDesc
	down    grpc.ServerStream
	up      grpc.ClientStream
	attempt *attempt // nil: there is only one
	cancel  context.CancelFunc
}

// run makes the call, with as many attempts as it may take. first is its only
// request, nil for calls that stream up.
func (s *stream) run(up context.Context, first *rpc.Message) error {
	t := tries{retry: &s.backend.Retry, guard: s.backend.Guard}
	for {
		try, done := t.next(up, false)
		ended := s.try(try, first, t.made == s.backend.Retry.Attempts)
		done()
		if !ended.open && first != nil && t.again(s.down.Context(), ended.err, ended.trailer, first.Len()) {
			continue
		}
		record(s.down.Context(), s.backend.Name, ended.addr, t.made)
		return ended.tell(s)
	}
}

// ending is how an attempt of a stream went.
type ending struct {
	err             error // what the backend's side says
	own             error // what the client's side says, which passes as it is
	header, trailer metadata.MD
	addr            net.Addr
	open            bool // something went down: there is no other attempt
}

func (e *ending) tell(s *stream) error {
	if e.own != nil {
		return e.own
	}
	if len(e.trailer) > 0 {
		s.down.SetTrailer(inbound(e.trailer))
	}
	if e.err == nil || errors.Is(e.err, io.EOF) {
		return nil
	}
	return failure(s.down.Context(), s.method, e.err, e.header, e.trailer)
}

// try makes one attempt; last says that there will be no other.
func (s *stream) try(ctx context.Context, first *rpc.Message, last bool) (end ending) {
	s.attempt = attemptOf(ctx)
	ctx, s.cancel = context.WithCancel(ctx)
	defer s.cancel()
	s.up, end.err = s.backend.Conn.NewStream(ctx, s.desc, s.method.Name)
	if end.err != nil {
		return end
	}
	if first == nil {
		end = s.both()
		end.addr = s.endpoint()
		return end
	}
	end.err = s.up.SendMsg(first)
	if end.err != nil && !errors.Is(end.err, io.EOF) { // EOF: the status comes with the next receive
		return end
	}
	if end.err = s.up.CloseSend(); end.err != nil {
		return end
	}
	if last {
		first.Free()
	}
	end = s.answers(first, s.backend.Retry.PerTryTimeout)
	end.addr = s.endpoint()
	return end
}

// endpoint is who answered. The stream's own context says it once its header
// or status has come; the call option grpc.Peer would be written whenever the
// context ends, also while it is read.
func (s *stream) endpoint() net.Addr {
	if p, ok := peer.FromContext(s.up.Context()); ok {
		return p.Addr
	}
	return nil
}

// receiveOnly reads the one request of a call that streams nothing up.
func (s *stream) receiveOnly(first *rpc.Message) error {
	err := s.down.RecvMsg(first)
	if errors.Is(err, io.EOF) {
		return rpc.Errorf(codes.InvalidArgument, "%s needs a request message", s.method.Name)
	}
	if err != nil {
		return err
	}
	return first.Load()
}

// both relays in both directions. The goroutine that reads from the client may
// outlive the call by the one receive that it is blocked in, which the door
// ends when Stream has returned.
func (s *stream) both() ending {
	broken := make(chan error, 1)
	go func() {
		if err := s.requests(); err != nil {
			broken <- err
			s.cancel() // the backend learns of it, and answers ends
		}
	}()
	end := s.answers(nil, 0)
	select {
	case end.own = <-broken:
	default:
	}
	return end
}

// requests passes the client's messages up until it half-closes. An error is
// the client's; the backend's come with the answers.
func (s *stream) requests() error {
	msg := rpc.NewMessage(s.method.Desc.Input())
	defer msg.Free()
	for {
		err := s.down.RecvMsg(msg)
		if err == nil {
			err = msg.Load()
		}
		switch {
		case errors.Is(err, io.EOF):
			_ = s.up.CloseSend() // its failure comes with the answers
			return nil
		case err != nil:
			return err
		}
		err = s.up.SendMsg(msg)
		msg.Reset(s.method.Desc.Input(), nil)
		if err != nil {
			return nil // the status comes with the answers
		}
	}
}

// answers passes the backend's header, messages and trailer down. patience is
// how long it waits for the header; 0: as long as the call lasts. first is not
// needed any more when the answer has begun.
func (s *stream) answers(first *rpc.Message, patience time.Duration) (end ending) {
	if end.header, end.err = s.await(patience); end.err != nil {
		end.trailer = s.up.Trailer()
		return end
	}
	if end.header != nil {
		end.open = true
		if end.own = s.down.SendHeader(inbound(end.header)); end.own != nil {
			return end
		}
	}
	if end.open && first != nil {
		first.Free()
	}
	msg := rpc.NewMessage(s.method.Desc.Output())
	defer msg.Free()
	for {
		if end.err = s.up.RecvMsg(msg); end.err != nil {
			break
		}
		end.open = true
		if end.own = s.down.SendMsg(msg); end.own != nil {
			return end
		}
		msg.Reset(s.method.Desc.Output(), nil)
		if !s.method.ServerStreams { // the one answer: the status is there with it
			end.err = s.up.RecvMsg(msg)
			break
		}
	}
	end.trailer = s.up.Trailer()
	return end
}

// await waits for the header. There is none where the answer is only a status.
func (s *stream) await(patience time.Duration) (metadata.MD, error) {
	if patience == 0 {
		return s.up.Header()
	}
	late := time.AfterFunc(patience, func() { s.attempt.late.Store(true); s.cancel() })
	header, err := s.up.Header()
	if !late.Stop() && s.down.Context().Err() == nil {
		return nil, status.Error(codes.DeadlineExceeded, "no answer within the attempt's time")
	}
	return header, err
}
