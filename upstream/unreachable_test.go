package upstream_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/upstream"
)

// What is public about a backend that cannot be reached is of which kind it
// is, and no address.
func TestWhyUnreachable(t *testing.T) {
	refusing, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing.Close()
	plain := serve(t, grpc.NewServer())
	silent := slammer(t)
	for name, c := range map[string]struct {
		opts upstream.Options
		want rpc.ProxyError
	}{
		"nobody listens":          {upstream.Options{Targets: []string{refusing.Addr().String()}}, rpc.ConnectionRefused},
		"no socket":               {upstream.Options{Targets: []string{"unix:/nowhere/transom.sock"}}, rpc.ConnectionRefused},
		"no TLS at the other end": {upstream.Options{Targets: []string{plain}, TLS: &tls.Config{InsecureSkipVerify: true}}, rpc.TLSProtocolError},
		"it hangs up":             {upstream.Options{Targets: []string{silent}}, rpc.ConnectionTerminated},
	} {
		t.Run(name, func(t *testing.T) {
			c.opts.Name = "test"
			cluster, err := upstream.NewCluster(c.opts)
			if err != nil {
				t.Fatal(err)
			}
			defer cluster.Close()
			relay := &upstream.Relay{Backend: func(*rpc.Method) (upstream.Backend, bool) {
				return upstream.Backend{Name: "test", Conn: cluster, Guard: cluster.Guard()}, true
			}}
			m := testMethods(t)[0]
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, err = relay.Unary(m)(ctx, rpc.NewMessage(m.Desc.Input()))
			var e *rpc.Error
			if !errors.As(err, &e) || e.Proxy != c.want {
				t.Errorf("%v, want %s", err, c.want)
			}
			if line := rpc.ProxyStatus(err, nil); strings.Contains(line, "127.0.0.1") || strings.Contains(line, "nowhere") || !strings.Contains(line, string(c.want)) {
				t.Errorf("it says %s", line)
			}
		})
	}
}

// A caller over a cap reads that it is one.
func TestOverloadSaysSo(t *testing.T) {
	release := make(chan struct{})
	addr, calls := failing(t, func(_ int64, ss grpc.ServerStream) error { <-release; return ok(ss) })
	cluster, err := upstream.NewCluster(upstream.Options{Name: "test", Targets: []string{addr}, MaxCalls: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	relay := &upstream.Relay{Backend: func(*rpc.Method) (upstream.Backend, bool) {
		return upstream.Backend{Name: "test", Conn: cluster, Guard: cluster.Guard()}, true
	}}
	m := testMethods(t)[0]
	call := relay.Unary(m)
	first := make(chan error, 1)
	go func() { _, err := call(t.Context(), rpc.NewMessage(m.Desc.Input())); first <- err }()
	for calls.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	_, err = call(t.Context(), rpc.NewMessage(m.Desc.Input()))
	if got := rpc.ProxyStatus(err, nil); !strings.HasPrefix(got, "transom; error=connection_limit_reached; ") || rpc.StatusOf(err).Code() != codes.Unavailable {
		t.Errorf("%v: %s", err, got)
	}
	close(release)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// slammer is a server that ends each connection at once.
func slammer(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}
