package gateway

import (
	"log/slog"
	"os"

	"google.golang.org/grpc"

	"github.com/transomhq/transom/interceptors"
)

// Option changes how a gateway is built.
type Option func(*options)

type options struct {
	log          *slog.Logger
	version      string
	interceptors []interceptors.Interceptor
	reload       <-chan os.Signal
}

// WithUnaryInterceptor adds a standard gRPC interceptor to the chain of unary
// calls, after the gateway's own and before upstream. It runs for every door.
// Requests are proto.Messages that decode when they are looked at.
func WithUnaryInterceptor(i grpc.UnaryServerInterceptor) Option {
	return func(o *options) { o.interceptors = append(o.interceptors, interceptors.Interceptor{Unary: i}) }
}

// WithStreamInterceptor adds a standard gRPC interceptor to the chain of all
// other calls, after the gateway's own and before upstream.
func WithStreamInterceptor(i grpc.StreamServerInterceptor) Option {
	return func(o *options) { o.interceptors = append(o.interceptors, interceptors.Interceptor{Stream: i}) }
}

// WithLogger sets where the gateway logs. Default: standard error, as the
// configuration's logging part says.
func WithLogger(log *slog.Logger) Option { return func(o *options) { o.log = log } }

// WithVersion sets the version that the gateway reports.
func WithVersion(v string) Option { return func(o *options) { o.version = v } }

// WithReloadSignal makes the gateway reload when signals delivers.
func WithReloadSignal(signals <-chan os.Signal) Option {
	return func(o *options) { o.reload = signals }
}
