package faults

import "github.com/prometheus/client_golang/prometheus"

// Metrics count what was done to calls. One Metrics outlives many
// interceptors. A nil one counts nothing.
type Metrics struct{ injected *prometheus.CounterVec }

// NewMetrics returns Metrics that reg knows.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "transom_faults_injected_total", Help: "Calls that were delayed or failed because a tester asked, by method and kind (delay, abort).",
	}, []string{"method", "kind"})}
	reg.MustRegister(m.injected)
	return m
}

func (m *Metrics) count(method, kind string) {
	if m != nil {
		m.injected.WithLabelValues(method, kind).Inc()
	}
}
