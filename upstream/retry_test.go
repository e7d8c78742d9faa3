package upstream_test

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/transomhq/transom/upstream"
)

// failing serves a backend whose calls are answered by answer, which is told
// the call's number, from 1.
func failing(t testing.TB, answer func(n int64, ss grpc.ServerStream) error) (string, *atomic.Int64) {
	var calls atomic.Int64
	return serve(t, grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, ss grpc.ServerStream) error {
		return answer(calls.Add(1), ss)
	}))), &calls
}

func ok(ss grpc.ServerStream) error { return ss.SendMsg(&testgrpc.Empty{}) }

func TestRetryUnary(t *testing.T) {
	down := status.Error(codes.Unavailable, "not now")
	for _, c := range []struct {
		name   string
		retry  upstream.Retry
		answer func(n int64, ss grpc.ServerStream) error
		code   codes.Code
		calls  int64
	}{
		{"mended by the second", upstream.Retry{Attempts: 3}, func(n int64, ss grpc.ServerStream) error {
			if n < 2 {
				return down
			}
			return ok(ss)
		}, codes.OK, 2},
		{"no more than told", upstream.Retry{Attempts: 3}, func(int64, grpc.ServerStream) error { return down }, codes.Unavailable, 3},
		{"never unless told", upstream.Retry{}, func(int64, grpc.ServerStream) error { return down }, codes.Unavailable, 1},
		{"not for another code", upstream.Retry{Attempts: 3}, func(int64, grpc.ServerStream) error { return status.Error(codes.Internal, "bug") }, codes.Internal, 1},
		{"for a code that is named", upstream.Retry{Attempts: 2, Codes: []codes.Code{codes.Aborted}}, func(int64, grpc.ServerStream) error { return status.Error(codes.Aborted, "again") }, codes.Aborted, 2},
		{"exhausted is not asked again blindly", upstream.Retry{Attempts: 3, Codes: []codes.Code{codes.ResourceExhausted}}, func(int64, grpc.ServerStream) error {
			return status.Error(codes.ResourceExhausted, "quota")
		}, codes.ResourceExhausted, 1},
		{"exhausted is asked again when it says when", upstream.Retry{Attempts: 2, Codes: []codes.Code{codes.ResourceExhausted}}, func(_ int64, ss grpc.ServerStream) error {
			ss.SetTrailer(metadata.Pairs("grpc-retry-pushback-ms", "1"))
			return status.Error(codes.ResourceExhausted, "quota")
		}, codes.ResourceExhausted, 2},
		{"not when the backend says never", upstream.Retry{Attempts: 3}, func(_ int64, ss grpc.ServerStream) error {
			ss.SetTrailer(metadata.Pairs("grpc-retry-pushback-ms", "-1"))
			return down
		}, codes.Unavailable, 1},
		{"not a request too large to keep", upstream.Retry{Attempts: 3, MaxBytes: 1}, func(int64, grpc.ServerStream) error { return down }, codes.Unavailable, 1},
		{"after an attempt's own time", upstream.Retry{Attempts: 2, PerTryTimeout: 50 * time.Millisecond}, func(n int64, ss grpc.ServerStream) error {
			if n < 2 { // the call's own end would do, but may come before its client's
				<-t.Context().Done()
			}
			return ok(ss)
		}, codes.OK, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.retry.InitialBackoff = time.Millisecond
			addr, calls := failing(t, c.answer)
			conn, _ := frontOf(t, upstream.Options{Targets: []string{addr}}, c.retry)
			_, err := testgrpc.NewTestServiceClient(conn).UnaryCall(t.Context(), &testgrpc.SimpleRequest{ResponseSize: 300})
			if status.Code(err) != c.code || calls.Load() != c.calls {
				t.Errorf("got %v after %d attempts, want %s after %d", err, calls.Load(), c.code, c.calls)
			}
		})
	}
}

// A server stream is repeated while its answer has not begun, never after.
func TestRetryServerStream(t *testing.T) {
	for _, c := range []struct {
		name  string
		first func(ss grpc.ServerStream) error
		code  codes.Code
		calls int64
	}{
		{"before the header", func(grpc.ServerStream) error { return nil }, codes.OK, 2},
		{"after the header", func(ss grpc.ServerStream) error { return ss.SendHeader(metadata.Pairs("x", "y")) }, codes.Unavailable, 1},
		{"after a message", ok, codes.Unavailable, 1},
		{"silence", func(ss grpc.ServerStream) error { <-ss.Context().Done(); return nil }, codes.OK, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			addr, calls := failing(t, func(n int64, ss grpc.ServerStream) error {
				if n > 1 {
					return ok(ss)
				}
				if err := c.first(ss); err != nil {
					return err
				}
				return status.Error(codes.Unavailable, "not now")
			})
			conn, _ := frontOf(t, upstream.Options{Targets: []string{addr}}, upstream.Retry{Attempts: 3, InitialBackoff: time.Millisecond, PerTryTimeout: 200 * time.Millisecond})
			s, err := testgrpc.NewTestServiceClient(conn).StreamingOutputCall(t.Context(), &testgrpc.StreamingOutputCallRequest{})
			for err == nil {
				_, err = s.Recv()
			}
			if errors.Is(err, io.EOF) {
				err = nil
			}
			if status.Code(err) != c.code || calls.Load() != c.calls {
				t.Errorf("got %v after %d attempts, want %s after %d", err, calls.Load(), c.code, c.calls)
			}
		})
	}
}

// With every backend failing, attempts stay within 1.2 times the calls.
func TestRetryBudget(t *testing.T) {
	addr, attempts := failing(t, func(int64, grpc.ServerStream) error { return status.Error(codes.Unavailable, "down") })
	conn, cluster := frontOf(t, upstream.Options{Targets: []string{addr}}, upstream.Retry{Attempts: 4, InitialBackoff: time.Microsecond})
	client := testgrpc.NewTestServiceClient(conn)
	const calls = 500
	for range calls {
		if _, err := client.EmptyCall(t.Context(), &testgrpc.Empty{}); status.Code(err) != codes.Unavailable {
			t.Fatal(err)
		}
	}
	if n := attempts.Load(); n > calls*12/10 || n < calls*11/10 {
		t.Errorf("%d attempts for %d calls", n, calls)
	}
	if s := cluster.Stats(); s.Attempts != attempts.Load() || s.Starved == 0 {
		t.Errorf("stats %+v", s)
	}
}

// A retry goes to another endpoint, and one that fails is left alone.
func TestRetryGoesElsewhereAndEjects(t *testing.T) {
	bad, badCalls := failing(t, func(int64, grpc.ServerStream) error { return status.Error(codes.Unavailable, "broken") })
	good, _ := failing(t, func(_ int64, ss grpc.ServerStream) error { return ok(ss) })
	conn, cluster := frontOf(t, upstream.Options{
		Targets:  []string{bad, good},
		Ejection: upstream.Ejection{Failures: 3, Base: time.Hour},
	}, upstream.Retry{Attempts: 2, InitialBackoff: time.Microsecond})
	client := testgrpc.NewTestServiceClient(conn)
	for deadline := time.Now().Add(20 * time.Second); badCalls.Load() < 3; {
		if _, err := client.EmptyCall(t.Context(), &testgrpc.Empty{}); err != nil && time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	for range 100 {
		if _, err := client.EmptyCall(t.Context(), &testgrpc.Empty{}); err != nil {
			t.Fatal(err)
		}
	}
	if n := badCalls.Load(); n != 3 {
		t.Errorf("the broken endpoint got %d calls", n)
	}
	for _, e := range cluster.Stats().Endpoints {
		if want := map[string]string{bad: "ejected", good: "ready"}[e.Address]; e.State != want {
			t.Errorf("%s is %s, want %s", e.Address, e.State, want)
		}
	}
}

// What a client does wrong ejects nobody.
func TestClientErrorsDoNotEject(t *testing.T) {
	answer := func(int64, grpc.ServerStream) error { return status.Error(codes.NotFound, "nothing") }
	a, _ := failing(t, answer)
	b, _ := failing(t, answer)
	conn, cluster := frontOf(t, upstream.Options{Targets: []string{a, b}, Ejection: upstream.Ejection{Failures: 1}}, upstream.Retry{})
	for range 50 {
		_, _ = testgrpc.NewTestServiceClient(conn).EmptyCall(t.Context(), &testgrpc.Empty{})
	}
	for _, e := range cluster.Stats().Endpoints {
		if e.Ejections != 0 {
			t.Errorf("%+v", e)
		}
	}
}

func TestCallsAreCapped(t *testing.T) {
	release := make(chan struct{})
	addr, calls := failing(t, func(_ int64, ss grpc.ServerStream) error { <-release; return ok(ss) })
	conn, _ := frontOf(t, upstream.Options{Targets: []string{addr}, MaxCalls: 1}, upstream.Retry{Attempts: 2})
	client := testgrpc.NewTestServiceClient(conn)
	first := make(chan error, 1)
	go func() { _, err := client.EmptyCall(t.Context(), &testgrpc.Empty{}); first <- err }()
	for calls.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	_, err := client.EmptyCall(t.Context(), &testgrpc.Empty{})
	if st := status.Convert(err); st.Code() != codes.Unavailable || len(st.Details()) != 1 {
		t.Errorf("got %v", err)
	}
	close(release)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if _, err := client.EmptyCall(t.Context(), &testgrpc.Empty{}); err != nil {
		t.Error(err)
	}
}

// An endpoint that does not answer health checks gets no calls.
func TestHealthChecks(t *testing.T) {
	silent, silentCalls := failing(t, func(_ int64, ss grpc.ServerStream) error { <-ss.Context().Done(); return nil })
	good, _ := failing(t, func(_ int64, ss grpc.ServerStream) error {
		if m, _ := grpc.MethodFromServerStream(ss); m == "/grpc.health.v1.Health/Check" {
			return status.Error(codes.Unimplemented, "no health service")
		}
		return ok(ss)
	})
	conn, cluster := frontOf(t, upstream.Options{
		Targets: []string{silent, good},
		Health:  upstream.HealthCheck{Interval: 10 * time.Millisecond, Timeout: 20 * time.Millisecond},
	}, upstream.Retry{})
	sick := func() bool {
		for _, e := range cluster.Stats().Endpoints {
			if e.Address == silent && e.State == "unhealthy" {
				return true
			}
		}
		return false
	}
	for !sick() {
		time.Sleep(time.Millisecond)
	}
	before := silentCalls.Load()
	for range 20 {
		if _, err := testgrpc.NewTestServiceClient(conn).EmptyCall(t.Context(), &testgrpc.Empty{}); err != nil {
			t.Fatal(err)
		}
	}
	_ = before
}

func TestConsistentHash(t *testing.T) {
	seen := make(chan int, 1)
	var targets []string
	for i := range 3 {
		addr, _ := failing(t, func(_ int64, ss grpc.ServerStream) error { seen <- i; return ok(ss) })
		targets = append(targets, addr)
	}
	conn, cluster := frontOf(t, upstream.Options{Targets: targets, Balancer: "consistent_hash", Hash: "header:x-user"}, upstream.Retry{})
	client := testgrpc.NewTestServiceClient(conn)
	for ready := 0; ready < 3; {
		ready = 0
		for _, e := range cluster.Stats().Endpoints {
			if e.State == "ready" {
				ready++
			}
		}
	}
	used := map[int]bool{}
	for _, user := range []string{"ada", "bob", "cleo", "dan", "eve", "finn", "gil", "hal", "ida", "jon", "kim", "lou"} {
		first := -1
		for range 5 {
			ctx := metadata.AppendToOutgoingContext(t.Context(), "x-user", user)
			if _, err := client.EmptyCall(ctx, &testgrpc.Empty{}); err != nil {
				t.Fatal(err)
			}
			got := <-seen
			if first >= 0 && got != first {
				t.Errorf("%s went to %d, then to %d", user, first, got)
			}
			first = got
			used[got] = true
		}
	}
	if len(used) < 2 {
		t.Errorf("all users went to %v", used)
	}
}

// A dead address among living ones costs no call.
func TestDeadEndpointIsNotPicked(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	good, _ := failing(t, func(_ int64, ss grpc.ServerStream) error { return ok(ss) })
	conn, _ := frontOf(t, upstream.Options{Targets: []string{l.Addr().String(), good}, Balancer: "least_request"}, upstream.Retry{})
	for range 50 {
		if _, err := testgrpc.NewTestServiceClient(conn).EmptyCall(t.Context(), &testgrpc.Empty{}); err != nil {
			t.Fatal(err)
		}
	}
}
