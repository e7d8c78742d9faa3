package lean_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/transomhq/transom/upstream/lean"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts a gRPC server on loopback.
func serve(t testing.TB, srv *grpc.Server) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Stop(); <-done })
	return l.Addr().String()
}

func open(t testing.TB, opts lean.Options) *lean.Pool {
	p, err := lean.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func client(t testing.TB, opts ...grpc.ServerOption) testgrpc.TestServiceClient {
	srv := grpc.NewServer(opts...)
	testgrpc.RegisterTestServiceServer(srv, interop.NewTestServer())
	return testgrpc.NewTestServiceClient(open(t, lean.Options{Targets: []string{serve(t, srv)}}))
}

// A case that fails ends the test binary.
func TestInterop(t *testing.T) {
	tc := client(t)
	for name, run := range map[string]func(context.Context, testgrpc.TestServiceClient, ...grpc.CallOption){
		"empty_unary":                 interop.DoEmptyUnaryCall,
		"large_unary":                 interop.DoLargeUnaryCall,
		"client_streaming":            interop.DoClientStreaming,
		"server_streaming":            interop.DoServerStreaming,
		"ping_pong":                   interop.DoPingPong,
		"empty_stream":                interop.DoEmptyStream,
		"timeout_on_sleeping_server":  interop.DoTimeoutOnSleepingServer,
		"cancel_after_begin":          interop.DoCancelAfterBegin,
		"cancel_after_first_response": interop.DoCancelAfterFirstResponse,
		"custom_metadata":             interop.DoCustomMetadata,
		"status_code_and_message":     interop.DoStatusCodeAndMessage,
		"special_status_message":      interop.DoSpecialStatusMessage,
		"unimplemented_method": func(ctx context.Context, tc testgrpc.TestServiceClient, _ ...grpc.CallOption) {
			_, err := tc.UnimplementedCall(ctx, &testgrpc.Empty{})
			if status.Code(err) != codes.Unimplemented {
				t.Errorf("unimplemented: %v", err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			run(ctx, tc)
		})
	}
}

func TestManyAtOnce(t *testing.T) {
	tc := client(t, grpc.MaxConcurrentStreams(10))
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			for j := range 20 {
				size := (i*7919 + j*104729) % 70000
				var header, trailer metadata.MD
				var p peer.Peer
				reply, err := tc.UnaryCall(t.Context(), &testgrpc.SimpleRequest{
					ResponseSize: int32(size), Payload: &testgrpc.Payload{Body: make([]byte, (size*31)%90000)},
				}, grpc.Header(&header), grpc.Trailer(&trailer), grpc.Peer(&p))
				if err != nil || len(reply.GetPayload().GetBody()) != size || p.Addr == nil || len(header["content-type"]) != 1 {
					t.Errorf("call %d: %v, %d bytes, %v %v", i, err, len(reply.GetPayload().GetBody()), p.Addr, header)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestManyStreamsAtOnce(t *testing.T) {
	tc := client(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			s, err := tc.FullDuplexCall(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			wg.Go(func() {
				for range 100 {
					if err := s.Send(&testgrpc.StreamingOutputCallRequest{ResponseParameters: []*testgrpc.ResponseParameters{{Size: 30000}, {Size: 0}}}); err != nil {
						t.Error(err)
					}
				}
				_ = s.CloseSend()
			})
			n := 0
			for {
				if _, err := s.Recv(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Error(err)
					break
				}
				n++
			}
			if n != 200 {
				t.Errorf("%d messages", n)
			}
		})
	}
	wg.Wait()
}

// A stream that nobody reads holds its backend up, and nobody else.
func TestBackPressure(t *testing.T) {
	tc := client(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var sizes []*testgrpc.ResponseParameters
	for range 2000 {
		sizes = append(sizes, &testgrpc.ResponseParameters{Size: 10000})
	}
	slow, err := tc.StreamingOutputCall(ctx, &testgrpc.StreamingOutputCallRequest{ResponseParameters: sizes})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if _, err := tc.UnaryCall(t.Context(), &testgrpc.SimpleRequest{ResponseSize: 100000}); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for ; ; n++ {
		if _, err := slow.Recv(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if n != len(sizes) {
		t.Errorf("%d messages, want %d", n, len(sizes))
	}
}

func TestLargeMessages(t *testing.T) {
	srv := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	testgrpc.RegisterTestServiceServer(srv, interop.NewTestServer())
	tc := testgrpc.NewTestServiceClient(open(t, lean.Options{Targets: []string{serve(t, srv)}, MaxReceiveBytes: 20 << 20}))
	reply, err := tc.UnaryCall(t.Context(), &testgrpc.SimpleRequest{ResponseSize: 10 << 20, Payload: &testgrpc.Payload{Body: make([]byte, 12<<20)}})
	if err != nil || len(reply.GetPayload().GetBody()) != 10<<20 {
		t.Errorf("%v, %d bytes", err, len(reply.GetPayload().GetBody()))
	}
	_, err = tc.UnaryCall(t.Context(), &testgrpc.SimpleRequest{ResponseSize: 30 << 20})
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "larger than max") {
		t.Errorf("too large: %v", err)
	}
	s, err := tc.StreamingOutputCall(t.Context(), &testgrpc.StreamingOutputCallRequest{ResponseParameters: []*testgrpc.ResponseParameters{
		{Size: 60000}, {Size: 70000}, {Size: 3 << 20}, {Size: 1}, {Size: 2 << 20},
	}})
	for range 5 {
		if err == nil {
			_, err = s.Recv()
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// A backend that goes in order gives no call an error; one that was killed is
// found again.
func TestRestart(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	start := func(l net.Listener) (*grpc.Server, chan struct{}) {
		srv := grpc.NewServer()
		testgrpc.RegisterTestServiceServer(srv, interop.NewTestServer())
		done := make(chan struct{})
		go func() { defer close(done); _ = srv.Serve(l) }()
		return srv, done
	}
	srv, done := start(l)
	other := grpc.NewServer()
	testgrpc.RegisterTestServiceServer(other, interop.NewTestServer())
	pool := open(t, lean.Options{Targets: []string{addr, serve(t, other)}})
	tc := testgrpc.NewTestServiceClient(pool)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := tc.EmptyCall(t.Context(), &testgrpc.Empty{}); err != nil {
					t.Errorf("during a graceful stop: %v", err)
					return
				}
			}
		})
	}
	for range 100 {
		if _, err := tc.EmptyCall(t.Context(), &testgrpc.Empty{}); err != nil {
			t.Error(err)
		}
	}
	srv.GracefulStop()
	<-done
	close(stop)
	wg.Wait()
	if l, err = net.Listen("tcp", addr); err != nil {
		t.Skip("the port is taken: ", err)
	}
	srv, done = start(l)
	defer func() { srv.Stop(); <-done }()
	for range 100 {
		if _, err := tc.EmptyCall(t.Context(), &testgrpc.Empty{}); err != nil {
			t.Error(err)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	tc := testgrpc.NewTestServiceClient(open(t, lean.Options{Targets: []string{addr}}))
	for range 3 {
		if _, err := tc.EmptyCall(t.Context(), &testgrpc.Empty{}); status.Code(err) != codes.Unavailable {
			t.Errorf("%v, want UNAVAILABLE", err)
		}
	}
}

func TestTargets(t *testing.T) {
	for _, target := range []string{"", "shop", "xds:///shop", "http://shop:80/x"} {
		if p, err := lean.New(lean.Options{Targets: []string{target}}); err == nil {
			t.Errorf("%q was taken", target)
			_ = p.Close()
		}
	}
}

func BenchmarkUnary(b *testing.B) {
	tc := client(b)
	req := &testgrpc.SimpleRequest{ResponseSize: 300}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := tc.UnaryCall(b.Context(), req); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
