package ratelimit

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count what limits decide. One Metrics outlives many limiters, as a
// gateway keeps its own across reloads. A nil one counts nothing.
type Metrics struct {
	decisions *prometheus.CounterVec
	store     *prometheus.CounterVec
	open      prometheus.Gauge
}

// NewMetrics returns Metrics that reg knows.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "transom_ratelimit_decisions_total",
			Help: "What limits decided: allowed, refused, shadow (would have been refused), delayed, dropped, unknown (failed open).",
		}, []string{"limit", "result"}),
		store: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "transom_ratelimit_store_requests_total",
			Help: "Questions to the shared store: ok, failed, skipped (the circuit was open).",
		}, []string{"result"}),
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "transom_ratelimit_store_circuit_open", Help: "1 while the shared store is not asked because it failed.",
		}),
	}
	reg.MustRegister(m.decisions, m.store, m.open)
	return m
}

// counts are the counters of one limit; nil ones count nothing.
type counts struct {
	allowed, refused, shadow, delayed, dropped, unknown prometheus.Counter
}

func inc(c prometheus.Counter) {
	if c != nil {
		c.Inc()
	}
}

// follow gives the limits of a method their counters.
func (m *Metrics) follow(compiled *method) {
	if m == nil {
		return
	}
	for _, s := range append([]*set{compiled.own}, compiled.plans...) {
		if s == nil {
			continue
		}
		for _, l := range s.limits {
			l.counts = m.counts(l.Bucket)
		}
		for _, l := range s.perMessage {
			l.counts = m.counts(l.Bucket)
			l.counts.delayed = m.decisions.WithLabelValues(label(l.Bucket), "delayed")
			l.counts.dropped = m.decisions.WithLabelValues(label(l.Bucket), "dropped")
		}
		for _, p := range s.concurrency {
			p.counts = m.counts(p.Bucket)
		}
	}
}

func (m *Metrics) counts(bucket string) counts {
	of := func(result string) prometheus.Counter { return m.decisions.WithLabelValues(label(bucket), result) }
	return counts{allowed: of("allowed"), refused: of("refused"), shadow: of("shadow"), unknown: of("unknown")}
}

// label is the bucket as operators know it, without what only keeps counts apart.
func label(bucket string) string {
	_, after, _ := strings.Cut(bucket, "/")
	_, after, _ = strings.Cut(after, "/")
	return after
}

// asked counts a question to the shared store.
func (m *Metrics) asked(result string) {
	if m != nil {
		m.store.WithLabelValues(result).Inc()
	}
}

// circuit says whether the shared store is left alone.
func (m *Metrics) circuit(open bool) {
	switch {
	case m == nil:
	case open:
		m.open.Set(1)
	default:
		m.open.Set(0)
	}
}
