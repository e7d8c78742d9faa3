package native_test

import (
	"context"
	"crypto/tls"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"

	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/doortest"
	"github.com/transomhq/transom/transcoder/native"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testMethods are the interop services' methods.
func testMethods() map[string]*rpc.Method {
	services := testgrpc.File_grpc_testing_test_proto.Services()
	return doortest.Methods(services.ByName("TestService"), services.ByName("UnimplementedService"))
}

// gateway starts the interop server and the door before it.
func gateway(t testing.TB, secure bool, o native.Options) *doortest.Edge {
	if o.Handler == nil {
		o.Handler = doortest.Relay{Conn: doortest.Upstream(t, func(s *grpc.Server) {
			testgrpc.RegisterTestServiceServer(s, interop.NewTestServer())
		})}
	}
	return doortest.Listen(t, secure, testMethods(), native.New(o).Serve)
}

// dial connects grpc-go to e.
func dial(t testing.TB, e *doortest.Edge, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	creds := insecure.NewCredentials()
	if e.TLS != nil {
		creds = credentials.NewTLS(&tls.Config{RootCAs: e.TLS.RootCAs, ServerName: e.TLS.ServerName})
	}
	conn, err := grpc.NewClient(e.Addr, append(opts, grpc.WithTransportCredentials(creds))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// TestInterop runs all cases of grpc-go's interop client that need no cloud
// account and no load balancer. A case that fails ends the test binary.
func TestInterop(t *testing.T) {
	cases := []struct {
		name string
		run  func(context.Context, testgrpc.TestServiceClient, ...grpc.CallOption)
	}{
		{"empty_unary", interop.DoEmptyUnaryCall},
		{"large_unary", interop.DoLargeUnaryCall},
		{"client_streaming", interop.DoClientStreaming},
		{"server_streaming", interop.DoServerStreaming},
		{"ping_pong", interop.DoPingPong},
		{"empty_stream", interop.DoEmptyStream},
		{"timeout_on_sleeping_server", interop.DoTimeoutOnSleepingServer},
		{"cancel_after_begin", interop.DoCancelAfterBegin},
		{"cancel_after_first_response", interop.DoCancelAfterFirstResponse},
		{"custom_metadata", interop.DoCustomMetadata},
		{"status_code_and_message", interop.DoStatusCodeAndMessage},
		{"special_status_message", interop.DoSpecialStatusMessage},
	}
	for _, secure := range []bool{false, true} {
		e := gateway(t, secure, native.Options{})
		conn := dial(t, e)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		tc := testgrpc.NewTestServiceClient(conn)
		for _, c := range cases {
			t.Run(map[bool]string{false: "h2c/", true: "tls/"}[secure]+c.name, func(*testing.T) { c.run(ctx, tc) })
		}
		interop.DoUnimplementedMethod(ctx, conn)
		interop.DoUnimplementedService(ctx, testgrpc.NewUnimplementedServiceClient(conn))
	}
}
