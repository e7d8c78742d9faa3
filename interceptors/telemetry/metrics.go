package telemetry

import (
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/rpc"
)

// noMethod stands for calls that never found a method: a label must not be
// something that a client can choose.
const noMethod = "none"

// metrics are the collectors, with the handles of each (method, door, code)
// looked up once and kept.
type metrics struct {
	started  *prometheus.GaugeVec
	handled  *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	messages *prometheus.CounterVec
	bytes    *prometheus.CounterVec

	handles sync.Map // handleKey -> *handle
	gauges  sync.Map // method name -> prometheus.Gauge
}

type handleKey struct {
	method string
	door   string
	code   codes.Code
}

type handle struct {
	handled              prometheus.Counter
	seconds              prometheus.Observer
	messagesIn, messages prometheus.Counter
	bytesIn, bytes       prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		started: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "transom_calls_in_flight", Help: "Calls that are running now.",
		}, []string{"method"}),
		handled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "transom_calls_total", Help: "Calls that ended, by method, door and real gRPC code.",
		}, []string{"method", "door", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "transom_call_duration_seconds", Help: "From the request's first byte to the end of the answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"method", "door"}),
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "transom_messages_total", Help: "Messages that passed, by direction (in: from the client).",
		}, []string{"method", "door", "direction"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "transom_bytes_total", Help: "Body bytes that passed, by direction (in: from the client).",
		}, []string{"method", "door", "direction"}),
	}
	reg.MustRegister(m.started, m.handled, m.seconds, m.messages, m.bytes)
	return m
}

// observe counts a call that ended.
func (m *metrics) observe(call *rpc.Call, code codes.Code, seconds float64) {
	key := handleKey{method: noMethod, door: call.Door, code: code}
	if call.Method != nil {
		key.method = call.Method.Name
	}
	h := m.handle(key)
	h.handled.Inc()
	h.seconds.Observe(seconds)
	addTo(h.messagesIn, call.MessagesIn.Load())
	addTo(h.messages, call.MessagesOut.Load())
	addTo(h.bytesIn, call.BytesIn.Load())
	addTo(h.bytes, call.BytesOut.Load())
}

func addTo(c prometheus.Counter, n int64) {
	if n > 0 {
		c.Add(float64(n))
	}
}

func (m *metrics) handle(key handleKey) *handle {
	if h, ok := m.handles.Load(key); ok {
		return h.(*handle)
	}
	method := key.method
	h := &handle{
		handled:    m.handled.WithLabelValues(method, key.door, codeName(key.code)),
		seconds:    m.seconds.WithLabelValues(method, key.door),
		messagesIn: m.messages.WithLabelValues(method, key.door, "in"),
		messages:   m.messages.WithLabelValues(method, key.door, "out"),
		bytesIn:    m.bytes.WithLabelValues(method, key.door, "in"),
		bytes:      m.bytes.WithLabelValues(method, key.door, "out"),
	}
	got, _ := m.handles.LoadOrStore(key, h)
	return got.(*handle)
}

func (m *metrics) inFlight(method string) prometheus.Gauge {
	if g, ok := m.gauges.Load(method); ok {
		return g.(prometheus.Gauge)
	}
	g, _ := m.gauges.LoadOrStore(method, m.started.WithLabelValues(method))
	return g.(prometheus.Gauge)
}

// codeName spells a code as the gRPC specification does. Codes that it does not
// know, which backends may send, are one label value: there are 2^32 of them.
func codeName(c codes.Code) string {
	switch c {
	case codes.OK:
		return "OK"
	case codes.Canceled:
		return "CANCELLED"
	case codes.Unknown:
		return "UNKNOWN"
	case codes.InvalidArgument:
		return "INVALID_ARGUMENT"
	case codes.DeadlineExceeded:
		return "DEADLINE_EXCEEDED"
	case codes.NotFound:
		return "NOT_FOUND"
	case codes.AlreadyExists:
		return "ALREADY_EXISTS"
	case codes.PermissionDenied:
		return "PERMISSION_DENIED"
	case codes.ResourceExhausted:
		return "RESOURCE_EXHAUSTED"
	case codes.FailedPrecondition:
		return "FAILED_PRECONDITION"
	case codes.Aborted:
		return "ABORTED"
	case codes.OutOfRange:
		return "OUT_OF_RANGE"
	case codes.Unimplemented:
		return "UNIMPLEMENTED"
	case codes.Internal:
		return "INTERNAL"
	case codes.Unavailable:
		return "UNAVAILABLE"
	case codes.DataLoss:
		return "DATA_LOSS"
	case codes.Unauthenticated:
		return "UNAUTHENTICATED"
	}
	return "OTHER"
}

// codeText is codeName for logs, where an unknown code keeps its number.
func codeText(c codes.Code) string {
	if c > codes.Unauthenticated {
		return strconv.FormatUint(uint64(c), 10)
	}
	return codeName(c)
}
