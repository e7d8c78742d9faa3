package ratelimit

import (
	"context"
	"net/netip"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/transomhq/transom/rpc"
)

// caller is one call as keys and costs look at it. What is dear to know is
// found out when somebody asks.
type caller struct {
	ctx       context.Context
	call      *rpc.Call // nil in a gRPC server without the gateway
	principal *rpc.Principal
	full      string // "/pkg.Service/Method"
	req       any    // the request message, nil while there is none
}

func newCaller(ctx context.Context, full string, req any) caller {
	call := rpc.FromContext(ctx)
	return caller{ctx: ctx, call: call, principal: call.Principal(), full: full, req: req}
}

// address returns the client's address, invalid where it has none.
func (c *caller) address() netip.Addr {
	if c.call != nil {
		return c.call.Client
	}
	if p, ok := peer.FromContext(c.ctx); ok {
		return rpc.AddrOf(p.Addr)
	}
	return netip.Addr{}
}

// message returns the request, which is read from the client now if it was not.
func (c *caller) message() (protoreflect.Message, error) {
	switch m := c.req.(type) {
	case *rpc.Message:
		if err := m.Load(); err != nil {
			return nil, err
		}
		view, err := m.View()
		if err != nil {
			return nil, rpc.Errorf(codes.InvalidArgument, "the request message cannot be read").WithCause(err)
		}
		return view, nil
	case proto.Message:
		return m.ProtoReflect(), nil
	}
	return nil, rpc.Errorf(codes.Internal, "internal error")
}
