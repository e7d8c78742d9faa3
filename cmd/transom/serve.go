package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/transomhq/transom/config"
	"github.com/transomhq/transom/gateway"
)

func serveCommand(env config.Env) *cobra.Command {
	f := &flags{}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Long: `Serves REST/JSON, native gRPC, gRPC-Web and Connect on one port until SIGINT or SIGTERM,
then finishes the calls that run. SIGHUP and changed files reload; a mistake leaves the
running configuration in place and is logged with its file and line.`,
		Example: `  transom serve --schema ./proto --upstream localhost:50051
  transom serve --schema shop.binpb --upstream 'shop.orders.v1.*=orders:50051' --upstream 'shop.*=shop:50051'
  transom serve --schema grpc://localhost:50051 --upstream localhost:50051 --profile grpc-gateway
  transom serve -c transom.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			tuneMemory(env)
			hup := make(chan os.Signal, 1)
			signal.Notify(hup, syscall.SIGHUP)
			defer signal.Stop(hup)
			g, err := gateway.New(cmd.Context(), f.source(env), gateway.WithVersion(versionText()), gateway.WithReloadSignal(hup))
			if err != nil {
				return mistakes(err)
			}
			if f.overrides.LogFormat != "json" {
				announce(cmd.OutOrStdout(), g)
			}
			return g.Run(cmd.Context())
		},
	}
	f.register(cmd)
	fs := cmd.Flags()
	fs.StringVar(&f.overrides.Listen, "listen", "", "`ADDR` to listen on, host:port (default :8080); port 0 takes a free one")
	fs.StringVar(&f.overrides.Admin, "admin", "", "`ADDR` for operators: health, metrics, routes (default 127.0.0.1:9901); \"off\" for none")
	fs.StringVar(&f.overrides.LogFormat, "log-format", "", "`text` or json")
	fs.StringVar(&f.overrides.LogLevel, "log-level", "", "`LEVEL`: debug, info, warn or error (default info)")
	return cmd
}

// announce prints where the gateway listens, a line each, for scripts that let
// it choose a port. In JSON the log says the same.
func announce(w io.Writer, g *gateway.Gateway) {
	for _, addr := range g.Addrs() {
		fmt.Fprintf(w, "listening on %s\n", addr)
	}
	if admin := g.AdminAddr(); admin != nil {
		fmt.Fprintf(w, "admin listening on %s\n", admin)
	}
}
