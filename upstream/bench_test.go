package upstream_test

import (
	"testing"

	"google.golang.org/grpc"

	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/upstream"
)

// BenchmarkRelayUnary is a call through the relay to a backend on loopback, as
// it was without resilience (grpc-go's round_robin, no retries) and with it.
func BenchmarkRelayUnary(b *testing.B) {
	for _, c := range []struct {
		name  string
		opts  upstream.Options
		retry upstream.Retry
	}{
		{"grpc-go's balancer", upstream.Options{Balancer: "pick_first"}, upstream.Retry{}},
		{"guarded", upstream.Options{Ejection: upstream.Ejection{Failures: 5}, MaxCalls: 1000}, upstream.Retry{}},
		{"guarded and retried", upstream.Options{Ejection: upstream.Ejection{Failures: 5}, MaxCalls: 1000}, upstream.Retry{Attempts: 3}},
	} {
		b.Run(c.name, func(b *testing.B) {
			addr, _ := failing(b, func(_ int64, ss grpc.ServerStream) error { return ok(ss) })
			c.opts.Name, c.opts.Targets = "bench", []string{addr}
			cluster, err := upstream.NewCluster(c.opts)
			if err != nil {
				b.Fatal(err)
			}
			defer cluster.Close()
			backend := upstream.Backend{Name: "bench", Conn: cluster, Retry: c.retry, Guard: cluster.Guard()}
			if c.name == "grpc-go's balancer" {
				backend.Guard = nil
			}
			relay := &upstream.Relay{Backend: func(*rpc.Method) (upstream.Backend, bool) { return backend, true }}
			m := testMethods(b)[0]
			handle := relay.Unary(m)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := handle(b.Context(), rpc.NewMessage(m.Desc.Input())); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
