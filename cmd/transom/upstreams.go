package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/transomhq/transom/config"
	"github.com/transomhq/transom/gateway"
)

// upstreamsTimeout is how long a running gateway may take to answer.
const upstreamsTimeout = 10 * time.Second

func upstreamsCommand(config.Env) *cobra.Command {
	var admin string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "upstreams",
		Short: "List the clusters, endpoints and splits of a running gateway",
		Long: `Asks a running gateway, at its admin address, for its clusters and their endpoints: which are
connected, ejected or unhealthy, how many calls run, failed and were repeated; and for the routes
that share their calls between subsets or mirror them: shares, failures, latency, ramps.`,
		Example: `  transom upstreams
  transom upstreams --admin unix:/run/transom.sock --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := askUpstreams(cmd.Context(), admin)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), all)
			}
			return all.Write(cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&admin, "admin", "127.0.0.1:9901", "the gateway's admin `ADDR`: host:port or unix:PATH")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func askUpstreams(ctx context.Context, admin string) (*gateway.UpstreamsPage, error) {
	ctx, cancel := context.WithTimeout(ctx, upstreamsTimeout)
	defer cancel()
	host, transport := admin, &http.Transport{DisableKeepAlives: true}
	if path, ok := strings.CutPrefix(admin, "unix:"); ok {
		host = "localhost"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/upstreams?format=json", http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("admin address %q: %w", admin, err)
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("no gateway answers at %s: %w", admin, err)
	}
	defer resp.Body.Close()
	var page gateway.UpstreamsPage
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", admin, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
		return nil, fmt.Errorf("what %s answered is not a list of upstreams: %w", admin, err)
	}
	return &page, nil
}
