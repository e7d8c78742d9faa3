package websocket

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/transomhq/transom/rpc"
)

// request is a message of the client, or the end of its messages.
type request struct {
	body        []byte
	kind        Body
	contentType string
	end         bool
}

// stream is one call as the handler sees it: a grpc.ServerStream, and through
// transportOf a grpc.ServerTransportStream. One goroutine may receive while
// another sends.
type stream struct {
	base   context.Context // ends with the call
	ctx    context.Context // base with all that the handler finds in it
	cancel context.CancelCauseFunc
	stop   context.CancelFunc // of the deadline
	call   *rpc.Call
	shape  Shape
	talk   dialect
	id     uint64
	send   func(ctx context.Context, text bool, payload []byte) error
	// open makes sure that there is a socket. The stream of a socket that is
	// open already has nil.
	open func() error
	// wait is how long the first message may take; 0 for ever.
	wait    time.Duration
	credits *credits // of the client, nil where it counts none
	// taken is told of each message that was received, so that more may come.
	taken func(n int)
	pool  *sync.Pool

	requests chan request
	recvMu   sync.Mutex
	recvErr  error // io.EOF after the last message
	received bool

	sendMu sync.Mutex
	done   bool // the handler has returned

	mdMu            sync.Mutex
	header, trailer metadata.MD
	headerSent      bool
}

var _ grpc.ServerStream = (*stream)(nil)

// begin gives s a context that ends with the call.
func (s *stream) begin(parent context.Context, timeout time.Duration) {
	s.stop = func() {}
	if timeout > 0 {
		parent, s.stop = context.WithTimeout(parent, timeout)
	}
	s.base, s.cancel = context.WithCancelCause(parent)
	s.ctx = s.base
}

// attach gives the handler its context: what a grpc-go server puts there, and the call.
func (s *stream) attach(r *http.Request, md metadata.MD) {
	ctx := peer.NewContext(s.base, peerOf(r))
	ctx = metadata.NewIncomingContext(ctx, md)
	ctx = grpc.NewContextWithServerTransportStream(ctx, transportOf{s})
	s.ctx = rpc.NewContext(ctx, s.call)
}

// peerOf returns the other end of the connection, which is a proxy where there
// is one: rpc.Call.Client is the client.
func peerOf(r *http.Request) *peer.Peer {
	p := &peer.Peer{}
	if addr, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		p.Addr = net.TCPAddrFromAddrPort(addr)
	}
	p.LocalAddr, _ = r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if r.TLS != nil {
		p.AuthInfo = credentials.TLSInfo{State: *r.TLS, CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}
	}
	return p
}

// transportOf is the stream as grpc.SetHeader and its like find it.
type transportOf struct{ s *stream }

func (t transportOf) Method() string                  { return t.s.call.Method.Name }
func (t transportOf) SetHeader(md metadata.MD) error  { return t.s.SetHeader(md) }
func (t transportOf) SendHeader(md metadata.MD) error { return t.s.SendHeader(md) }
func (t transportOf) SetTrailer(md metadata.MD) error { t.s.SetTrailer(md); return nil }

// run makes the call through handler.
func (s *stream) run(handler rpc.Handler) error {
	if !s.call.Method.Unary() {
		return handler.Stream(s.call, s)
	}
	req := rpc.NewLazyMessage(s.call.Method.Desc.Input(), s)
	defer req.Free()
	resp, err := handler.Unary(s.ctx, s.call, req)
	if err != nil {
		return err
	}
	if resp == nil {
		return rpc.Errorf(codes.Internal, "internal error").WithCause(errors.New("the handler returned neither a message nor an error"))
	}
	defer resp.Free()
	return s.SendMsg(resp)
}

// end bars whatever the handler left behind, and returns the error that the
// client is told, and its trailer.
func (s *stream) end(err error) (metadata.MD, error) {
	// What ended the call from outside says more than what the handler made of it.
	var known *rpc.Error
	if errors.As(context.Cause(s.base), &known) && err != nil {
		err = known
		s.call.SetResult(err)
	}
	s.cancel(context.Canceled) // wakes a receiver or sender that was left behind
	s.stop()
	s.sendMu.Lock()
	s.done = true
	s.sendMu.Unlock()
	s.recvMu.Lock()
	s.recvErr = errEnded()
	s.recvMu.Unlock()
	s.mdMu.Lock()
	defer s.mdMu.Unlock()
	return s.trailer, err
}

func errEnded() error { return rpc.Errorf(codes.Internal, "the call has ended") }

// Context returns the call's context.
func (s *stream) Context() context.Context { return s.ctx }

// SetHeader adds to the header of the response.
func (s *stream) SetHeader(md metadata.MD) error {
	s.mdMu.Lock()
	defer s.mdMu.Unlock()
	if s.headerSent {
		return rpc.Errorf(codes.Internal, "the response header was already sent")
	}
	s.header = join(s.header, md)
	return nil
}

// SendHeader adds to the header of the response and sends it.
func (s *stream) SendHeader(md metadata.MD) error {
	if err := s.SetHeader(md); err != nil {
		return err
	}
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	return s.writeHeader()
}

// SetTrailer adds to the trailer of the response.
func (s *stream) SetTrailer(md metadata.MD) {
	s.mdMu.Lock()
	defer s.mdMu.Unlock()
	s.trailer = join(s.trailer, md)
}

// writeHeader sends the header unless that was done. The caller holds sendMu.
func (s *stream) writeHeader() error {
	if s.done {
		return errEnded()
	}
	if err := s.ready(); err != nil {
		return err
	}
	s.mdMu.Lock()
	first, md := !s.headerSent, s.header
	s.headerSent = true
	s.mdMu.Unlock()
	if !first || len(md) == 0 {
		return nil
	}
	text, p := s.talk.header(nil, s.id, md)
	if p == nil {
		return nil
	}
	return s.sent(s.send(s.base, text, p))
}

func (s *stream) ready() error {
	if s.base.Err() != nil {
		return s.ended()
	}
	if s.open == nil {
		return nil
	}
	return s.open()
}

// SendMsg sends m, a proto.Message, and the header before the first one. It
// waits while the client has not read what was sent before.
func (s *stream) SendMsg(m any) error {
	msg, err := rpc.MessageOf(s.call.Method.Desc.Output(), m)
	if err != nil {
		return rpc.Errorf(codes.Internal, "internal error").WithCause(err)
	}
	wire, err := msg.Bytes()
	if err != nil {
		return err
	}
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	if err := s.writeHeader(); err != nil {
		return err
	}
	if s.credits != nil && !s.credits.take(s.base) {
		return s.ended()
	}
	buf := s.pool.Get().(*[]byte)
	text, p, err := s.talk.message((*buf)[:0], s.id, s.shape, wire)
	if err == nil {
		err = s.sent(s.send(s.base, text, p))
		s.call.MessagesOut.Add(1)
	} else {
		err = rpc.Errorf(codes.Internal, "the backend's answer has no form on this socket").WithCause(err)
	}
	if cap(p) <= keepBuffer {
		*buf = p[:0]
	}
	s.pool.Put(buf)
	return err
}

// sent says why something could not be sent.
func (s *stream) sent(err error) error {
	switch {
	case err == nil:
		return nil
	case s.base.Err() != nil:
		return s.ended()
	}
	return failure(err)
}

// ended says why the context has ended.
func (s *stream) ended() error {
	var known *rpc.Error
	if cause := context.Cause(s.base); errors.As(cause, &known) {
		return known
	}
	if errors.Is(s.base.Err(), context.DeadlineExceeded) {
		return rpc.Errorf(codes.DeadlineExceeded, "deadline exceeded")
	}
	return rpc.Errorf(codes.Canceled, "canceled by the client")
}

// RecvMsg receives the next message into m, a *rpc.Message or other
// proto.Message. It returns io.EOF after the last.
func (s *stream) RecvMsg(m any) error {
	s.recvMu.Lock()
	defer s.recvMu.Unlock()
	wire, err := s.receive()
	if err != nil {
		return err
	}
	return unmarshal(wire, m)
}

// Load reads the message of a unary call: stream is the source of a lazy message.
func (s *stream) Load(m *rpc.Message) error {
	s.recvMu.Lock()
	defer s.recvMu.Unlock()
	wire, err := s.receive()
	if err != nil {
		return err
	}
	m.SetBytes(wire)
	return nil
}

// receive returns the wire bytes of the next message. The caller holds recvMu.
func (s *stream) receive() ([]byte, error) {
	if s.recvErr != nil {
		return nil, s.recvErr
	}
	wire, err := s.next()
	if err == nil {
		s.received = true
		s.call.MessagesIn.Add(1)
		if !s.call.Method.ClientStreams {
			s.recvErr = io.EOF
		}
		return wire, nil
	}
	s.recvErr = err
	return nil, err
}

func (s *stream) next() ([]byte, error) {
	if !s.shape.TakesBody() {
		return s.fromURL()
	}
	if err := s.ready(); err != nil {
		return nil, err
	}
	var late <-chan time.Time
	if !s.received && s.wait > 0 && !s.call.Method.ClientStreams {
		timer := time.NewTimer(s.wait)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case q := <-s.requests:
		if q.end {
			if !s.received && !s.call.Method.ClientStreams {
				return nil, rpc.Errorf(codes.InvalidArgument, "%s needs a request message", s.call.Method.Name)
			}
			return nil, io.EOF
		}
		wire, err := s.shape.AppendRequest(nil, q.body, q.kind, q.contentType)
		if s.taken != nil {
			s.taken(len(q.body))
		}
		return wire, err
	case <-s.base.Done():
		return nil, s.ended()
	case <-late:
		return nil, rpc.Errorf(codes.DeadlineExceeded, "the request message did not arrive within %v", s.wait)
	}
}

// fromURL returns the request that the URL is. What is wrong with it is known
// before the upgrade, and refused with an HTTP status.
func (s *stream) fromURL() ([]byte, error) {
	if s.received {
		return nil, io.EOF
	}
	wire, err := s.shape.AppendRequest(nil, nil, NoBody, "")
	if err != nil {
		return nil, err
	}
	return wire, s.ready()
}

// fail ends the call with err.
func (s *stream) fail(err *rpc.Error) { s.cancel(err) }

func unmarshal(wire []byte, m any) error {
	if msg, ok := m.(*rpc.Message); ok {
		msg.SetBytes(wire)
		return nil
	}
	if err := (rpc.Codec{}).Unmarshal(mem.BufferSlice{mem.SliceBuffer(wire)}, m); err != nil {
		return rpc.Errorf(codes.Internal, "internal error").WithCause(err)
	}
	return nil
}

// join returns md with the values of more appended. It shares no memory that
// either side appends to.
func join(md, more metadata.MD) metadata.MD {
	if len(more) == 0 {
		return md
	}
	if md == nil {
		md = maps.Clone(more)
		for k, v := range md {
			md[k] = slices.Clip(v)
		}
		return md
	}
	for k, v := range more {
		md[k] = append(md[k], v...)
	}
	return md
}
