package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/transomhq/transom/schema/builtin"
)

func protoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "proto",
		Short: "Work with the protos that Transom brings",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(protoExportCommand())
	return cmd
}

func protoExportCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "export DIR",
		Short: "Write Transom's policy options as .proto files, to import from your own",
		Long: `Writes transom/policy/v1/*.proto below DIR, for protoc, buf and editors. With --all, also
the other imports that the gateway knows: google/api, google/rpc, buf/validate and so on.
The gateway itself needs none of these files: it has them built in.`,
		Example: `  transom proto export third_party
  transom proto export --all .cache/imports`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			packages := []string{"transom.policy.v1"}
			if all {
				packages = nil
			}
			if err := builtin.Export(args[0], packages...); err != nil {
				return fmt.Errorf("proto export: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "also write the third-party imports that the gateway knows")
	return cmd
}
