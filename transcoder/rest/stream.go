package rest

import (
	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/rpc"
)

// stream serves a call of any kind but unary: a source of request messages by
// the form of the body, a sink of responses by the form that Accept asks for.
// Neither is built in yet, so such methods are answered with UNIMPLEMENTED.
func (x *exchange) stream() error {
	return rpc.Errorf(codes.Unimplemented,
		"%s is a streaming method, which this gateway does not serve over REST yet; call it with gRPC", x.plan.binding.Method.Selector())
}
