package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/transomhq/transom/config"
	"github.com/transomhq/transom/interceptors/authn/revocation"
	"github.com/transomhq/transom/interceptors/authn/store"
)

func revokeCommand(env config.Env) *cobra.Command {
	var e revocation.Entry
	var until string
	var list, undo bool
	cmd := &cobra.Command{
		Use:   "revoke",
		Short: "Take back tokens by id, or all that a subject has",
		Long: `Writes to the store that the configuration names (authn.store). A gateway that runs refuses
what was revoked within a second, and ends the streams that run on it. A subject's tokens that
are issued later are good again.`,
		Example: `  transom revoke -c transom.yaml --token 8f2b1c --until 24h
  transom revoke -c transom.yaml --subject ann --reason "left the company"
  transom revoke -c transom.yaml --list`,
		Args: cobra.NoArgs,
	}
	file := configFlag(cmd)
	fs := cmd.Flags()
	fs.StringVar(&e.Token, "token", "", "the `ID` (jti) of a token")
	fs.StringVar(&e.Subject, "subject", "", "the `SUBJECT` whose credentials are taken back")
	fs.StringVar(&e.Issuer, "issuer", "", "whose token or subject it is (default: every issuer's)")
	fs.StringVar(&e.Reason, "reason", "", "why, for people")
	fs.StringVar(&until, "until", "", "`WHEN` it may be forgotten, since the token has expired: 24h, 2027-01-31T00:00:00Z (default never)")
	fs.BoolVar(&list, "list", false, "list what is revoked")
	fs.BoolVar(&undo, "undo", false, "take the revocation back")
	cmd.MarkFlagsOneRequired("token", "subject", "list")
	cmd.MarkFlagsMutuallyExclusive("token", "subject", "list")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if until != "" {
			at, err := parseWhen(until, time.Now())
			if err != nil {
				return err
			}
			e.Until = at
		}
		return withStore(cmd, env, *file, func(ctx context.Context, s store.Store) error {
			switch {
			case list:
				return listRevocations(ctx, cmd, s)
			case undo:
				return revocation.Remove(ctx, s, e)
			}
			return revocation.Add(ctx, s, e)
		})
	}
	return cmd
}

func listRevocations(ctx context.Context, cmd *cobra.Command, s store.Store) error {
	all, err := revocation.All(ctx, s)
	if err != nil {
		return err
	}
	tw := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "WHAT\tISSUER\tSINCE\tREASON")
	for _, e := range all {
		what := "token " + e.Token
		if e.Subject != "" {
			what = "subject " + e.Subject
		} else if e.Key != "" {
			what = "key " + e.Key
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", what, e.Issuer, e.At.Format(time.RFC3339), e.Reason)
	}
	return tw.Flush()
}
