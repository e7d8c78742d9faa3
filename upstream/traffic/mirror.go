package traffic

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/transomhq/transom/rpc"
)

// MirrorKey is the metadata key by which a backend knows a copy of a request.
// No client can set it.
const MirrorKey = "x-transom-mirror"

// Mirror copies requests to another cluster.
type Mirror struct {
	Cluster string
	// Percent of the calls.
	Percent float64
	// MaxRunning copies run at once; more are dropped.
	MaxRunning int
	// Timeout bounds a copy; the call's own deadline holds, too.
	Timeout time.Duration
	// MaxBytes is the largest request that is copied.
	MaxBytes int
}

// copies count the copies of a route's requests.
type copies struct{ running, sent, failed, dropped atomic.Int64 }

// mirror copies the requests of one method.
type mirror struct {
	shape  *Shape
	route  *Route
	method *rpc.Method
	make   func(ctx context.Context, req *rpc.Message) error
}

// mirrorOf returns what mirrors a method, nil for nothing.
func (s *Shape) mirrorOf(method *rpc.Method, shaped *Shaped) *mirror {
	if shaped.Mirror == nil || method.ClientStreams {
		return nil
	}
	m := &mirror{shape: s, route: shaped.Route, method: method}
	if !method.Unary() {
		handle := shaped.Mirror.Stream(method)
		m.make = func(ctx context.Context, req *rpc.Message) error { return handle(nil, &copied{ctx: ctx, request: req}) }
		return m
	}
	handle := shaped.Mirror.Unary(method)
	m.make = func(ctx context.Context, req *rpc.Message) error {
		resp, err := handle(ctx, req)
		if reply, ok := resp.(*rpc.Message); ok && err == nil {
			reply.Free()
		}
		return err
	}
	return m
}

// send copies a request, unless it is not this one's turn. It does not wait.
func (m *mirror) send(ctx context.Context, req *rpc.Message) {
	if m == nil || rand.Float64()*100 >= m.route.opts.Mirror.Percent { //nolint:gosec // no secret
		return
	}
	opts, counts := m.route.opts.Mirror, &m.route.copies
	if counts.running.Add(1) > int64(opts.MaxRunning) || req.Len() > opts.MaxBytes {
		counts.running.Add(-1)
		counts.dropped.Add(1)
		return
	}
	wire, err := req.Bytes()
	if err != nil { // it was loaded
		counts.running.Add(-1)
		return
	}
	own := rpc.NewMessage(m.method.Desc.Input())
	own.SetBytes(bytes.Clone(wire))
	end := time.Now().Add(opts.Timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(end) {
		end = d
	}
	background := m.background(ctx)
	counts.sent.Add(1)
	m.shape.wg.Go(func() {
		defer counts.running.Add(-1)
		defer own.Free()
		ctx, cancel := context.WithDeadline(background, end)
		defer cancel()
		if err := m.make(ctx, own); err != nil {
			counts.failed.Add(1)
		}
	})
}

// background returns the context of a copy: it knows what the call's knows, and
// shares nothing with it, since the call may end first.
func (m *mirror) background(ctx context.Context) context.Context {
	in, _ := metadata.FromIncomingContext(ctx)
	out, _ := metadata.FromOutgoingContext(ctx)
	out = out.Copy()
	out.Set(MirrorKey, "1")
	own := metadata.NewOutgoingContext(metadata.NewIncomingContext(m.shape.ctx, in.Copy()), out)
	if call := rpc.FromContext(ctx); call != nil {
		child := call.Child(m.method)
		child.SetPrincipal(call.Principal())
		own = rpc.NewContext(own, child) // never finished: it is nobody's call
	}
	return own
}

// copied is the client of a stream that is mirrored: nobody listens.
type copied struct {
	ctx     context.Context
	request *rpc.Message // nil once it was read
}

var _ grpc.ServerStream = (*copied)(nil)

func (*copied) SetHeader(metadata.MD) error  { return nil }
func (*copied) SendHeader(metadata.MD) error { return nil }
func (*copied) SetTrailer(metadata.MD)       {}
func (c *copied) Context() context.Context   { return c.ctx }
func (*copied) SendMsg(any) error            { return nil }

// RecvMsg gives the request, then the end.
func (c *copied) RecvMsg(m any) error {
	if c.request == nil {
		return io.EOF
	}
	msg, ok := m.(*rpc.Message)
	if !ok {
		return rpc.Errorf(codes.Internal, "internal error")
	}
	wire, err := c.request.Bytes()
	if err != nil {
		return err
	}
	msg.SetBytes(wire)
	c.request = nil
	return nil
}
