package upstream

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// HealthCheck asks each connected endpoint at an interval whether it lives:
// grpc.health.v1.Health/Check. A server without that service lives when it
// answers at all. The zero value asks nothing.
type HealthCheck struct {
	// Interval is the time between two questions; 0 asks nothing.
	Interval time.Duration
	// Timeout is how long an answer may take; 0 means 1 s.
	Timeout time.Duration
	// Service is whose health is asked; "" is the server's as a whole.
	Service string
	// Failures in a row make an endpoint sick; 0 means 2. One success heals it.
	Failures int
}

// checks are the running questions of a cluster.
type checks struct {
	cluster *Cluster
	opts    HealthCheck
	cancel  context.CancelFunc
	done    sync.WaitGroup
}

func startChecks(c *Cluster, opts HealthCheck) *checks {
	if opts.Timeout <= 0 {
		opts.Timeout = time.Second
	}
	if opts.Failures <= 0 {
		opts.Failures = 2
	}
	ctx, cancel := context.WithCancel(context.Background())
	h := &checks{cluster: c, opts: opts, cancel: cancel}
	h.done.Go(func() { h.run(ctx) })
	return h
}

func (h *checks) stop() {
	if h != nil {
		h.cancel()
		h.done.Wait()
	}
}

func (h *checks) run(ctx context.Context) {
	tick := time.NewTicker(h.opts.Interval)
	defer tick.Stop()
	failures := map[*endpoint]int{}
	for {
		all := h.cluster.pool.list()
		failures = h.round(ctx, all, failures)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// round asks all endpoints together and returns their failures in a row.
func (h *checks) round(ctx context.Context, all []*endpoint, before map[*endpoint]int) map[*endpoint]int {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, e := range all {
		if e.connections.Load() > 0 { // else it takes no calls anyway
			wg.Go(func() { errs[i] = h.ask(ctx, e) })
		}
	}
	wg.Wait()
	failures := map[*endpoint]int{}
	if ctx.Err() != nil {
		return failures
	}
	for i, e := range all {
		if errs[i] == nil {
			h.cluster.pool.health(e, true)
			continue
		}
		if failures[e] = before[e] + 1; failures[e] >= h.opts.Failures {
			h.cluster.pool.health(e, false)
		}
	}
	return failures
}

func (h *checks) ask(ctx context.Context, e *endpoint) error {
	ctx, cancel := context.WithTimeout(ctx, h.opts.Timeout)
	defer cancel()
	resp, err := healthpb.NewHealthClient(h.cluster.conns[0]).Check(&attempt{Context: ctx, only: e}, &healthpb.HealthCheckRequest{Service: h.opts.Service})
	switch {
	case status.Code(err) == codes.Unimplemented:
		return nil
	case err != nil:
		return err
	case resp.GetStatus() != healthpb.HealthCheckResponse_SERVING:
		return status.Error(codes.Unavailable, resp.GetStatus().String())
	}
	return nil
}
