package traffic

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/transomhq/transom/rpc"
)

// Terminal ends the calls of a method: a relay, or what stands before one.
type Terminal interface {
	Unary(method *rpc.Method) grpc.UnaryHandler
	Stream(method *rpc.Method) grpc.StreamHandler
}

// Shaped is where the calls of a method go that a route shapes.
type Shaped struct {
	Route *Route
	// Subsets end the calls of each subset of the route, in its order; empty
	// where it has none.
	Subsets []Terminal
	// Mirror ends copies of the requests; nil: there are none.
	Mirror Terminal
}

// Shape stands at the end of the chain and gives each call to the terminal of
// its subset. Methods that no route shapes pass at no cost.
type Shape struct {
	next Terminal
	of   func(*rpc.Method) *Shaped

	ctx    context.Context // of the copies that run
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// NewShape returns a Shape before next. of returns what shapes a method, nil
// for nothing. It must be closed when its last call has ended.
func NewShape(next Terminal, of func(*rpc.Method) *Shaped) *Shape {
	s := &Shape{next: next, of: of}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Close ends the copies that run, and waits for them.
func (s *Shape) Close() {
	s.cancel()
	s.wg.Wait()
}

// Unary returns the handler that ends unary calls of method.
func (s *Shape) Unary(method *rpc.Method) grpc.UnaryHandler {
	shaped := s.of(method)
	if shaped == nil {
		return s.next.Unary(method)
	}
	sides := make([]grpc.UnaryHandler, len(shaped.Subsets))
	for i, t := range shaped.Subsets {
		sides[i] = t.Unary(method)
	}
	handle := func(ctx context.Context, req any) (any, error) { return shaped.Route.unary(ctx, req, sides) }
	if len(sides) == 0 {
		handle = s.next.Unary(method)
	}
	mirror := s.mirrorOf(method, shaped)
	return func(ctx context.Context, req any) (any, error) {
		msg, err := rpc.MessageOf(method.Desc.Input(), req)
		if err != nil {
			return nil, rpc.Errorf(codes.Internal, "internal error").WithCause(err)
		}
		if err := msg.Load(); err != nil { // before the clock of a subset runs
			return nil, err
		}
		mirror.send(ctx, msg)
		return handle(ctx, msg)
	}
}

// unary makes a call of the subset that it is meant for.
func (r *Route) unary(ctx context.Context, req any, sides []grpc.UnaryHandler) (any, error) {
	began := time.Now()
	i, weighed := r.choose(ctx, began)
	r.begin(ctx, i)
	defer r.sides[i].running.Add(-1)
	resp, err := sides[i](ctx, req)
	now := time.Now()
	r.ended(i, weighed, now, now.Sub(began), err)
	return resp, err
}

// begin counts a call in, and names its subset in the record.
func (r *Route) begin(ctx context.Context, i int) {
	r.sides[i].running.Add(1)
	if call := rpc.FromContext(ctx); call != nil {
		call.Update(func(o *rpc.Outcome) { o.Attrs = append(o.Attrs, slog.String("subset", r.names[i])) })
	}
}

// Stream returns the handler that ends all other calls of method.
func (s *Shape) Stream(method *rpc.Method) grpc.StreamHandler {
	shaped := s.of(method)
	if shaped == nil {
		return s.next.Stream(method)
	}
	sides := make([]grpc.StreamHandler, len(shaped.Subsets))
	for i, t := range shaped.Subsets {
		sides[i] = t.Stream(method)
	}
	handle := func(srv any, down *client) error { return shaped.Route.stream(srv, down, sides) }
	if len(sides) == 0 {
		next := s.next.Stream(method)
		handle = func(srv any, down *client) error { return next(srv, down) }
	}
	mirror := s.mirrorOf(method, shaped)
	return func(srv any, down grpc.ServerStream) error {
		return handle(srv, &client{ServerStream: down, mirror: mirror})
	}
}

// stream makes a call of the subset that it is meant for. It stays there, also
// when it is reopened.
func (r *Route) stream(srv any, down *client, sides []grpc.StreamHandler) error {
	down.began = time.Now()
	i, weighed := r.choose(down.Context(), down.began)
	r.begin(down.Context(), i)
	defer r.sides[i].running.Add(-1)
	err := sides[i](srv, down)
	now := time.Now()
	if down.took == 0 {
		down.took = now.Sub(down.began)
	}
	r.ended(i, weighed, now, down.took, err)
	return err
}

// client is a stream's client, as the subset that it was given to sees it.
type client struct {
	grpc.ServerStream
	mirror *mirror // nil: none
	began  time.Time
	took   time.Duration // until the answer began; 0: it has not
}

// RecvMsg copies the one request of a stream that is mirrored.
func (c *client) RecvMsg(m any) error {
	err := c.ServerStream.RecvMsg(m)
	if err != nil || c.mirror == nil {
		return err
	}
	if msg, ok := m.(*rpc.Message); ok {
		if err := msg.Load(); err != nil {
			return err
		}
		c.mirror.send(c.Context(), msg)
		c.mirror = nil
	}
	return nil
}

// SendHeader notes when the answer began.
func (c *client) SendHeader(md metadata.MD) error {
	c.answers()
	return c.ServerStream.SendHeader(md)
}

// SendMsg notes when the answer began.
func (c *client) SendMsg(m any) error {
	c.answers()
	return c.ServerStream.SendMsg(m)
}

func (c *client) answers() {
	if c.took == 0 {
		c.took = max(time.Since(c.began), 1)
	}
}
