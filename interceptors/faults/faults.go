package faults

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/transomhq/transom/rpc"
)

// Fault is what happens to calls of a method. The zero value touches none.
type Fault struct {
	// Scope is what a principal must have.
	Scope string
	// InsecureWithoutScope touches calls of everybody.
	InsecureWithoutScope bool
	// Header is a metadata key that the call must carry; "" is none.
	Header string
	// Delay is how long DelayPercent of the calls wait.
	Delay        time.Duration
	DelayPercent float64
	// Abort is what AbortPercent of the calls fail with; OK fails none.
	Abort        codes.Code
	Message      string
	AbortPercent float64
}

// IsZero reports whether there is nothing to do.
func (f Fault) IsZero() bool { return f.Delay == 0 && f.Abort == codes.OK }

// Options configure the interceptors.
type Options struct {
	// Fault returns what happens to calls of a method, given by its full name.
	Fault func(fullMethod string) Fault
	// Principal returns who calls, nil for nobody. nil takes the one that our
	// authentication has put into the context.
	Principal func(context.Context) *rpc.Principal
	// Metrics count; nil counts nothing.
	Metrics *Metrics
}

// Unary returns the interceptor for unary calls.
func Unary(opts Options) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if err := opts.inject(ctx, info.FullMethod); err != nil {
			return nil, err
		}
		return next(ctx, req)
	}
}

// Stream returns the interceptor for all other calls.
func Stream(opts Options) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		if err := opts.inject(ss.Context(), info.FullMethod); err != nil {
			return err
		}
		return next(srv, ss)
	}
}

// inject lets the call wait or fail, if it is one to do that to.
func (o *Options) inject(ctx context.Context, method string) error {
	f := o.Fault(method)
	if f.IsZero() || !o.meant(ctx, &f) {
		return nil
	}
	if f.Delay > 0 && chance(f.DelayPercent) {
		o.Metrics.count(method, "delay")
		note(ctx, "delay")
		if err := wait(ctx, f.Delay); err != nil {
			return err
		}
	}
	if f.Abort == codes.OK || !chance(f.AbortPercent) {
		return nil
	}
	o.Metrics.count(method, "abort")
	note(ctx, "abort")
	text := f.Message
	if text == "" {
		text = "failed on purpose, for a test"
	}
	return rpc.Errorf(f.Abort, "%s", text).WithProxy(rpc.ProxyInternalResponse).WithDetails(&errdetails.ErrorInfo{Reason: "FAULT_INJECTED", Domain: "transom"})
}

// meant reports whether the call's caller asks for faults, and may.
func (o *Options) meant(ctx context.Context, f *Fault) bool {
	if f.Header != "" {
		md, _ := metadata.FromIncomingContext(ctx)
		if len(md.Get(f.Header)) == 0 {
			return false
		}
	}
	if f.Scope == "" {
		return f.InsecureWithoutScope
	}
	if o.Principal != nil {
		return o.Principal(ctx).HasScope(f.Scope)
	}
	return rpc.FromContext(ctx).Principal().HasScope(f.Scope)
}

func chance(percent float64) bool { return rand.Float64()*100 < percent } //nolint:gosec // no secret

// wait waits, and returns why the call ended first.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
	}
	cause := fmt.Errorf("while it was delayed on purpose: %w", ctx.Err())
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return rpc.Errorf(codes.DeadlineExceeded, "deadline exceeded").WithCause(cause)
	}
	return rpc.Errorf(codes.Canceled, "canceled by the client").WithCause(cause)
}

// note says in the call's record what was done to it.
func note(ctx context.Context, what string) {
	if call := rpc.FromContext(ctx); call != nil {
		call.Update(func(o *rpc.Outcome) { o.Attrs = append(o.Attrs, slog.String("fault", what)) })
	}
}
