package authz

import "github.com/prometheus/client_golang/prometheus"

// Metrics count refusals. One Metrics outlives many guards. A nil one counts
// nothing.
type Metrics struct{ refused *prometheus.CounterVec }

// NewMetrics returns Metrics that reg knows.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "transom_authz_refusals_total", Help: "Calls that their callers may not make, by reason.",
	}, []string{"reason"})}
	reg.MustRegister(m.refused)
	return m
}

func (m *Metrics) add(reason string) {
	if m != nil {
		m.refused.WithLabelValues(reason).Inc()
	}
}
