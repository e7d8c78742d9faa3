package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/descriptorpb"

	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
	"github.com/transomhq/transom/interceptors/policy"
	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/upstream"
)

// defaultAttempts are those of methods that declare that they may be repeated.
const defaultAttempts = 3

// guarded adds what keeps a cluster alive to its options. A zero of the
// configuration, whose defaults are filled in, means none.
func guarded(opts upstream.Options, c *configv1.Cluster) upstream.Options {
	opts.Hash = c.GetHash()
	e, h, b := c.GetEjection(), c.GetHealthCheck(), c.GetRetryBudget()
	opts.Ejection = upstream.Ejection{
		Failures: int(e.GetFailures()), Base: e.GetBaseTime().AsDuration(), Max: e.GetMaxTime().AsDuration(), MaxPercent: int(e.GetMaxPercent()),
	}
	if h != nil {
		opts.Health = upstream.HealthCheck{
			Interval: h.GetInterval().AsDuration(), Timeout: h.GetTimeout().AsDuration(), Service: h.GetService(), Failures: int(h.GetFailures()),
		}
	}
	opts.MaxCalls, opts.MaxPending = int(c.GetCircuitBreaker().GetMaxCalls()), int(c.GetCircuitBreaker().GetMaxPending())
	opts.RetryPercent, opts.MinRetries = noneIsNegative(b.GetPercent()), noneIsNegative(b.GetMinRetries())
	return opts
}

func noneIsNegative(n int32) int {
	if n == 0 {
		return -1
	}
	return int(n)
}

// retryOf returns how a method's failed calls are repeated: as its policy says,
// else as its idempotency_level allows.
func retryOf(m *rpc.Method, e *policy.Effective) (upstream.Retry, error) {
	var r upstream.Retry
	if idempotent(m) {
		r.Attempts = defaultAttempts
	}
	p := e.Policy.GetUpstream().GetRetry()
	if p == nil {
		return r, nil
	}
	r.Attempts = defaultAttempts
	if p.MaxAttempts != nil {
		r.Attempts = int(p.GetMaxAttempts())
	}
	var errs []error
	for _, name := range p.GetCodes() {
		var code codes.Code
		if err := code.UnmarshalJSON([]byte(`"` + name + `"`)); err != nil || code == codes.OK {
			errs = append(errs, fmt.Errorf("%s: policy upstream.retry of %s: %q is not the name of a gRPC code that can fail a call", e.Origins["upstream"].Text, m.Selector(), name))
		}
		r.Codes = append(r.Codes, code)
	}
	r.InitialBackoff, r.MaxBackoff = p.GetInitialBackoff().AsDuration(), p.GetMaxBackoff().AsDuration()
	r.PerTryTimeout = p.GetPerTryTimeout().AsDuration()
	if r.Attempts < 0 || r.Attempts > 10 || r.InitialBackoff < 0 || r.MaxBackoff < 0 || r.PerTryTimeout < 0 {
		errs = append(errs, fmt.Errorf("%s: policy upstream.retry of %s: want at most 10 attempts and no negative times", e.Origins["upstream"].Text, m.Selector()))
	}
	return r, errors.Join(errs...)
}

// idempotent reports whether the method's author says that a call made twice
// does no more than one made once.
func idempotent(m *rpc.Method) bool {
	o, _ := m.Desc.Options().(*descriptorpb.MethodOptions)
	return o.GetIdempotencyLevel() != descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN
}

// readsOnly reports whether the method's author says that a call changes
// nothing: by its idempotency_level, or by binding it to GET alone.
func readsOnly(m *rpc.Method) bool {
	o, _ := m.Desc.Options().(*descriptorpb.MethodOptions)
	if o.GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS {
		return true
	}
	gets := 0
	for _, b := range m.Bindings {
		if !b.Implicit && b.HTTPMethod != http.MethodGet {
			return false
		}
		if !b.Implicit {
			gets++
		}
	}
	return gets > 0
}

// Upstream is what a cluster says about itself.
type Upstream = upstream.Stats

// Upstreams returns what the clusters that serve now say about themselves.
func (g *Gateway) Upstreams() []Upstream {
	h := g.enter()
	if h == nil {
		return nil
	}
	defer h.leave()
	out := []Upstream{}
	for _, c := range h.backends.clusters {
		out = append(out, c.Stats())
	}
	return out
}

// WriteUpstreams writes clusters and endpoints as a table for people.
func WriteUpstreams(w io.Writer, all []Upstream) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "CLUSTER\tENDPOINT\tSTATE\tRUNNING\tCALLS\tFAILURES\tRETRIES\tREFUSED\tEJECTIONS")
	for _, c := range all {
		fmt.Fprintf(tw, "%s\t\t%s\t%d\t%d\t\t%d\t%d\t\n", c.Name, strings.ToLower(c.State), c.Running, c.Calls, c.Retries, c.Refused)
		for _, e := range c.Endpoints {
			fmt.Fprintf(tw, "\t%s\t%s\t%d\t%d\t%d\t\t\t%d\n", e.Address, e.State, e.Running, e.Calls, e.Failures, e.Ejections)
		}
	}
	return tw.Flush()
}

// upstreamMetrics reads the clusters when it is asked, so that calls pay nothing.
type upstreamMetrics struct{ upstreams func() []Upstream }

func upstreamDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("transom_upstream_"+name, help, append([]string{"cluster"}, labels...), nil)
}

// Describe says nothing: clusters come and go.
func (upstreamMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect says what the clusters say now.
func (u upstreamMetrics) Collect(out chan<- prometheus.Metric) {
	calls := upstreamDesc("calls_total", "Calls that were passed to a cluster.")
	attempts := upstreamDesc("attempts_total", "Attempts that were made for them.")
	retries := upstreamDesc("retries_total", "Attempts after the first.")
	starved := upstreamDesc("retries_refused_total", "Retries that the budget did not allow.")
	refused := upstreamDesc("calls_refused_total", "Calls that a circuit breaker refused.")
	running := upstreamDesc("calls_running", "Calls that run now.")
	state := upstreamDesc("endpoints", "Endpoints, by state.", "state")
	requests := upstreamDesc("endpoint_calls_total", "Attempts that an endpoint got.", "endpoint")
	failures := upstreamDesc("endpoint_failures_total", "Those of them that count as the endpoint's failures.", "endpoint")
	ejections := upstreamDesc("endpoint_ejections_total", "How often an endpoint was ejected.", "endpoint")
	counter, gauge := prometheus.CounterValue, prometheus.GaugeValue
	say := func(d *prometheus.Desc, kind prometheus.ValueType, v int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, kind, float64(v), labels...)
	}
	for _, c := range u.upstreams() {
		say(calls, counter, c.Calls, c.Name)
		say(attempts, counter, c.Attempts, c.Name)
		say(retries, counter, c.Retries, c.Name)
		say(starved, counter, c.Starved, c.Name)
		say(refused, counter, c.Refused, c.Name)
		say(running, gauge, c.Running, c.Name)
		states := map[string]int64{"ready": 0, "connecting": 0, "ejected": 0, "trial": 0, "unhealthy": 0}
		for _, e := range c.Endpoints {
			states[e.State]++
			say(requests, counter, e.Calls, c.Name, e.Address)
			say(failures, counter, e.Failures, c.Name, e.Address)
			say(ejections, counter, e.Ejections, c.Name, e.Address)
		}
		for name, n := range states {
			say(state, gauge, n, c.Name, name)
		}
	}
}

// UpstreamsPage is what a gateway says about the way to its backends.
type UpstreamsPage struct {
	Upstreams []Upstream `json:"upstreams"`
	Routes    []Traffic  `json:"routes"` // those that share their calls or mirror them
}

// Write writes the page as tables for people.
func (p *UpstreamsPage) Write(w io.Writer) error {
	if err := WriteUpstreams(w, p.Upstreams); err != nil || len(p.Routes) == 0 {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return WriteTraffic(w, p.Routes)
}

// upstreamsPage shows clusters, endpoints and routes, as tables or as JSON.
func (g *Gateway) upstreamsPage() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD are allowed here", http.StatusMethodNotAllowed)
			return
		}
		page := UpstreamsPage{Upstreams: g.Upstreams(), Routes: g.Traffic()}
		w.Header().Set("Vary", "Accept")
		format := r.URL.Query().Get("format")
		if format == "json" || format == "" && strings.Contains(r.Header.Get("Accept"), "application/json") {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(page) // the client's loss
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_ = page.Write(w) // likewise
	})
}
