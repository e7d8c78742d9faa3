package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/transomhq/transom/config"
	"github.com/transomhq/transom/gateway"
)

func explainCommand(env config.Env) *cobra.Command {
	f := &flags{}
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain METHOD PATH",
		Short: "Say what a request means, and why",
		Long: `Prints the RPC that an HTTP method and path mean, the path's variables, where the call goes
and which policy applies, each part with where it was declared. For a request that means
nothing: why, and the routes that come nearest.`,
		Example: `  transom explain GET /v1/orders/42 -c transom.yaml
  transom explain POST /v1/orders/42:cancel --schema ./proto`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			i, err := f.inspect(cmd, env)
			if err != nil {
				return err
			}
			defer i.Close()
			e := i.Explain(strings.ToUpper(args[0]), args[1])
			if asJSON {
				return printJSON(cmd.OutOrStdout(), e)
			}
			return printExplanation(cmd.OutOrStdout(), e)
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printExplanation(w io.Writer, e gateway.Explanation) error {
	if e.Route == nil {
		fmt.Fprintf(w, "%s\n", e.Refusal)
		for _, c := range e.Nearest {
			fmt.Fprintf(w, "  nearest: %s %s (%s): %s\n", c.HTTPMethod, c.Template, c.Method, c.Reason)
		}
		return nil
	}
	fmt.Fprintf(w, "method:    %s (%s)\n", e.Route.Method, e.Route.Kind)
	fmt.Fprintf(w, "binding:   %s %s\n", e.Route.HTTPMethod, e.Route.Template)
	fmt.Fprintf(w, "declared:  %s\n", e.Route.Origin)
	for _, name := range slices.Sorted(maps.Keys(e.Variables)) {
		fmt.Fprintf(w, "variable:  %s = %s\n", name, e.Variables[name])
	}
	if e.Route.Body != "" {
		fmt.Fprintf(w, "body:      %s\n", e.Route.Body)
	}
	upstream := e.Route.Upstream
	if upstream == "" {
		upstream = "none: no route of the configuration leads to an upstream"
	}
	fmt.Fprintf(w, "upstream:  %s\n", upstream)
	for _, line := range e.Traffic {
		fmt.Fprintf(w, "traffic:   %s\n", line)
	}
	for _, p := range e.Policy {
		fmt.Fprintf(w, "policy:    %s = %s\n           from %s\n", p.Part, p.Value, p.Origin)
	}
	return nil
}
