package rpc

import (
	"context"

	"google.golang.org/grpc"
)

// Handler is what every door calls: the chain of interceptors with the
// upstream at its end. A door never reaches an upstream in any other way.
//
// ctx carries the call (NewContext), the inbound metadata
// (metadata.NewIncomingContext), and dies when the client goes away. Errors
// are rendered with StatusOf.
type Handler interface {
	// Unary runs a unary call. req may be lazy. The response is the caller's
	// to Free. Header and trailer of the answer, from upstream and
	// interceptors alike, arrive at the grpc.ServerTransportStream in ctx
	// (grpc.NewContextWithServerTransportStream), also when the call fails.
	Unary(ctx context.Context, call *Call, req *Message) (*Message, error)
	// Stream runs a call of any other kind over stream, whose Context is the
	// call's. Messages sent and received are *Message; a received one may be
	// lazy. One goroutine may send while another receives. stream must not be
	// used after Stream returned.
	Stream(call *Call, stream grpc.ServerStream) error
}
