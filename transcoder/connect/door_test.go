package connect_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	connectgo "connectrpc.com/connect"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"

	reflectcodec "github.com/transomhq/transom/transcoder/codec/reflect"
	"github.com/transomhq/transom/transcoder/connect"
	"github.com/transomhq/transom/transcoder/doortest"
	"github.com/transomhq/transom/transcoder/grpcweb"
	"github.com/transomhq/transom/transcoder/native"

	"github.com/transomhq/transom/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// allDoors starts the interop server and all three doors before it.
func allDoors(t testing.TB, secure bool) *doortest.Edge {
	relay := doortest.Relay{Conn: doortest.Upstream(t, func(s *grpc.Server) {
		testgrpc.RegisterTestServiceServer(s, interop.NewTestServer())
	})}
	services := testgrpc.File_grpc_testing_test_proto.Services()
	n := native.New(native.Options{Handler: relay})
	g := grpcweb.New(grpcweb.Options{Handler: relay})
	c := connect.New(connect.Options{Handler: relay, Codec: reflectcodec.New()})
	return doortest.Listen(t, secure, doortest.Methods(services.ByName("TestService")),
		func(w http.ResponseWriter, r *http.Request, call *rpc.Call) {
			switch {
			case native.Is(r):
				n.Serve(w, r, call)
			case grpcweb.Is(r):
				g.Serve(w, r, call)
			case connect.Is(r):
				c.Serve(w, r, call)
			default:
				http.NotFound(w, r)
			}
		})
}

const service = "/grpc.testing.TestService/"

// TestConnectGo runs connect-go's client in all its protocols through the doors.
func TestConnectGo(t *testing.T) {
	protocols := map[string][]connectgo.ClientOption{
		"connect":      nil,
		"connect-json": {connectgo.WithProtoJSON()},
		"connect-gzip": {connectgo.WithSendGzip()},
		"grpcweb":      {connectgo.WithGRPCWeb()},
		"grpcweb-gzip": {connectgo.WithGRPCWeb(), connectgo.WithSendGzip()},
		"grpc":         {connectgo.WithGRPC()},
		"grpc-gzip":    {connectgo.WithGRPC(), connectgo.WithSendGzip()},
	}
	for _, secure := range []bool{false, true} {
		e := allDoors(t, secure)
		for name, opts := range protocols {
			for _, http2 := range []bool{true, false} {
				if !http2 && strings.HasPrefix(name, "grpc") && !strings.HasPrefix(name, "grpcweb") {
					continue // gRPC is HTTP/2 only
				}
				t.Run(fmt.Sprintf("tls=%v/http2=%v/%s", secure, http2, name), func(t *testing.T) {
					c := client{e: e, http: e.Client(t, http2), opts: opts}
					t.Run("unary", c.unary)
					t.Run("large", c.large)
					t.Run("status", c.status)
					t.Run("unimplemented", c.unimplemented)
					t.Run("server", c.serverStream)
					t.Run("client", c.clientStream)
					if http2 {
						t.Run("bidi", c.bidi)
					}
				})
			}
		}
	}
}

type client struct {
	e    *doortest.Edge
	http *http.Client
	opts []connectgo.ClientOption
}

func to[Req, Res any](c client, method string) *connectgo.Client[Req, Res] {
	return connectgo.NewClient[Req, Res](c.http, c.e.URL+service+method, c.opts...)
}

func (c client) unary(t *testing.T) {
	req := connectgo.NewRequest(&testgrpc.SimpleRequest{ResponseSize: 10, Payload: &testgrpc.Payload{Body: make([]byte, 7)}})
	req.Header().Set("x-grpc-test-echo-initial", "start")
	req.Header().Set("x-grpc-test-echo-trailing-bin", connectgo.EncodeBinaryHeader([]byte{0, 1, 0xab}))
	resp, err := to[testgrpc.SimpleRequest, testgrpc.SimpleResponse](c, "UnaryCall").CallUnary(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(resp.Msg.GetPayload().GetBody()); n != 10 {
		t.Errorf("got %d bytes of payload, want 10", n)
	}
	if got := resp.Header().Get("x-grpc-test-echo-initial"); got != "start" {
		t.Errorf("header came back as %q", got)
	}
	trailer, err := connectgo.DecodeBinaryHeader(resp.Trailer().Get("x-grpc-test-echo-trailing-bin"))
	if err != nil || string(trailer) != "\x00\x01\xab" {
		t.Errorf("binary trailer came back as %q, %v", trailer, err)
	}
}

func (c client) large(t *testing.T) {
	const n = 1<<20 + 13
	req := connectgo.NewRequest(&testgrpc.SimpleRequest{ResponseSize: n, Payload: &testgrpc.Payload{Body: make([]byte, n)}})
	resp, err := to[testgrpc.SimpleRequest, testgrpc.SimpleResponse](c, "UnaryCall").CallUnary(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(resp.Msg.GetPayload().GetBody()); got != n {
		t.Errorf("got %d bytes of payload, want %d", got, n)
	}
	req.Msg.Payload.Body = make([]byte, 5<<20)
	for i := range req.Msg.Payload.Body { // gzip must not make it small
		req.Msg.Payload.Body[i] = byte(i * i >> 3)
	}
	_, err = to[testgrpc.SimpleRequest, testgrpc.SimpleResponse](c, "UnaryCall").CallUnary(t.Context(), req)
	if got := connectgo.CodeOf(err); got != connectgo.CodeResourceExhausted {
		t.Errorf("5 MiB gave %v, want resource_exhausted", err)
	}
}

func (c client) status(t *testing.T) {
	const text = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
	req := connectgo.NewRequest(&testgrpc.SimpleRequest{ResponseStatus: &testgrpc.EchoStatus{Code: 2, Message: text}})
	_, err := to[testgrpc.SimpleRequest, testgrpc.SimpleResponse](c, "UnaryCall").CallUnary(t.Context(), req)
	var e *connectgo.Error
	if !errors.As(err, &e) || e.Code() != connectgo.CodeUnknown || e.Message() != text {
		t.Errorf("got %v", err)
	}
}

func (c client) unimplemented(t *testing.T) {
	for _, method := range []string{"UnimplementedCall", "NoSuchCall"} {
		_, err := to[testgrpc.Empty, testgrpc.Empty](c, method).CallUnary(t.Context(), connectgo.NewRequest(&testgrpc.Empty{}))
		if got := connectgo.CodeOf(err); got != connectgo.CodeUnimplemented {
			t.Errorf("%s gave %v, want unimplemented", method, err)
		}
	}
}

func (c client) serverStream(t *testing.T) {
	req := &testgrpc.StreamingOutputCallRequest{}
	sizes := []int32{31415, 9, 0, 58979}
	for _, n := range sizes {
		req.ResponseParameters = append(req.ResponseParameters, &testgrpc.ResponseParameters{Size: n})
	}
	s, err := to[testgrpc.StreamingOutputCallRequest, testgrpc.StreamingOutputCallResponse](c, "StreamingOutputCall").
		CallServerStream(t.Context(), connectgo.NewRequest(req))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	i := 0
	for ; s.Receive(); i++ {
		if got := len(s.Msg().GetPayload().GetBody()); got != int(sizes[i]) {
			t.Errorf("message %d has %d bytes, want %d", i, got, sizes[i])
		}
	}
	if s.Err() != nil || i != len(sizes) {
		t.Errorf("the stream ended after %d messages with %v", i, s.Err())
	}
}

func (c client) clientStream(t *testing.T) {
	s := to[testgrpc.StreamingInputCallRequest, testgrpc.StreamingInputCallResponse](c, "StreamingInputCall").CallClientStream(t.Context())
	for _, n := range []int{27182, 8, 1828, 45904} {
		if err := s.Send(&testgrpc.StreamingInputCallRequest{Payload: &testgrpc.Payload{Body: make([]byte, n)}}); err != nil {
			t.Fatal(err)
		}
	}
	resp, err := s.CloseAndReceive()
	if err != nil || resp.Msg.GetAggregatedPayloadSize() != 74922 {
		t.Errorf("got %v, %v", resp, err)
	}
}

func (c client) bidi(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := to[testgrpc.StreamingOutputCallRequest, testgrpc.StreamingOutputCallResponse](c, "FullDuplexCall").CallBidiStream(ctx)
	for _, n := range []int32{31415, 9, 2653, 58979} {
		if err := s.Send(&testgrpc.StreamingOutputCallRequest{ResponseParameters: []*testgrpc.ResponseParameters{{Size: n}}}); err != nil {
			t.Fatal(err)
		}
		resp, err := s.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if got := len(resp.GetPayload().GetBody()); got != int(n) {
			t.Errorf("got %d bytes, want %d", got, n)
		}
	}
	if err := s.CloseRequest(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("the stream ended with %v", err)
	}
	_ = s.CloseResponse()
}
