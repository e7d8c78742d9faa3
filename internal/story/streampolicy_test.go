package story_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/transomhq/transom/config"
	"github.com/transomhq/transom/gateway"
	"github.com/transomhq/transom/internal/story"
)

// dial returns a native gRPC connection to the gateway.
func (w *streamWorld) dial(t testing.TB) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(w.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// watchNative opens a stream with native gRPC; set fills the request.
func (w *streamWorld) watchNative(t testing.TB, set map[string]any) grpc.ClientStream {
	t.Helper()
	stream, err := w.dial(t).NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, "/story.v1.Streams/Watch")
	if err != nil {
		t.Fatal(err)
	}
	want := w.message("story.v1.Want")
	for name, v := range set {
		put(want, name, v)
	}
	if err := stream.SendMsg(want); err != nil {
		t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	return stream
}

// The bounds of streams hold behind every door.
func TestBoundsOfStreams(t *testing.T) {
	for name, tt := range map[string]struct {
		streams, path string
		native        map[string]any
		code          codes.Code
		reason        string
	}{
		"idle":  {`{"idle_timeout": "0.1s"}`, "/v1/watch/a?count=2&hold=true", map[string]any{"count": int32(2), "hold": true}, 4, "STREAM_IDLE"},
		"age":   {`{"max_age": "0.1s"}`, "/v1/watch/a?count=100000&pace_us=1000", map[string]any{"count": int32(100000), "pace_us": int32(1000)}, 14, "STREAM_MAX_AGE"},
		"first": {`{"first_message_timeout": "0.1s"}`, "/v1/watch/a?header=true&hold=true", map[string]any{"header": true, "hold": true}, 4, "STREAM_FIRST_MESSAGE_TIMEOUT"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newStreamWorld(t, "strict", `[{"selectors": ["story.v1.*"], "policy": {"streams": `+tt.streams+`}}]`)
			w.each(t, func(t *testing.T, c *http.Client) {
				resp := w.do(t, c, "GET", tt.path, "Accept: text/event-stream", nil)
				body, err := io.ReadAll(resp.Body)
				at := strings.LastIndex(string(body), "event: error\ndata: ")
				if err != nil || at < 0 || !strings.Contains(string(body[at:]), fmt.Sprintf(`{"code":%d,`, tt.code)) || !strings.Contains(string(body[at:]), tt.reason) {
					t.Errorf("%v %.300q", err, body[max(at, 0):])
				}
			})
			stream := w.watchNative(t, tt.native)
			var err error
			for err == nil {
				err = stream.RecvMsg(w.message("story.v1.Event"))
			}
			if status.Code(err) != tt.code {
				t.Errorf("native: %v", err)
			}
		})
	}
}

// A client that does not read makes the gateway drop, and the trailer says so.
func TestSlowConsumers(t *testing.T) {
	pad := strings.Repeat("x", 10000)
	policy := func(slow string) string {
		return `[{"selectors": ["story.v1.*"], "policy": {"streams": {"slow_consumer": "` + slow + `"}}}]`
	}
	t.Run("drop", func(t *testing.T) {
		w := newStreamWorld(t, "strict", policy("drop_oldest"))
		// More than sockets, windows and the queue hold; the backend does not wait.
		stream := w.watchNative(t, map[string]any{"count": int32(20000), "text": pad})
		var last, got uint64
		for {
			e := w.message("story.v1.Event")
			if got == 0 {
				<-w.called
				awaitOver(t, w)
			}
			if err := stream.RecvMsg(e); err != nil {
				break
			}
			n := value(e, "sequence").Uint()
			if n <= last {
				t.Fatalf("%d after %d", n, last)
			}
			last, got = n, got+1
		}
		dropped := stream.Trailer()["transom-dropped"]
		if last != 20000 || len(dropped) != 1 || dropped[0] != fmt.Sprint(20000-got) {
			t.Errorf("%d messages up to %d, dropped %q", got, last, dropped)
		}
	})
	t.Run("close", func(t *testing.T) {
		w := newStreamWorld(t, "strict", policy("close"))
		stream := w.watchNative(t, map[string]any{"count": int32(20000), "text": pad})
		<-w.over
		var err error
		for err == nil {
			err = stream.RecvMsg(w.message("story.v1.Event"))
		}
		if code := status.Code(err); code != codes.ResourceExhausted && code != codes.Canceled && code != codes.Internal {
			t.Errorf("%v", err)
		}
	})
}

func awaitOver(t *testing.T, w *streamWorld) {
	t.Helper()
	select {
	case <-w.over:
	case <-t.Context().Done():
	}
}

// A backend dies under a stream, and the next one goes on where it was: the
// client sees every number once.
func TestStreamsResume(t *testing.T) {
	schema := story.Compile(t, map[string]string{"streams.proto": streamsProto})
	backends := map[string]*streams{}
	for range 2 {
		b := startStreams(t, schema, "127.0.0.1:0")
		backends[b.addr] = b
	}
	var targets []string
	for addr := range backends {
		targets = append(targets, addr)
	}
	list, _ := json.Marshal(targets)
	w := newStreamWorldOf(t, "strict", "", map[string]json.RawMessage{"clusters": json.RawMessage(fmt.Sprintf(`[{"name": "story", "targets": %s}]`, list))})
	const count = 1500
	path := fmt.Sprintf("/v1/watch/a?count=%d&pace_us=500", count)
	// kill ends the server that streams, and starts one in its place.
	kill := func() {
		for addr, b := range backends {
			select {
			case <-b.called:
				b.stop()
				backends[addr] = startStreams(t, schema, addr)
				return
			default:
			}
		}
		t.Error("nobody streams")
	}
	w.each(t, func(t *testing.T, c *http.Client) {
		resp := w.do(t, c, "GET", path, "Accept: text/event-stream", nil)
		lines := bufio.NewScanner(resp.Body)
		seen := 0
		for lines.Scan() {
			id, ok := strings.CutPrefix(lines.Text(), "id: ")
			if !ok {
				continue
			}
			if seen++; id != fmt.Sprint(seen) {
				t.Fatalf("event %s, want %d", id, seen)
			}
			if seen%500 == 300 && seen < count {
				kill()
			}
			if seen == count {
				break
			}
		}
		if seen != count {
			t.Errorf("%d events, %v", seen, lines.Err())
		}
		_ = resp.Body.Close()
		for _, b := range backends {
			for len(b.called) > 0 {
				<-b.called
			}
		}
	})
	stream := w.watchNative(t, map[string]any{"count": int32(count), "pace_us": int32(500)})
	for n := uint64(1); n <= count; n++ {
		e := w.message("story.v1.Event")
		if err := stream.RecvMsg(e); err != nil {
			t.Fatal(err)
		}
		if got := value(e, "sequence").Uint(); got != n {
			t.Fatalf("native: event %d, want %d", got, n)
		}
		if n%500 == 300 {
			kill()
		}
	}
}

// Without a cursor, a lost backend ends the stream with a clear status.
func TestLostStreamsWithoutACursor(t *testing.T) {
	whole := t // the next backend serves the next protocol, too
	w := newStreamWorld(t, "strict", `[{"selectors": ["story.v1.*"], "policy": {"rest": {}}}]`)
	w.each(t, func(t *testing.T, c *http.Client) {
		resp := w.do(t, c, "GET", "/v1/watch/a?count=1&hold=true", "", nil)
		for resp.StatusCode == http.StatusServiceUnavailable && t.Context().Err() == nil { // the one before took the backend down
			resp = w.do(t, c, "GET", "/v1/watch/a?count=1&hold=true", "", nil)
		}
		lines := bufio.NewReader(resp.Body)
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		addr := w.streams.addr
		w.stop()
		end, err := io.ReadAll(lines)
		if err != nil || !strings.Contains(string(end), `{"error":{"code":14,`) {
			t.Errorf("%v %q", err, end)
		}
		w.streams = startStreams(whole, w.schema, addr)
	})
}

// A gateway that ends asks browsers to come back, to whoever is there then.
func TestStreamsEndWithTheGateway(t *testing.T) {
	schema := story.Compile(t, map[string]string{"streams.proto": streamsProto})
	b := startStreams(t, schema, "127.0.0.1:0")
	setup := story.Setup{T: t, Schema: schema, Backend: b.addr, Profile: "strict", Config: map[string]json.RawMessage{
		"policies": json.RawMessage(`[{"selectors": ["story.v1.Streams.Watch"], "policy": {"streams": {"cursor": {"event_field": "sequence", "request_field": "after"}}}}]`),
		"drain":    json.RawMessage(`{"delay": "0s", "timeout": "2s"}`),
	}}
	addr, stop := startGateway(setup)
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+addr+"/v1/watch/a?count=1&hold=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	<-b.over
	done := make(chan error)
	go func() { done <- stop() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(body), "event: error\nretry: 1000\ndata: {\"code\":14,") || !strings.Contains(string(body), "STREAM_SERVER_ENDING") {
		t.Errorf("%v %q", err, body)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// startGateway is openGateway whose gateway the test ends itself.
func startGateway(s story.Setup) (addr string, stop func() error) {
	s.T.Helper()
	file := filepath.Join(s.T.TempDir(), "transom.yaml")
	if err := os.WriteFile(file, configuration(s), 0o600); err != nil {
		s.T.Fatal(err)
	}
	g, err := gateway.New(s.T.Context(), config.Source{Path: file}, gateway.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		s.T.Fatal("gateway: ", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	s.T.Cleanup(func() { _ = stop() })
	return g.Addrs()[0].String(), stop
}
