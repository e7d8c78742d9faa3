package upstream_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/transomhq/transom/interceptors"
	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testMethods are the RPCs of grpc-go's interop test service.
func testMethods(t testing.TB) []*rpc.Method {
	d, err := protoregistry.GlobalFiles.FindDescriptorByName("grpc.testing.TestService")
	if err != nil {
		t.Fatal(err)
	}
	var methods []*rpc.Method
	ms := d.(protoreflect.ServiceDescriptor).Methods()
	for i := range ms.Len() {
		methods = append(methods, rpc.NewMethod(ms.Get(i)))
	}
	return methods
}

// serve starts a gRPC server on loopback and returns its address.
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

// front is a grpc-go server whose every call runs through a relay: the
// smallest door there is.
func front(t *testing.T, targets ...string) *grpc.ClientConn {
	conn, _ := frontOf(t, upstream.Options{Targets: targets}, upstream.Retry{})
	return conn
}

// frontOf is a front whose cluster and retries are as told.
func frontOf(t testing.TB, opts upstream.Options, retry upstream.Retry) (*grpc.ClientConn, *upstream.Cluster) {
	opts.Name = "test"
	opts.Lean = strings.Contains(t.Name(), "/lean/") // see TestLeanTransport
	cluster, err := upstream.NewCluster(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cluster.Close() })
	methods := testMethods(t)
	byName := map[string]*rpc.Method{}
	for _, m := range methods {
		byName[m.Name] = m
	}
	relay := &upstream.Relay{Backend: func(*rpc.Method) (upstream.Backend, bool) {
		return upstream.Backend{Name: "test", Conn: cluster, Retry: retry, Guard: cluster.Guard()}, true
	}}
	chain := interceptors.NewChain(methods, nil, relay)
	handle := func(_ any, ss grpc.ServerStream) error {
		name, _ := grpc.MethodFromServerStream(ss)
		call := rpc.NewCall(nil)
		call.Method = byName[name]
		if call.Method == nil {
			return status.Error(codes.Unimplemented, "unknown method")
		}
		if !call.Method.Unary() {
			return chain.Stream(call, ss)
		}
		req := rpc.NewMessage(call.Method.Desc.Input())
		if err := ss.RecvMsg(req); err != nil {
			return err
		}
		resp, err := chain.Unary(rpc.NewContext(ss.Context(), call), call, req)
		if err != nil {
			return err
		}
		return ss.SendMsg(resp)
	}
	addr := serve(t, grpc.NewServer(grpc.ForceServerCodecV2(rpc.Codec{}), grpc.UnknownServiceHandler(handle)))
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn, cluster
}

func backend(t *testing.T) string {
	srv := grpc.NewServer()
	testgrpc.RegisterTestServiceServer(srv, interop.NewTestServer())
	return serve(t, srv)
}

func TestRelayPassesInterop(t *testing.T) {
	client := testgrpc.NewTestServiceClient(front(t, backend(t)))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for name, run := range map[string]func(){
		"empty_unary":        func() { interop.DoEmptyUnaryCall(ctx, client) },
		"large_unary":        func() { interop.DoLargeUnaryCall(ctx, client) },
		"client_streaming":   func() { interop.DoClientStreaming(ctx, client) },
		"server_streaming":   func() { interop.DoServerStreaming(ctx, client) },
		"ping_pong":          func() { interop.DoPingPong(ctx, client) },
		"empty_stream":       func() { interop.DoEmptyStream(ctx, client) },
		"timeout":            func() { interop.DoTimeoutOnSleepingServer(ctx, client) },
		"cancel_after_begin": func() { interop.DoCancelAfterBegin(ctx, client) },
		"cancel_after_first": func() { interop.DoCancelAfterFirstResponse(ctx, client) },
		"custom_metadata":    func() { interop.DoCustomMetadata(ctx, client) },
		"status_code":        func() { interop.DoStatusCodeAndMessage(ctx, client) },
		"special_status":     func() { interop.DoSpecialStatusMessage(ctx, client) },
	} {
		t.Run(name, func(*testing.T) { run() })
	}
}

// A backend that is not there is a public text and a private cause.
func TestUnreachableBackend(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	client := testgrpc.NewTestServiceClient(front(t, addr))
	for kind, call := range map[string]func() error{
		"unary": func() error { _, err := client.EmptyCall(t.Context(), &testgrpc.Empty{}); return err },
		"server stream": func() error {
			s, err := client.StreamingOutputCall(t.Context(), &testgrpc.StreamingOutputCallRequest{})
			if err == nil {
				_, err = s.Recv()
			}
			return err
		},
		"bidi": func() error {
			s, err := client.FullDuplexCall(t.Context())
			if err == nil {
				_, err = s.Recv()
			}
			return err
		},
	} {
		st := status.Convert(call())
		if st.Code() != codes.Unavailable || st.Message() != "grpc.testing.TestService cannot be reached; try again later" {
			t.Errorf("%s: got %v", kind, st)
		}
		if strings.Contains(st.String(), "127.0.0.1") || len(st.Details()) != 1 {
			t.Errorf("%s: details %v of %v", kind, st.Details(), st)
		}
	}
}

// What a backend itself says with UNAVAILABLE passes unchanged.
func TestBackendsOwnStatusPasses(t *testing.T) {
	srv := grpc.NewServer(grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error {
		return status.Error(codes.Unavailable, "closed for stocktaking")
	}))
	client := testgrpc.NewTestServiceClient(front(t, serve(t, srv)))
	_, err := client.EmptyCall(t.Context(), &testgrpc.Empty{})
	if st := status.Convert(err); st.Code() != codes.Unavailable || st.Message() != "closed for stocktaking" {
		t.Errorf("unary: got %v", st)
	}
	s, err := client.FullDuplexCall(t.Context())
	if err == nil {
		_, err = s.Recv()
	}
	if st := status.Convert(err); st.Message() != "closed for stocktaking" {
		t.Errorf("bidi: got %v", st)
	}
}

func TestSeveralTargetsShareTheCalls(t *testing.T) {
	seen := make(chan string, 64)
	named := func(name string) string {
		return serve(t, grpc.NewServer(grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error {
			seen <- name
			return status.Error(codes.NotFound, "nothing")
		})))
	}
	client := testgrpc.NewTestServiceClient(front(t, named("a"), named("b")))
	call := func() string {
		_, err := client.EmptyCall(t.Context(), &testgrpc.Empty{}, grpc.WaitForReady(true))
		if status.Code(err) != codes.NotFound {
			t.Fatal(err)
		}
		return <-seen
	}
	// Both connections are up once both have answered.
	for up := map[string]bool{}; len(up) < 2; up[call()] = true {
	}
	counts := map[string]int{}
	for range 40 {
		counts[call()]++
	}
	if counts["a"] != 20 || counts["b"] != 20 {
		t.Errorf("calls by target: %v", counts)
	}
}

// Metadata of one hop and forged identity stop at the gateway; the rest passes both ways.
func TestMetadataBothWays(t *testing.T) {
	got := make(chan metadata.MD, 1)
	srv := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, ss grpc.ServerStream) error {
		md, _ := metadata.FromIncomingContext(ss.Context())
		got <- md
		_ = ss.SendHeader(metadata.Pairs("x-answer", "1", "x-bits-bin", "\x00\xff"))
		ss.SetTrailer(metadata.Pairs("x-end", "2"))
		return status.Error(codes.NotFound, "nothing")
	}))
	client := testgrpc.NewTestServiceClient(front(t, serve(t, srv)))
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-tenant", "acme", "x-blob-bin", "\x01\xfe", "x-forwarded-for", "6.6.6.6")
	s, err := client.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	header, _ := s.Header()
	_, err = s.Recv()
	if status.Code(err) != codes.NotFound {
		t.Fatal(err)
	}
	md := <-got
	if md.Get("x-tenant")[0] != "acme" || md.Get("x-blob-bin")[0] != "\x01\xfe" || len(md.Get("x-forwarded-for")) != 0 {
		t.Errorf("the backend saw %v", md)
	}
	if header.Get("x-answer")[0] != "1" || header.Get("x-bits-bin")[0] != "\x00\xff" || s.Trailer().Get("x-end")[0] != "2" {
		t.Errorf("the client saw %v, %v", header, s.Trailer())
	}
}
