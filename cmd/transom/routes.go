package main

import (
	"encoding/json"
	"io"

	"github.com/spf13/cobra"

	"github.com/transomhq/transom/config"
	"github.com/transomhq/transom/gateway"
)

func routesCommand(env config.Env) *cobra.Command {
	f := &flags{}
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "routes",
		Short: "List the HTTP routes",
		Example: `  transom routes --schema ./proto
  transom routes -c transom.yaml --json | jq '.[].template'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			i, err := f.inspect(cmd, env)
			if err != nil {
				return err
			}
			defer i.Close()
			if asJSON {
				return printJSON(cmd.OutOrStdout(), i.Routes())
			}
			return gateway.WriteRoutes(cmd.OutOrStdout(), i.Routes())
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
