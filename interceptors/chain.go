package interceptors

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/rpc"
)

// Interceptor is one concern as a pair of standard gRPC interceptors. Either
// may be nil: the concern then does not look at that kind of call.
type Interceptor struct {
	Unary  grpc.UnaryServerInterceptor
	Stream grpc.StreamServerInterceptor
	// Applies says which methods need the interceptor; nil means all. A method
	// that a concern has nothing to say about does not pay for it.
	Applies func(*rpc.Method) bool
}

// Terminal is the end of the chain: it makes the call.
type Terminal interface {
	// Unary and Stream return the handler that ends calls of method. They are
	// called once a method and snapshot. Requests are *rpc.Message.
	Unary(method *rpc.Method) grpc.UnaryHandler
	Stream(method *rpc.Method) grpc.StreamHandler
}

// Chain is the handler that runs every call through the interceptors, in
// order, and ends it at the terminal. The links of a method are closed over
// once, when the chain is built, so that a call allocates nothing for them.
type Chain struct {
	unary  map[*rpc.Method]grpc.UnaryHandler
	stream map[*rpc.Method]grpc.StreamHandler
}

var _ rpc.Handler = (*Chain)(nil)

// NewChain links interceptors, the outermost first, with end for each of methods.
func NewChain(methods []*rpc.Method, interceptors []Interceptor, end Terminal) *Chain {
	c := &Chain{
		unary:  make(map[*rpc.Method]grpc.UnaryHandler, len(methods)),
		stream: make(map[*rpc.Method]grpc.StreamHandler),
	}
	for _, m := range methods {
		if m.Unary() {
			c.unary[m] = linkUnary(m, interceptors, end.Unary(m))
		} else {
			c.stream[m] = linkStream(m, interceptors, end.Stream(m))
		}
	}
	return c
}

func linkUnary(m *rpc.Method, interceptors []Interceptor, next grpc.UnaryHandler) grpc.UnaryHandler {
	info := &grpc.UnaryServerInfo{FullMethod: m.Name}
	for i := len(interceptors) - 1; i >= 0; i-- {
		it := interceptors[i]
		if it.Unary == nil || it.Applies != nil && !it.Applies(m) {
			continue
		}
		inner := next
		next = func(ctx context.Context, req any) (any, error) { return it.Unary(ctx, req, info, inner) }
	}
	return next
}

func linkStream(m *rpc.Method, interceptors []Interceptor, next grpc.StreamHandler) grpc.StreamHandler {
	info := &grpc.StreamServerInfo{FullMethod: m.Name, IsClientStream: m.ClientStreams, IsServerStream: m.ServerStreams}
	for i := len(interceptors) - 1; i >= 0; i-- {
		it := interceptors[i]
		if it.Stream == nil || it.Applies != nil && !it.Applies(m) {
			continue
		}
		inner := next
		next = func(srv any, ss grpc.ServerStream) error { return it.Stream(srv, ss, info, inner) }
	}
	return next
}

// Unary runs a unary call through the chain.
func (c *Chain) Unary(ctx context.Context, call *rpc.Call, req *rpc.Message) (*rpc.Message, error) {
	handle, ok := c.unary[call.Method]
	if !ok {
		return nil, notServed(call.Method)
	}
	resp, err := handle(ctx, req)
	if err != nil {
		return nil, err
	}
	msg, err := rpc.MessageOf(call.Method.Desc.Output(), resp)
	if err != nil {
		return nil, rpc.Errorf(codes.Internal, "internal error").WithCause(err)
	}
	return msg, nil
}

// Stream runs a call of any other kind through the chain.
func (c *Chain) Stream(call *rpc.Call, stream grpc.ServerStream) error {
	handle, ok := c.stream[call.Method]
	if !ok {
		return notServed(call.Method)
	}
	return handle(nil, stream)
}

func notServed(m *rpc.Method) error {
	if m == nil {
		return rpc.Errorf(codes.Unimplemented, "unknown method")
	}
	return rpc.Errorf(codes.Unimplemented, "unknown method %s", m.Name)
}
