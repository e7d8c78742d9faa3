package faults_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/transomhq/transom/interceptors/faults"
	"github.com/transomhq/transom/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client is one of an ordinary gRPC server, whose callers have the scopes that
// their metadata say.
func client(t *testing.T, fault faults.Fault) healthpb.HealthClient {
	opts := faults.Options{
		Fault: func(string) faults.Fault { return fault },
		Principal: func(ctx context.Context) *rpc.Principal {
			md, _ := metadata.FromIncomingContext(ctx)
			return &rpc.Principal{Scopes: md["x-scope"]}
		},
	}
	srv := grpc.NewServer(grpc.UnaryInterceptor(faults.Unary(opts)), grpc.StreamInterceptor(faults.Stream(opts)))
	healthpb.RegisterHealthServer(srv, health.NewServer())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Stop(); <-done })
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return healthpb.NewHealthClient(conn)
}

// both makes a unary call and a stream, which must end alike.
func both(t *testing.T, c healthpb.HealthClient, md ...string) codes.Code {
	t.Helper()
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), md...))
	defer cancel()
	_, err := c.Check(ctx, &healthpb.HealthCheckRequest{})
	s, other := c.Watch(ctx, &healthpb.HealthCheckRequest{})
	if other == nil {
		_, other = s.Recv()
	}
	if errors.Is(other, io.EOF) || status.Code(err) != status.Code(other) {
		t.Errorf("a unary call ended with %v, a stream with %v", err, other)
	}
	return status.Code(err)
}

func TestWhoIsTouched(t *testing.T) {
	abort := faults.Fault{Scope: "chaos", Header: "x-fault", Abort: codes.Aborted, AbortPercent: 100}
	open := faults.Fault{InsecureWithoutScope: true, Abort: codes.Aborted, AbortPercent: 100}
	for name, c := range map[string]struct {
		fault faults.Fault
		md    []string
		want  codes.Code
	}{
		"a tester":                    {abort, []string{"x-scope", "chaos", "x-fault", "1"}, codes.Aborted},
		"a tester without the header": {abort, []string{"x-scope", "chaos"}, codes.OK},
		"the header alone":            {abort, []string{"x-fault", "1"}, codes.OK},
		"another scope":               {abort, []string{"x-scope", "chaos.not", "x-fault", "1"}, codes.OK},
		"everybody":                   {open, nil, codes.Aborted},
		"a fault without a scope":     {faults.Fault{Abort: codes.Aborted, AbortPercent: 100}, []string{"x-scope", "chaos"}, codes.OK},
		"no percent":                  {faults.Fault{InsecureWithoutScope: true, Abort: codes.Aborted}, nil, codes.OK},
		"nothing":                     {faults.Fault{InsecureWithoutScope: true}, nil, codes.OK},
	} {
		t.Run(name, func(t *testing.T) {
			if got := both(t, client(t, c.fault), c.md...); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestDelay(t *testing.T) {
	c := client(t, faults.Fault{InsecureWithoutScope: true, Delay: 30 * time.Millisecond, DelayPercent: 100})
	began := time.Now()
	if _, err := c.Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil || time.Since(began) < 30*time.Millisecond {
		t.Errorf("%v after %s", err, time.Since(began))
	}
	c = client(t, faults.Fault{InsecureWithoutScope: true, Delay: time.Hour, DelayPercent: 100})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := c.Check(ctx, &healthpb.HealthCheckRequest{}); status.Code(err) != codes.DeadlineExceeded {
		t.Error(err)
	}
}

// About as many calls fail as are meant to.
func TestPercent(t *testing.T) {
	c := client(t, faults.Fault{InsecureWithoutScope: true, Abort: codes.Aborted, AbortPercent: 30})
	failed := 0
	for range 1000 {
		if _, err := c.Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
			failed++
		}
	}
	if failed < 200 || failed > 400 {
		t.Errorf("%d of 1000", failed)
	}
}
