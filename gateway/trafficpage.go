package gateway

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/upstream/traffic"
)

// Traffic is what a route says about how it shares its calls.
type Traffic = traffic.Stats

// Traffic returns what the routes that serve now say about themselves, of
// those that split or mirror.
func (g *Gateway) Traffic() []Traffic {
	h := g.enter()
	if h == nil {
		return nil
	}
	defer h.leave()
	out := []Traffic{}
	for _, r := range h.routesShaped {
		out = append(out, r.Stats())
	}
	return out
}

// WriteTraffic writes how routes share their calls as a table for people,
// nothing where none does.
func WriteTraffic(w io.Writer, all []Traffic) error {
	if len(all) == 0 {
		return nil
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "ROUTE\tSUBSET\tCLUSTER\tSHARE\tRUNNING\tCALLS\tFAILED\tRECENT\tFAILED\tP50\tP95")
	for _, r := range all {
		fmt.Fprintf(tw, "%s\t\t\t\t\t\t\t\t\t\t\n", r.Route)
		for _, s := range r.Subsets {
			fmt.Fprintf(tw, "\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%s\t%s\n", s.Name, s.Cluster, percent(s.Percent), s.Running, s.Calls, s.Failed,
				s.Recent.Calls, s.Recent.Failed, millis(s.Recent.P50), millis(s.Recent.P95))
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, r := range all {
		for _, line := range remarks(r) {
			if _, err := fmt.Fprintf(w, "%s: %s\n", r.Route, line); err != nil {
				return err
			}
		}
	}
	return nil
}

// remarks say of a route what is no number of a subset.
func remarks(r Traffic) []string {
	var out []string
	if r.Ramp != nil {
		line := fmt.Sprintf("ramp of %s from %s to %s, %s", r.Ramp.Subset, percent(r.Ramp.From), percent(r.Ramp.To), r.Ramp.State)
		switch {
		case r.Ramp.Stopped != nil:
			line += fmt.Sprintf(" at %s: %s", r.Ramp.Stopped.At.UTC().Format(time.RFC3339), r.Ramp.Stopped.Why)
		case r.Ramp.State == "waiting":
			line += " for " + r.Ramp.Begin.Format(time.RFC3339)
		case r.Ramp.State == "growing":
			line += " until " + r.Ramp.End.Format(time.RFC3339)
		}
		out = append(out, line)
	}
	if m := r.Mirror; m != nil {
		out = append(out, fmt.Sprintf("mirror of %s to %s: %d sent, %d failed, %d dropped, %d running", percent(m.Percent), m.Cluster, m.Sent, m.Failed, m.Dropped, m.Running))
	}
	return out
}

func percent(p float64) string { return fmt.Sprintf("%.4g%%", p) }

func millis(ms float64) string {
	if ms == 0 {
		return "-"
	}
	return fmt.Sprintf("%.3gms", ms)
}

// trafficMetrics reads the routes when it is asked, so that calls pay nothing.
type trafficMetrics struct{ routes func() []Traffic }

func trafficDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("transom_route_"+name, help, append([]string{"route"}, labels...), nil)
}

// Describe says nothing: routes come and go.
func (trafficMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect says what the routes say now.
func (t trafficMetrics) Collect(out chan<- prometheus.Metric) {
	share := trafficDesc("share", "The share of calls that a subset gets by weight, 0 to 1.", "subset", "cluster")
	running := trafficDesc("calls_running", "Calls of a subset that run now.", "subset")
	failed := trafficDesc("calls_failed_total", "Calls of a subset that failed by its fault.", "subset")
	seconds := trafficDesc("call_duration_seconds", "Duration of a subset's calls; of streams, until the answer began.", "subset")
	stopped := trafficDesc("ramp_stopped", "1 where a ramp has stopped itself.", "subset")
	copies := trafficDesc("mirrored_total", "Copies of requests, by what became of them (sent, dropped).", "cluster", "result")
	lost := trafficDesc("mirror_failed_total", "Copies whose answer was an error.", "cluster")
	say := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	for _, r := range t.routes() {
		for _, s := range r.Subsets {
			say(share, prometheus.GaugeValue, s.Percent/100, r.Route, s.Name, s.Cluster)
			say(running, prometheus.GaugeValue, float64(s.Running), r.Route, s.Name)
			say(failed, prometheus.CounterValue, float64(s.Failed), r.Route, s.Name)
			out <- prometheus.MustNewConstHistogram(seconds, uint64(max(s.Calls, 0)), s.Seconds, s.Buckets, r.Route, s.Name)
		}
		if r.Ramp != nil {
			now := 0.0
			if r.Ramp.Stopped != nil {
				now = 1
			}
			say(stopped, prometheus.GaugeValue, now, r.Route, r.Ramp.Subset)
		}
		if m := r.Mirror; m != nil {
			say(copies, prometheus.CounterValue, float64(m.Sent), r.Route, m.Cluster, "sent")
			say(copies, prometheus.CounterValue, float64(m.Dropped), r.Route, m.Cluster, "dropped")
			say(lost, prometheus.CounterValue, float64(m.Failed), r.Route, m.Cluster)
		}
	}
}

// splitOf says in one line where the calls of a method go, "" where one cluster
// gets all of them.
func (h *house) splitOf(m *rpc.Method) string {
	s, ok := h.backends.shaped[m.Name]
	if !ok || len(s.subsets) == 0 {
		return ""
	}
	var parts []string
	for _, one := range s.route.Stats().Subsets {
		parts = append(parts, fmt.Sprintf("%s (%s) %s", one.Cluster, one.Name, percent(one.Percent)))
	}
	return strings.Join(parts, ", ")
}

// trafficOf says how a method's calls are shared, line by line.
func (h *house) trafficOf(m *rpc.Method) []string {
	s, ok := h.backends.shaped[m.Name]
	if !ok {
		return nil
	}
	var out []string
	stats := s.route.Stats()
	if stats.Sticky != "" {
		out = append(out, "sticky by "+stats.Sticky)
	}
	for _, match := range s.matches {
		out = append(out, matchText(match))
	}
	if r := stats.Ramp; r != nil {
		out = append(out, fmt.Sprintf("ramp of %s from %s to %s over %s", r.Subset, percent(r.From), percent(r.To), r.End.Sub(r.Begin)))
	}
	switch {
	case s.mirror != nil:
		out = append(out, fmt.Sprintf("mirror of %s to %s", percent(stats.Mirror.Percent), stats.Mirror.Cluster))
	case stats.Mirror != nil:
		out = append(out, "not mirrored: it streams requests up, or may change something")
	}
	return out
}

// matchText says a rule in words.
func matchText(m *configv1.Match) string {
	var when []string
	for _, h := range m.GetHeaders() {
		switch {
		case h.GetExact() != "":
			when = append(when, fmt.Sprintf("header %s is %q", h.GetName(), h.GetExact()))
		case h.GetPrefix() != "":
			when = append(when, fmt.Sprintf("header %s begins with %q", h.GetName(), h.GetPrefix()))
		default:
			when = append(when, fmt.Sprintf("header %s is there", h.GetName()))
		}
	}
	for _, c := range m.GetClaims() {
		when = append(when, fmt.Sprintf("claim %s is %q", c.GetName(), c.GetEquals()))
	}
	if m.GetScope() != "" {
		when = append(when, fmt.Sprintf("the caller has scope %q", m.GetScope()))
	}
	if m.Percent != nil {
		when = append(when, "among "+percent(m.GetPercent()))
	}
	return "to " + m.GetSubset() + " if " + strings.Join(when, ", ")
}
