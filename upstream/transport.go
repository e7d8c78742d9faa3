package upstream

import (
	"cmp"
	"fmt"

	"github.com/transomhq/transom/upstream/lean"
)

// newLean returns a cluster over the lean transport. What only grpc-go can do
// is refused rather than left out in silence; ejection, which is on unless the
// operator says otherwise, is not there either.
func newLean(opts Options) (*Cluster, error) {
	switch {
	case opts.Balancer != "" && opts.Balancer != "round_robin":
		return nil, fmt.Errorf("cluster %q: the lean transport balances round robin, not %q", opts.Name, opts.Balancer)
	case opts.HealthService != nil || opts.Health.Interval > 0:
		return nil, fmt.Errorf("cluster %q: the lean transport asks no backend for its health", opts.Name)
	}
	pool, err := lean.New(lean.Options{
		Targets: opts.Targets, TLS: opts.TLS, Connections: opts.Connections,
		MaxReceiveBytes: cmp.Or(opts.MaxReceiveBytes, defaultMaxReceiveBytes),
		Keepalive:       opts.Keepalive, DialTimeout: opts.DialTimeout, Authority: opts.Authority, UserAgent: "transom",
	})
	if err != nil {
		return nil, fmt.Errorf("cluster %q: %w", opts.Name, err)
	}
	c := &Cluster{name: opts.Name, lean: pool, pool: newPool(Ejection{}), balance: foreign}
	c.guard = newGuard(opts, func() bool { return true })
	return c, nil
}
