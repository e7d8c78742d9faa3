package serve

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
)

// stopTimeout is how long calls in flight may take to end at a stop.
const stopTimeout = 10 * time.Second

// Env is what a service is built from.
type Env struct {
	// Seed decides all data that is made up; the same seed, the same data.
	Seed uint64
	// Stopping is closed when the server begins to stop. Calls without an end
	// of their own must end then, with Stopped.
	Stopping <-chan struct{}
}

// Register adds a service to the server.
type Register func(server *grpc.Server, env Env) error

// Run serves until ctx ends, then lets calls in flight finish. Flags of the
// service's own are already on flags. The address is written to stdout as
// "listening on ADDR", once the server accepts connections.
func Run(ctx context.Context, flags *flag.FlagSet, args []string, stdout io.Writer, register Register) error {
	listen := flags.String("listen", "127.0.0.1:0", "address to listen on; port 0 takes a free one")
	seed := flags.Uint64("seed", 1, "seed of the data; the same seed makes the same data")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	lis, err := net.Listen("tcp", *listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", *listen, err)
	}
	return Serve(ctx, lis, *seed, stdout, register)
}

// Serve is Run on a listener, which it closes.
func Serve(ctx context.Context, lis net.Listener, seed uint64, stdout io.Writer, register Register) error {
	validator, err := newValidator()
	if err != nil {
		return err
	}
	server := grpc.NewServer(
		grpc.ChainUnaryInterceptor(validator.unary),
		grpc.ChainStreamInterceptor(validator.stream),
		grpc.WaitForHandlers(true),
	)
	stopping := make(chan struct{})
	if err := register(server, Env{Seed: seed, Stopping: stopping}); err != nil {
		return errors.Join(err, lis.Close())
	}
	status := health.NewServer()
	healthpb.RegisterHealthServer(server, status)
	for name := range server.GetServiceInfo() {
		status.SetServingStatus(name, healthpb.HealthCheckResponse_SERVING)
	}
	reflection.Register(server)

	served := make(chan error, 1)
	go func() { served <- server.Serve(lis) }()
	_, _ = fmt.Fprintf(stdout, "listening on %s\n", lis.Addr()) // a closed stdout is no reason to stop
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	status.Shutdown()
	close(stopping)
	timer := time.AfterFunc(stopTimeout, server.Stop)
	defer timer.Stop()
	server.GracefulStop()
	return <-served
}
