package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/transomhq/transom/config"
)

func checkCommand(env config.Env) *cobra.Command {
	f := &flags{}
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check a configuration and its schema without serving",
		Long: `Builds everything that serve would build and opens no port. Everything that serve would
refuse is printed, each with its file and line, and the exit code is 1. Warnings are
printed, too: what serves, but perhaps not as its author thinks.`,
		Example: `  transom check -c transom.yaml
  transom check --schema ./proto --upstream localhost:50051`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			i, err := f.inspect(cmd, env)
			if err != nil {
				return err
			}
			defer i.Close()
			out := cmd.OutOrStdout()
			for _, w := range i.Warnings() {
				fmt.Fprintf(out, "warning: %s\n", w)
			}
			_, err = fmt.Fprintf(out, "ok: %s, %s\n", plural(len(i.Routes()), "route"), plural(len(i.Warnings()), "warning"))
			return err
		},
	}
	f.register(cmd)
	return cmd
}

// mistakes puts several mistakes on lines of their own below a count of them.
func mistakes(err error) error {
	lines := strings.Split(strings.TrimRight(err.Error(), "\n"), "\n")
	if len(lines) == 1 {
		return err
	}
	return errors.New(plural(len(lines), "mistake") + "\n" + indented(err.Error()))
}

// indented returns the lines of text, each after an indent.
func indented(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n  ")
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
