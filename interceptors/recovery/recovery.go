package recovery

import (
	"context"
	"fmt"
	"runtime/debug"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/rpc"
)

// Panic is the private cause of an INTERNAL error: what panicked, and where.
type Panic struct {
	Value any
	Stack []byte
}

// Error returns the panic's value and stack, for logs.
func (p *Panic) Error() string { return fmt.Sprintf("panic: %v\n%s", p.Value, p.Stack) }

// Unary returns the interceptor for unary calls.
func Unary() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
		defer recovered(&err)
		return next(ctx, req)
	}
}

// Stream returns the interceptor for all other calls.
func Stream() grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
		defer recovered(&err)
		return next(srv, ss)
	}
}

func recovered(err *error) {
	if v := recover(); v != nil {
		*err = rpc.Errorf(codes.Internal, "internal error").WithCause(&Panic{Value: v, Stack: debug.Stack()})
	}
}
