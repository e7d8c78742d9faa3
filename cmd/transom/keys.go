package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/transomhq/transom/config"
	"github.com/transomhq/transom/gateway"
	"github.com/transomhq/transom/interceptors/authn/apikey"
	"github.com/transomhq/transom/interceptors/authn/store"
)

func keysCommand(env config.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Make, list, rotate, expire and revoke API keys",
		Long: `Works on the store that the configuration names (authn.store). A gateway that runs takes
every change over within a second, running streams included. A key's text is printed once,
when it is made: only a salted hash of it is kept.`,
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(keysCreate(env), keysList(env), keysRotate(env), keysExpire(env), keysRevoke(env), keysHash())
	return cmd
}

// withStore opens the store of the configuration that --config names.
func withStore(cmd *cobra.Command, env config.Env, file string, f func(context.Context, store.Store) error) error {
	cfg, err := config.Source{Path: file, Env: env}.Load()
	if err != nil {
		return mistakes(err)
	}
	s, err := gateway.OpenStore(cfg.Config)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // every change is written by then
	return f(cmd.Context(), s)
}

// configFlag adds the flag that names the configuration.
func configFlag(cmd *cobra.Command) *string {
	file := cmd.Flags().StringP("config", "c", "", "configuration `FILE` that names the store")
	_ = cmd.MarkFlagRequired("config") // the flag is there
	return file
}

func keysCreate(env config.Env) *cobra.Command {
	var k apikey.Key
	var lasts string
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make a key and print it, this once",
		Example: `  transom keys create -c transom.yaml --consumer acme --scope orders.read --expires 90d
  KEY=$(transom keys create -c transom.yaml --consumer acme)`,
		Args: cobra.NoArgs,
	}
	file := configFlag(cmd)
	fs := cmd.Flags()
	fs.StringVar(&k.Consumer, "consumer", "", "the `APPLICATION` that the key belongs to")
	fs.StringVar(&k.Subject, "subject", "", "who calls with it (default: the consumer)")
	fs.StringVar(&k.Name, "name", "", "what people call the key")
	fs.StringArrayVar(&k.Scopes, "scope", nil, "a `SCOPE` that it grants; repeatable")
	fs.StringArrayVar(&k.Roles, "role", nil, "a `ROLE` that it grants; repeatable")
	fs.StringVar(&lasts, "expires", "", "`WHEN` it ends: in 90d or 12h, or at 2027-01-31T00:00:00Z (default never)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if lasts != "" {
			at, err := parseWhen(lasts, time.Now())
			if err != nil {
				return err
			}
			k.Expires = at
		}
		return withStore(cmd, env, *file, func(ctx context.Context, s store.Store) error {
			_, text, err := apikey.Create(ctx, s, k)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
			return err
		})
	}
	return cmd
}

func keysList(env config.Env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "list", Short: "List the keys, without their secrets", Args: cobra.NoArgs}
	file := configFlag(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withStore(cmd, env, *file, func(ctx context.Context, s store.Store) error {
			keys, err := apikey.All(ctx, s)
			if err != nil {
				return err
			}
			if !asJSON {
				return printKeys(cmd.OutOrStdout(), keys, time.Now())
			}
			for i := range keys {
				keys[i].Hash = "" // of no use to readers
			}
			return printJSON(cmd.OutOrStdout(), keys)
		})
	}
	return cmd
}

func printKeys(w io.Writer, keys []apikey.Key, now time.Time) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "PREFIX\tCONSUMER\tSTATE\tEXPIRES\tSCOPES\tNAME")
	for _, k := range keys {
		expires := "never"
		if !k.Expires.IsZero() {
			expires = k.Expires.Format(time.RFC3339)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", k.Prefix, k.Consumer, k.State(now), expires, strings.Join(k.Scopes, " "), k.Name)
	}
	return tw.Flush()
}

func keysRotate(env config.Env) *cobra.Command {
	var overlap string
	cmd := &cobra.Command{
		Use:     "rotate PREFIX",
		Short:   "Make a successor of a key and print it; both work for a while",
		Example: `  transom keys rotate -c transom.yaml 4fTq91xZ --overlap 24h`,
		Args:    cobra.ExactArgs(1),
	}
	file := configFlag(cmd)
	cmd.Flags().StringVar(&overlap, "overlap", "24h", "how `LONG` the old key works on: 24h, 7d")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		d, err := parseLong(overlap)
		if err != nil {
			return err
		}
		return withStore(cmd, env, *file, func(ctx context.Context, s store.Store) error {
			_, text, err := apikey.Rotate(ctx, s, args[0], d)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
			return err
		})
	}
	return cmd
}

func keysExpire(env config.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "expire PREFIX WHEN",
		Short:   "Set when a key ends",
		Example: `  transom keys expire -c transom.yaml 4fTq91xZ 7d`,
		Args:    cobra.ExactArgs(2),
	}
	file := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		at, err := parseWhen(args[1], time.Now())
		if err != nil {
			return err
		}
		return withStore(cmd, env, *file, func(ctx context.Context, s store.Store) error {
			if err := apikey.Expire(ctx, s, args[0], at, false); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "key %s ends at %s\n", args[0], at.Format(time.RFC3339))
			return err
		})
	}
	return cmd
}

func keysRevoke(env config.Env) *cobra.Command {
	cmd := &cobra.Command{Use: "revoke PREFIX", Short: "Take a key back, at once and for good", Args: cobra.ExactArgs(1)}
	file := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return withStore(cmd, env, *file, func(ctx context.Context, s store.Store) error {
			if err := apikey.Revoke(ctx, s, args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "key %s is revoked\n", args[0])
			return err
		})
	}
	return cmd
}

func keysHash() *cobra.Command {
	return &cobra.Command{
		Use:   "hash",
		Short: "Make a key for the configuration file: its text, and what to write there",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var k apikey.Key
			text := apikey.Generate(&k)
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n{prefix: %s, hash: \"%s\", consumer: NAME}\n", text, k.Prefix, k.Hash)
			return err
		},
	}
}

// parseWhen reads a time, or how long from now on it is.
func parseWhen(s string, now time.Time) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		return at.UTC(), nil
	}
	d, err := parseLong(s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q: want 90d, 12h or 2027-01-31T00:00:00Z", s)
	}
	return now.Add(d).UTC().Truncate(time.Second), nil
}

// parseLong reads a duration, which may be in days.
func parseLong(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		d, err := time.ParseDuration(days + "h")
		if err != nil || d < 0 || d > 1e6*time.Hour {
			return 0, fmt.Errorf("%q: want a time like 90d or 12h", s)
		}
		return 24 * d, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q: want a time like 90d or 12h", s)
	}
	return d, nil
}
