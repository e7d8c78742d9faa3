// Command orders takes the shop's orders: a plain gRPC service that knows
// nothing of the gateway before it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"google.golang.org/grpc"

	"github.com/transomhq/transom/examples/shop/internal/serve"
	ordersv1 "github.com/transomhq/transom/gen/shop/orders/v1"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	flags := flag.NewFlagSet("orders", flag.ContinueOnError)
	err := serve.Run(ctx, flags, os.Args[1:], os.Stdout, register)
	if err != nil {
		fmt.Fprintln(os.Stderr, "orders:", err)
		os.Exit(1)
	}
}

func register(server *grpc.Server, env serve.Env) error {
	ordersv1.RegisterOrdersServiceServer(server, newService(env))
	return nil
}
