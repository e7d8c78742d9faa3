package upstream

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/transomhq/transom/rpc"
)

// Backend is where a method's calls go.
type Backend struct {
	// Name is the cluster's name, for the record.
	Name string
	// Conn makes the calls.
	Conn grpc.ClientConnInterface
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
	in, out := method.Desc.Input(), method.Desc.Output()
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
		reply := rpc.NewMessage(out)
		var a answer
		err = backend.Conn.Invoke(up, method.Name, msg, reply, grpc.Header(&a.header), grpc.Trailer(&a.trailer), grpc.Peer(&a.peer))
		a.passOn(ctx, backend.Name)
		if err != nil {
			reply.Free()
			return nil, failure(ctx, method, err, a.header, a.trailer)
		}
		return reply, nil
	}
}

// answer is what comes back beside the message.
type answer struct {
	header, trailer metadata.MD
	peer            peer.Peer
}

// passOn hands the backend's metadata to the door and names the backend in the record.
func (a *answer) passOn(ctx context.Context, cluster string) {
	if h := inbound(a.header); len(h) > 0 {
		_ = grpc.SetHeader(ctx, h) // without a server transport there is nobody to tell
	}
	if t := inbound(a.trailer); len(t) > 0 {
		_ = grpc.SetTrailer(ctx, t)
	}
	record(ctx, cluster, &a.peer)
}

func record(ctx context.Context, cluster string, p *peer.Peer) {
	call := rpc.FromContext(ctx)
	if call == nil {
		return
	}
	endpoint := ""
	if p.Addr != nil {
		endpoint = p.Addr.String()
	}
	call.Update(func(o *rpc.Outcome) { o.Cluster, o.Endpoint, o.Attempts = cluster, endpoint, 1 })
}

func noBackend(method *rpc.Method) error {
	return rpc.Errorf(codes.Unavailable, "no upstream serves %s: the gateway's routes do not name it", method.Service())
}

// Stream returns the handler that ends all other calls of method.
func (r *Relay) Stream(method *rpc.Method) grpc.StreamHandler {
	backend, ok := r.Backend(method)
	if !ok {
		return func(any, grpc.ServerStream) error { return noBackend(method) }
	}
	desc := &grpc.StreamDesc{StreamName: string(method.Desc.Name()), ClientStreams: method.ClientStreams, ServerStreams: method.ServerStreams}
	return func(_ any, down grpc.ServerStream) error {
		ctx, err := r.outgoing(down.Context())
		if err != nil {
			return err
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		s := &stream{method: method, down: down, cancel: cancel}
		var p peer.Peer
		// A call that streams nothing up is read first: a request that is
		// refused never reaches the backend.
		var first *rpc.Message
		if !method.ClientStreams {
			first = rpc.NewMessage(method.Desc.Input())
			if err := s.receiveOnly(first); err != nil {
				return err
			}
		}
		s.up, err = backend.Conn.NewStream(ctx, desc, method.Name, grpc.Peer(&p))
		if err != nil {
			return failure(down.Context(), method, err, nil, nil)
		}
		defer func() { record(down.Context(), backend.Name, &p) }()
		if first != nil {
			return s.one(first)
		}
		return s.both()
	}
}

// stream is one call that is not unary, between its client (down) and its backend (up).
type stream struct {
	method *rpc.Method
	down   grpc.ServerStream
	up     grpc.ClientStream
	cancel context.CancelFunc
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

// one sends the only request and relays the answers, all in one goroutine.
func (s *stream) one(first *rpc.Message) error {
	err := s.up.SendMsg(first)
	first.Free()
	if err != nil && !errors.Is(err, io.EOF) { // EOF: the status comes with the next receive
		return failure(s.down.Context(), s.method, err, nil, nil)
	}
	if err := s.up.CloseSend(); err != nil {
		return failure(s.down.Context(), s.method, err, nil, nil)
	}
	return s.answers()
}

// both relays in both directions. The goroutine that reads from the client may
// outlive the call by the one receive that it is blocked in, which the door
// ends when Stream has returned.
func (s *stream) both() error {
	broken := make(chan error, 1)
	go func() {
		if err := s.requests(); err != nil {
			broken <- err
			s.cancel() // the backend learns of it, and answers ends
		}
	}()
	err := s.answers()
	select {
	case err := <-broken:
		return err
	default:
		return err
	}
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

// answers passes the backend's header, messages and trailer down.
func (s *stream) answers() error {
	header, err := s.up.Header()
	if err == nil && header != nil {
		if err := s.down.SendHeader(inbound(header)); err != nil {
			return err
		}
	}
	msg := rpc.NewMessage(s.method.Desc.Output())
	defer msg.Free()
	for {
		err := s.up.RecvMsg(msg)
		if err != nil {
			trailer := s.up.Trailer()
			s.down.SetTrailer(inbound(trailer))
			if errors.Is(err, io.EOF) {
				return nil
			}
			return failure(s.down.Context(), s.method, err, header, trailer)
		}
		if err := s.down.SendMsg(msg); err != nil {
			return err
		}
		if !s.method.ServerStreams {
			// The one answer: the status is there with it.
			return s.end(header)
		}
		msg.Reset(s.method.Desc.Output(), nil)
	}
}

// end reads the status that follows the only answer of a client stream.
func (s *stream) end(header metadata.MD) error {
	err := s.up.RecvMsg(rpc.NewMessage(s.method.Desc.Output()))
	trailer := s.up.Trailer()
	s.down.SetTrailer(inbound(trailer))
	if err == nil || errors.Is(err, io.EOF) {
		return nil
	}
	return failure(s.down.Context(), s.method, err, header, trailer)
}
