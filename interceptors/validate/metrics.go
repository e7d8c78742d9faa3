package validate

import (
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Metrics count invalid messages. One Metrics outlives many checkers. A nil
// one counts nothing.
type Metrics struct{ invalid *prometheus.CounterVec }

// NewMetrics returns Metrics that reg knows.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "transom_validation_invalid_messages_total",
		Help: "Messages that broke their buf.validate rules, by method and by what became of them (refused, reported).",
	}, []string{"method", "result"})}
	reg.MustRegister(m.invalid)
	return m
}

type counts struct{ refused, reported prometheus.Counter }

func (m *Metrics) of(desc protoreflect.MethodDescriptor) counts {
	if m == nil {
		return counts{}
	}
	name := string(desc.FullName())
	return counts{m.invalid.WithLabelValues(name, "refused"), m.invalid.WithLabelValues(name, "reported")}
}

func (c counts) add(report bool) {
	counter := c.refused
	if report {
		counter = c.reported
	}
	if counter != nil {
		counter.Inc()
	}
}
