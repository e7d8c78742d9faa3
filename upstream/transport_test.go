package upstream_test

import (
	"strings"
	"testing"
	"time"

	"github.com/transomhq/transom/upstream"
)

// The lean transport passes what grpc-go's passes.
func TestLeanTransport(t *testing.T) {
	t.Run("lean", func(t *testing.T) {
		for name, test := range map[string]func(*testing.T){
			"TestRelayPassesInterop":          TestRelayPassesInterop,
			"TestUnreachableBackend":          TestUnreachableBackend,
			"TestBackendsOwnStatusPasses":     TestBackendsOwnStatusPasses,
			"TestSeveralTargetsShareTheCalls": TestSeveralTargetsShareTheCalls,
			"TestMetadataBothWays":            TestMetadataBothWays,
		} {
			t.Run(name, test)
		}
	})
}

func TestLeanTransportRefusesWhatItCannotDo(t *testing.T) {
	service := ""
	for want, opts := range map[string]upstream.Options{
		"balances round robin": {Balancer: "least_request"},
		"asks no backend":      {Health: upstream.HealthCheck{Interval: time.Second}},
		"its health":           {HealthService: &service},
		`target "xds:///shop"`: {Targets: []string{"xds:///shop"}},
	} {
		opts.Name, opts.Lean = "shop", true
		if opts.Targets == nil {
			opts.Targets = []string{"localhost:1"}
		}
		if _, err := upstream.NewCluster(opts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
