// Command transom is the gateway: one file a verb.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/transomhq/transom/config"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr))
}

// run is the whole program as a function of what it is given. It returns the
// exit code: 0, or 1 for anything that went wrong.
func run(ctx context.Context, args []string, env config.Env, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:   "transom",
		Short: "A gRPC-first API gateway",
		Long: `Transom serves REST/JSON, native gRPC, gRPC-Web and Connect on one port, in front
of gRPC services, from their protobuf definitions alone.`,
		Example: `  transom serve --schema ./proto --upstream localhost:50051
  transom check -c transom.yaml
  transom explain GET /v1/orders/42 --schema shop.binpb`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.AddCommand(serveCommand(env), checkCommand(env), routesCommand(env), upstreamsCommand(env), explainCommand(env), keysCommand(env), revokeCommand(env), protoCommand(), versionCommand())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())
	})
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintf(stderr, "transom: %v\n", err)
		return 1
	}
	return 0
}
