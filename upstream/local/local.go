package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/transomhq/transom/rpc"
)

// Conn is a connection to services of this process. Register all of them
// before the first call.
type Conn struct {
	unary   map[string]unaryMethod
	streams map[string]streamMethod
}

type unaryMethod struct {
	impl    any
	handler grpc.MethodHandler
}

type streamMethod struct {
	impl any
	desc grpc.StreamDesc
}

var (
	_ grpc.ClientConnInterface = (*Conn)(nil)
	_ grpc.ServiceRegistrar    = (*Conn)(nil)
)

// New returns a connection without services.
func New() *Conn {
	return &Conn{unary: map[string]unaryMethod{}, streams: map[string]streamMethod{}}
}

// RegisterService adds a service, as generated Register functions do.
func (c *Conn) RegisterService(desc *grpc.ServiceDesc, impl any) {
	for _, m := range desc.Methods {
		c.unary["/"+desc.ServiceName+"/"+m.MethodName] = unaryMethod{impl: impl, handler: m.Handler}
	}
	for _, s := range desc.Streams {
		c.streams["/"+desc.ServiceName+"/"+s.StreamName] = streamMethod{impl: impl, desc: s}
	}
}

// Invoke makes a unary call.
func (c *Conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	m, ok := c.unary[method]
	if !ok {
		return status.Errorf(codes.Unimplemented, "unknown method %s", method)
	}
	t := &transport{method: method}
	defer t.report(opts)
	decode := func(v any) error { return transfer(args, v) }
	resp, err := m.handler(m.impl, serverContext(ctx, t), decode, nil)
	if err != nil {
		return status.Convert(err).Err()
	}
	return transfer(resp, reply)
}

// NewStream opens a call of any other kind.
func (c *Conn) NewStream(ctx context.Context, _ *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	m, ok := c.streams[method]
	if !ok {
		return nil, status.Errorf(codes.Unimplemented, "unknown method %s", method)
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &pipe{
		ctx: ctx, transport: &transport{method: method},
		up: make(chan []byte), down: make(chan []byte), header: make(chan struct{}), done: make(chan struct{}),
	}
	go p.run(m, cancel, opts)
	return clientSide{p}, nil
}

// serverContext is the handler's context: what was outgoing is incoming now.
func serverContext(ctx context.Context, t *transport) context.Context {
	md, _ := metadata.FromOutgoingContext(ctx)
	ctx = metadata.NewIncomingContext(ctx, md)
	ctx = metadata.NewOutgoingContext(ctx, nil)
	return grpc.NewContextWithServerTransportStream(ctx, t)
}

// transfer copies a message by its wire bytes: either side may be dynamic.
func transfer(from, to any) error {
	b, err := marshal(from)
	if err != nil {
		return err
	}
	return unmarshal(b, to)
}

func marshal(v any) ([]byte, error) {
	switch v := v.(type) {
	case *rpc.Message:
		return v.Bytes()
	case proto.Message:
		return proto.Marshal(v)
	}
	return nil, status.Errorf(codes.Internal, "message is a %T", v)
}

func unmarshal(b []byte, v any) error {
	switch v := v.(type) {
	case *rpc.Message:
		v.SetBytes(b)
		return nil
	case proto.Message:
		if err := proto.Unmarshal(b, v); err != nil {
			return status.Errorf(codes.InvalidArgument, "the request is not a valid %s", v.ProtoReflect().Descriptor().FullName())
		}
		return nil
	}
	return status.Errorf(codes.Internal, "message is a %T", v)
}

// transport collects what a handler says with grpc.SetHeader and SetTrailer.
type transport struct {
	method          string
	mu              sync.Mutex
	header, trailer metadata.MD
}

func (t *transport) Method() string { return t.method }

func (t *transport) SetHeader(md metadata.MD) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.header = metadata.Join(t.header, md)
	return nil
}

func (t *transport) SendHeader(md metadata.MD) error { return t.SetHeader(md) }

func (t *transport) SetTrailer(md metadata.MD) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trailer = metadata.Join(t.trailer, md)
	return nil
}

// report fills the call options that ask for metadata. A call of this process
// always has an answer, so that its header is never empty.
func (t *transport) report(opts []grpc.CallOption) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, o := range opts {
		switch o := o.(type) {
		case grpc.HeaderCallOption:
			*o.HeaderAddr = metadata.Join(t.header, metadata.MD{"content-type": {"application/grpc"}})
		case grpc.TrailerCallOption:
			*o.TrailerAddr = t.trailer
		case grpc.PeerCallOption:
			*o.PeerAddr = peer.Peer{Addr: address{}}
		}
	}
}

type address struct{}

func (address) Network() string { return "local" }
func (address) String() string  { return "local" }

// pipe is a stream between a caller and a handler of this process. Messages
// pass one at a time, so the slower side is waited for.
type pipe struct {
	*transport
	ctx      context.Context
	up, down chan []byte
	half     sync.Once
	sent     sync.Once
	header   chan struct{} // closed when the header was sent
	done     chan struct{} // closed when the handler has returned
	err      error         // the handler's, valid after done
}

func (p *pipe) run(m streamMethod, cancel context.CancelFunc, opts []grpc.CallOption) {
	defer cancel()
	defer close(p.done)
	defer p.sendHeader()
	defer p.report(opts)
	defer func() {
		if v := recover(); v != nil {
			p.err = rpc.Errorf(codes.Internal, "internal error").WithCause(fmt.Errorf("panic: %v", v))
		}
	}()
	if err := m.desc.Handler(m.impl, serverSide{p, serverContext(p.ctx, p.transport)}); err != nil {
		p.err = status.Convert(err).Err()
	}
}

func (p *pipe) sendHeader() { p.sent.Do(func() { close(p.header) }) }

type serverSide struct {
	*pipe
	ctx context.Context
}

func (s serverSide) Context() context.Context  { return s.ctx }
func (s serverSide) SetTrailer(md metadata.MD) { _ = s.transport.SetTrailer(md) }

func (s serverSide) SendHeader(md metadata.MD) error {
	err := s.SetHeader(md)
	s.sendHeader()
	return err
}

func (s serverSide) SendMsg(v any) error {
	b, err := marshal(v)
	if err != nil {
		return err
	}
	s.sendHeader()
	select {
	case s.down <- b:
		return nil
	case <-s.ctx.Done():
		return status.FromContextError(s.ctx.Err()).Err()
	}
}

func (s serverSide) RecvMsg(v any) error {
	select {
	case b, ok := <-s.up:
		if !ok {
			return io.EOF
		}
		return unmarshal(b, v)
	case <-s.ctx.Done():
		return status.FromContextError(s.ctx.Err()).Err()
	}
}

type clientSide struct{ *pipe }

func (c clientSide) Context() context.Context {
	return peer.NewContext(c.ctx, &peer.Peer{Addr: address{}})
}

func (c clientSide) Header() (metadata.MD, error) {
	<-c.header
	c.mu.Lock()
	defer c.mu.Unlock()
	return metadata.Join(c.transport.header, metadata.MD{"content-type": {"application/grpc"}}), nil
}

func (c clientSide) Trailer() metadata.MD {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trailer
}

func (c clientSide) CloseSend() error {
	c.half.Do(func() { close(c.up) })
	return nil
}

func (c clientSide) SendMsg(v any) error {
	b, err := marshal(v)
	if err != nil {
		return err
	}
	kept := append([]byte(nil), b...) // the caller may free its message
	select {
	case c.up <- kept:
		return nil
	case <-c.done:
		return io.EOF
	case <-c.ctx.Done():
		return status.FromContextError(c.ctx.Err()).Err()
	}
}

func (c clientSide) RecvMsg(v any) error {
	select {
	case b := <-c.down:
		return unmarshal(b, v)
	case <-c.done:
	}
	if c.err == nil || errors.Is(c.err, io.EOF) {
		return io.EOF
	}
	return c.err
}
