// Command embed is a program of its own with the gateway inside, and with an
// interceptor that was never written for it: the auth interceptor of
// go-grpc-middleware, which here refuses a REST call without a token just as
// it refuses a gRPC call.
//
//	go run ./examples/shop/orders --listen 127.0.0.1:50052
//	go run ./examples/embed --upstream 127.0.0.1:50052
//
//	curl -i localhost:8080/v1/orders/o-1001                                  # 401
//	curl -i localhost:8080/v1/orders/o-1001 -H 'Authorization: Bearer tea'   # 200
package main

import (
	"context"
	"crypto/subtle"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/auth"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/selector"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/transomhq/transom/config"
	"github.com/transomhq/transom/gateway"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	upstream := flag.String("upstream", "127.0.0.1:50052", "a gRPC service that offers server reflection")
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on")
	token := flag.String("token", "tea", "the token that callers must know")
	flag.Parse()
	if err := run(ctx, *upstream, *listen, *token); err != nil {
		fmt.Fprintln(os.Stderr, "embed:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, upstream, listen, token string) error {
	g, err := newGateway(ctx, upstream, listen, token)
	if err != nil {
		return err
	}
	return g.Run(ctx)
}

// newGateway builds a gateway before one service, as flags would describe it,
// with the interceptors added to its chain. They run for every door.
func newGateway(ctx context.Context, upstream, listen, token string) (*gateway.Gateway, error) {
	source := config.Source{Overrides: config.Overrides{
		Schema: []string{"grpc://" + upstream}, Upstreams: []string{upstream}, Listen: listen, Admin: "off",
	}}
	ours := selector.MatchFunc(func(_ context.Context, c interceptors.CallMeta) bool {
		return !strings.HasPrefix(c.Service, "grpc.") // health and reflection stay open
	})
	check := bearer(token)
	return gateway.New(ctx, source,
		gateway.WithUnaryInterceptor(selector.UnaryServerInterceptor(auth.UnaryServerInterceptor(check), ours)),
		gateway.WithStreamInterceptor(selector.StreamServerInterceptor(auth.StreamServerInterceptor(check), ours)),
	)
}

// bearer accepts calls that bring the token.
func bearer(token string) auth.AuthFunc {
	return func(ctx context.Context) (context.Context, error) {
		got, err := auth.AuthFromMD(ctx, "bearer")
		if err != nil {
			return nil, err
		}
		if subtle.ConstantTimeCompare([]byte(got), []byte(token)) != 1 {
			return nil, status.Error(codes.Unauthenticated, "this token is not known")
		}
		return ctx, nil
	}
}
