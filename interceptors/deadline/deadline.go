package deadline

import (
	"context"
	"time"

	"google.golang.org/grpc"
)

// Bounds are one method's bounds; zero means none.
type Bounds struct {
	Default time.Duration // for calls whose client names no deadline
	Max     time.Duration // the longest that a client may ask for
}

// IsZero reports whether there is nothing to bound.
func (b Bounds) IsZero() bool { return b == Bounds{} }

// timeout returns how long a call may take whose client wants asked (0: names
// nothing), and whether that changes anything.
func (b Bounds) timeout(asked time.Duration, has bool) (time.Duration, bool) {
	limit := b.Max
	if !has && b.Default > 0 && (limit == 0 || b.Default < limit) {
		limit = b.Default
	}
	if limit == 0 || has && asked <= limit {
		return 0, false
	}
	return limit, true
}

// Options configure the interceptors.
type Options struct {
	// Bounds returns the bounds of a method, given by its full name.
	Bounds func(fullMethod string) Bounds
}

// Unary returns the interceptor for unary calls.
func Unary(opts Options) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		ctx, cancel := opts.bound(ctx, info.FullMethod)
		if cancel != nil {
			defer cancel()
		}
		return next(ctx, req)
	}
}

// Stream returns the interceptor for all other calls.
func Stream(opts Options) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		ctx, cancel := opts.bound(ss.Context(), info.FullMethod)
		if cancel == nil {
			return next(srv, ss)
		}
		defer cancel()
		return next(srv, &boundStream{ServerStream: ss, ctx: ctx})
	}
}

func (o Options) bound(ctx context.Context, method string) (context.Context, context.CancelFunc) {
	deadline, has := ctx.Deadline()
	var asked time.Duration
	if has {
		asked = time.Until(deadline)
	}
	if limit, ok := o.Bounds(method).timeout(asked, has); ok {
		return context.WithTimeout(ctx, limit)
	}
	return ctx, nil
}

type boundStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *boundStream) Context() context.Context { return s.ctx }
