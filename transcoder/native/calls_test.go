package native_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/doortest"
	"github.com/transomhq/transom/transcoder/native"
)

// handler is an rpc.Handler of functions.
type handler struct {
	unary  func(ctx context.Context, call *rpc.Call, req *rpc.Message) (*rpc.Message, error)
	stream func(call *rpc.Call, s grpc.ServerStream) error
}

func (h handler) Unary(ctx context.Context, call *rpc.Call, req *rpc.Message) (*rpc.Message, error) {
	return h.unary(ctx, call, req)
}
func (h handler) Stream(call *rpc.Call, s grpc.ServerStream) error { return h.stream(call, s) }

func connect(t testing.TB, secure bool, h rpc.Handler, opts ...grpc.DialOption) testgrpc.TestServiceClient {
	return testgrpc.NewTestServiceClient(dial(t, gateway(t, secure, native.Options{Handler: h}), opts...))
}

func empty(call *rpc.Call) *rpc.Message { return rpc.NewMessage(call.Method.Desc.Output()) }

func TestContext(t *testing.T) {
	for _, secure := range []bool{false, true} {
		var md metadata.MD
		var p *peer.Peer
		var method string
		var deadline bool
		tc := connect(t, secure, handler{unary: func(ctx context.Context, call *rpc.Call, _ *rpc.Message) (*rpc.Message, error) {
			md, _ = metadata.FromIncomingContext(ctx)
			p, _ = peer.FromContext(ctx)
			method, _ = grpc.Method(ctx)
			_, deadline = ctx.Deadline()
			if rpc.FromContext(ctx) != call || call.Door != "grpc" {
				t.Errorf("call %v with door %q", rpc.FromContext(ctx), call.Door)
			}
			return empty(call), nil
		}}, grpc.WithUserAgent("tester"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		ctx = metadata.AppendToOutgoingContext(ctx, "x-a", "1", "x-a", "2", "x-bin", "\x00\xff", "x-bin", "", "grpc-trace-bin", "t")
		if _, err := tc.UnaryCall(ctx, &testgrpc.SimpleRequest{}); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(md["x-a"], []string{"1", "2"}) || !slices.Equal(md["x-bin"], []string{"\x00\xff", ""}) ||
			md.Get("user-agent")[0] != "tester grpc-go/"+grpc.Version || md.Get("grpc-trace-bin")[0] != "t" || len(md[":authority"]) != 1 {
			t.Errorf("metadata %v", md)
		}
		for _, key := range []string{"te", "grpc-timeout", "grpc-accept-encoding", "grpc-encoding", "connection", "host"} {
			if _, ok := md[key]; ok {
				t.Errorf("metadata has %s", key)
			}
		}
		if method != "/grpc.testing.TestService/UnaryCall" || !deadline || p.Addr.Network() != "tcp" {
			t.Errorf("method %q, deadline %v, peer %v", method, deadline, p)
		}
		if _, ok := p.AuthInfo.(credentials.TLSInfo); ok != secure {
			t.Errorf("peer's auth info is %T", p.AuthInfo)
		}
	}
}

// TestHeaderRules holds the stream to grpc-go's rules for headers and trailers.
func TestHeaderRules(t *testing.T) {
	tc := connect(t, false, handler{stream: func(_ *rpc.Call, s grpc.ServerStream) error {
		ctx := s.Context()
		if err := grpc.SetHeader(ctx, metadata.Pairs("a", "1")); err != nil {
			t.Error(err)
		}
		for _, bad := range []metadata.MD{{"A b": {"x"}}, {"a": {"\n"}}, {"": {"x"}}} {
			if err := s.SetHeader(bad); status.Code(err) != codes.Internal {
				t.Errorf("SetHeader(%q) gave %v", bad, err)
			}
		}
		s.SetTrailer(metadata.Pairs("t", "1"))
		if err := s.SendHeader(metadata.Pairs("b", "2", "content-type", "evil", "grpc-status", "3", "x-bin", "\xff")); err != nil {
			t.Error(err)
		}
		if err := s.SendHeader(nil); err == nil {
			t.Error("a second SendHeader was taken")
		}
		if err := s.SetHeader(metadata.Pairs("c", "3")); err == nil {
			t.Error("SetHeader after SendHeader was taken")
		}
		if err := s.SetHeader(nil); err != nil {
			t.Error(err)
		}
		_ = grpc.SetTrailer(ctx, metadata.Pairs("t", "2", "grpc-status", "0", "grpc-message", "evil", "x-bin", "\x01"))
		return rpc.Errorf(codes.NotFound, "100%% ☺").WithDetails(&errdetails.ErrorInfo{Reason: "R"}).WithCause(errors.New("secret"))
	}})
	s, err := tc.FullDuplexCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	header, err := s.Header()
	if err != nil || header.Get("a")[0] != "1" || header.Get("b")[0] != "2" || header.Get("x-bin")[0] != "\xff" || header.Get("content-type")[0] != "application/grpc" {
		t.Errorf("header %v, %v", header, err)
	}
	_, err = s.Recv()
	st := status.Convert(err)
	if st.Code() != codes.NotFound || st.Message() != "100% ☺" || len(st.Details()) != 1 {
		t.Errorf("status %v", st)
	}
	if got := s.Trailer(); !slices.Equal(got["t"], []string{"1", "2"}) || got.Get("x-bin")[0] != "\x01" {
		t.Errorf("trailer %v", got)
	}
}

// TestPrivateErrors: what is no status says nothing about itself.
func TestPrivateErrors(t *testing.T) {
	for _, err := range []error{errors.New("secret"), io.ErrUnexpectedEOF} {
		tc := connect(t, false, handler{unary: func(context.Context, *rpc.Call, *rpc.Message) (*rpc.Message, error) { return nil, err }})
		_, got := tc.EmptyCall(t.Context(), &testgrpc.Empty{})
		if st := status.Convert(got); st.Code() != codes.Internal || strings.Contains(st.Message(), err.Error()) {
			t.Errorf("%v became %v", err, st)
		}
	}
	tc := connect(t, false, handler{unary: func(context.Context, *rpc.Call, *rpc.Message) (*rpc.Message, error) { return nil, nil }})
	if _, err := tc.EmptyCall(t.Context(), &testgrpc.Empty{}); status.Code(err) != codes.Internal {
		t.Errorf("no response became %v", err)
	}
}

// TestRefuseBeforeRead: a refusal reaches a client that has sent no body yet.
func TestRefuseBeforeRead(t *testing.T) {
	e := gateway(t, false, native.Options{Handler: handler{unary: func(context.Context, *rpc.Call, *rpc.Message) (*rpc.Message, error) {
		return nil, rpc.Errorf(codes.Unauthenticated, "who are you?")
	}}})
	r := dialRaw(t, e)
	if a := r.read(r.open(unaryCall, false)); a.status() != "16" || !a.trailersOnly {
		t.Errorf("got %+v", a)
	}
}

// TestDeadline: the client that waits for the body's end, or sends none, is
// told in time, though the handler is blocked in a receive.
func TestDeadline(t *testing.T) {
	blocked := handler{
		unary: func(_ context.Context, _ *rpc.Call, req *rpc.Message) (*rpc.Message, error) { return nil, req.Load() },
		stream: func(_ *rpc.Call, s grpc.ServerStream) error {
			return s.RecvMsg(rpc.NewMessage(nil))
		},
	}
	r := dialRaw(t, gateway(t, false, native.Options{Handler: blocked}))
	for _, path := range []string{unaryCall, fullDuplex} {
		if a := r.read(r.open(path, false, "grpc-timeout: 20m")); a.status() != "4" || a.message() != "deadline exceeded" {
			t.Errorf("%s: got %+v", path, a)
		}
	}
}

// TestStalledDeadline: a client that reads nothing does not hold the call
// beyond its deadline.
func TestStalledDeadline(t *testing.T) {
	ended := make(chan error, 1)
	flood := handler{stream: func(call *rpc.Call, s grpc.ServerStream) error {
		m := empty(call)
		m.SetBytes(make([]byte, 64<<10))
		var err error
		for err == nil {
			err = s.SendMsg(m)
		}
		ended <- err
		return err
	}}
	r := dialRaw(t, gateway(t, false, native.Options{Handler: flood}))
	r.open(fullDuplex, false, "grpc-timeout: 50m")
	if err := <-ended; rpc.StatusOf(err).Code() != codes.DeadlineExceeded {
		t.Errorf("sending ended with %v", err)
	}
}

// TestCancel: RST_STREAM ends the context and whatever receives or sends.
func TestCancel(t *testing.T) {
	started, ended := make(chan struct{}), make(chan error, 1)
	tc := connect(t, false, handler{stream: func(_ *rpc.Call, s grpc.ServerStream) error {
		close(started)
		err := s.RecvMsg(rpc.NewMessage(nil))
		<-s.Context().Done()
		ended <- err
		return err
	}})
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := tc.FullDuplexCall(ctx); err != nil {
		t.Fatal(err)
	}
	<-started
	cancel()
	if err := <-ended; rpc.StatusOf(err).Code() != codes.Canceled {
		t.Errorf("receiving ended with %v", err)
	}
}

// TestLeftReceiver: Stream may return while another goroutine still receives.
func TestLeftReceiver(t *testing.T) {
	left := make(chan error, 1)
	tc := connect(t, false, handler{stream: func(_ *rpc.Call, s grpc.ServerStream) error {
		receiving := make(chan struct{})
		go func() {
			close(receiving)
			left <- s.RecvMsg(rpc.NewMessage(nil))
		}()
		<-receiving
		return rpc.Errorf(codes.Aborted, "enough")
	}})
	s, err := tc.FullDuplexCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); status.Code(err) != codes.Aborted {
		t.Errorf("got %v", err)
	}
	if err := <-left; err == nil {
		t.Error("the receiver that was left behind got a message")
	}
}

// TestStalledReader sends 100 MB to a client that does not read: what is in
// flight stays bounded.
func TestStalledReader(t *testing.T) {
	var sent int
	var mu sync.Mutex
	stalled := make(chan struct{})
	tc := connect(t, false, handler{stream: func(call *rpc.Call, s grpc.ServerStream) error {
		m := empty(call)
		m.SetBytes(make([]byte, 1<<20))
		timer := time.AfterFunc(300*time.Millisecond, func() { close(stalled) })
		defer timer.Stop()
		for range 100 {
			if err := s.SendMsg(m); err != nil {
				return err
			}
			mu.Lock()
			sent++
			mu.Unlock()
			if timer.Stop() {
				timer.Reset(300 * time.Millisecond)
			}
		}
		return nil
	}}, grpc.WithInitialWindowSize(1<<16), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(2<<20), grpc.ForceCodecV2(rpc.Codec{})))
	s, err := tc.FullDuplexCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	<-stalled
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	mu.Lock()
	if sent > 2 {
		t.Errorf("%d MiB went to a client that reads nothing", sent)
	}
	mu.Unlock()
	if stats.HeapAlloc > 30<<20 {
		t.Errorf("heap of %d MiB", stats.HeapAlloc>>20)
	}
	got := 0
	for {
		m := rpc.NewMessage(nil)
		if err := s.RecvMsg(m); err != nil {
			break
		}
		got += m.Len()
		m.Free()
	}
	if got != 100<<20 {
		t.Errorf("%d bytes arrived in the end", got)
	}
}

// TestConcurrentBidi runs 8 bidi streams on one connection, with keepalive and
// large metadata.
func TestConcurrentBidi(t *testing.T) {
	e := gateway(t, true, native.Options{})
	tc := testgrpc.NewTestServiceClient(dial(t, e, grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, PermitWithoutStream: true})))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			ctx := metadata.AppendToOutgoingContext(t.Context(), "x-grpc-test-echo-initial", strings.Repeat("m", 100<<10))
			s, err := tc.FullDuplexCall(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			for i := range 100 {
				n := int32(i * 700)
				if err := s.Send(&testgrpc.StreamingOutputCallRequest{ResponseParameters: []*testgrpc.ResponseParameters{{Size: n}}}); err != nil {
					t.Error(err)
					return
				}
				m, err := s.Recv()
				if err != nil || len(m.GetPayload().GetBody()) != int(n) {
					t.Errorf("message %d: %v", i, err)
					return
				}
			}
			if h, err := s.Header(); err != nil || len(h.Get("x-grpc-test-echo-initial")[0]) != 100<<10 {
				t.Errorf("large metadata was lost: %v", err)
			}
			_ = s.CloseSend()
			if _, err := s.Recv(); !errors.Is(err, io.EOF) {
				t.Errorf("ended with %v", err)
			}
		})
	}
	wg.Wait()
}

// TestRecord: the call's record has what the door saw.
func TestRecord(t *testing.T) {
	calls := make(chan *rpc.Call, 1)
	door := native.New(native.Options{Handler: fixed{answer: []byte("\x0a\x00")}})
	e := doortest.Listen(t, false, testMethods(), func(w http.ResponseWriter, r *http.Request, call *rpc.Call) {
		door.Serve(w, r, call)
		calls <- call
	})
	tc := testgrpc.NewTestServiceClient(dial(t, e))
	if _, err := tc.UnaryCall(t.Context(), &testgrpc.SimpleRequest{ResponseSize: 1}); err != nil {
		t.Fatal(err)
	}
	c := <-calls
	if c.BytesIn.Load() != 7 || c.BytesOut.Load() != 7 || c.MessagesIn.Load() != 1 || c.MessagesOut.Load() != 1 || c.Outcome().HTTPStatus != 200 {
		t.Errorf("in %d/%d, out %d/%d, HTTP %d", c.BytesIn.Load(), c.MessagesIn.Load(), c.BytesOut.Load(), c.MessagesOut.Load(), c.Outcome().HTTPStatus)
	}
	resp, err := http.Post(e.URL+"/grpc.testing.TestService/UnaryCall", "application/grpc", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	c = <-calls
	if resp.StatusCode != http.StatusHTTPVersionNotSupported || !strings.Contains(string(text), "gRPC needs HTTP/2") || c.Outcome().HTTPStatus != 505 || c.Outcome().Code != codes.Internal {
		t.Errorf("HTTP/1.1 got %d %q, record %+v", resp.StatusCode, text, c.Outcome())
	}
	http.DefaultClient.CloseIdleConnections()
}
