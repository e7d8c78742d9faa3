// Command tracking follows the shop's orders on their way: a plain gRPC
// service that knows nothing of the gateway before it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"github.com/transomhq/transom/examples/shop/internal/serve"
	trackingv1 "github.com/transomhq/transom/gen/shop/tracking/v1"
)

// defaultEpoch is when all journeys began, unless the flag says otherwise. It
// must be the same for all copies of the service, so that they count alike.
const defaultEpoch = "2026-11-01T00:00:00Z"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	flags := flag.NewFlagSet("tracking", flag.ContinueOnError)
	epoch := flags.String("epoch", defaultEpoch, "when the journeys began (RFC 3339); the same for all copies of the service")
	interval := flags.Duration("interval", time.Second, "time from one position to the next; the same for all copies of the service")
	err := serve.Run(ctx, flags, os.Args[1:], os.Stdout, func(server *grpc.Server, env serve.Env) error {
		began, err := time.Parse(time.RFC3339, *epoch)
		if err != nil {
			return fmt.Errorf("--epoch: want a time such as %s", defaultEpoch)
		}
		if *interval < time.Millisecond {
			return fmt.Errorf("--interval: %s is too short, 1ms is the least", *interval)
		}
		trackingv1.RegisterTrackingServiceServer(server, newService(env, began, *interval))
		return nil
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "tracking:", err)
		os.Exit(1)
	}
}
