package gateway_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/transomhq/transom/config"
	"github.com/transomhq/transom/gateway"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// greeter is the schema of most tests: one method, whose path is a format verb.
const greeter = `
syntax = "proto3";
package test.v1;
import "google/api/annotations.proto";
import "google/protobuf/struct.proto";
service Greeter {
  rpc Greet(GreetRequest) returns (google.protobuf.Value) {
    option (google.api.http) = {get: "%s"};
  }
}
message GreetRequest { string name = 1; }
`

// backend answers every call with "hello", after wait is closed.
type backend struct {
	addr string
	wait chan struct{} // nil: at once
}

func newBackend(t *testing.T, wait chan struct{}) *backend {
	srv := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, ss grpc.ServerStream) error {
		var in structpb.Value // any message: fields that it does not know are kept
		if err := ss.RecvMsg(&in); err != nil {
			return err
		}
		if wait != nil {
			<-wait
		}
		return ss.SendMsg(structpb.NewStringValue("hello"))
	}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Stop(); <-done })
	return &backend{addr: l.Addr().String(), wait: wait}
}

// logs are lines that a test can wait for.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
	t   *testing.T
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// await waits until text was logged n times.
func (l *logs) await(text string, n int) {
	l.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for strings.Count(l.String(), text) < n {
		if time.Now().After(deadline) {
			l.t.Fatalf("%q was not logged %d times:\n%s", text, n, l)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// running is a gateway that serves until stop.
type running struct {
	*gateway.Gateway
	url  string
	logs *logs
	stop func() error // ends it as SIGTERM does, and waits
}

func start(t *testing.T, source config.Source, opts ...gateway.Option) *running {
	t.Helper()
	lines := &logs{t: t}
	opts = append([]gateway.Option{gateway.WithLogger(slog.New(slog.NewTextHandler(lines, nil)))}, opts...)
	g, err := gateway.New(t.Context(), source, opts...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	stop := sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("at the end: %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return &running{Gateway: g, url: "http://" + g.Addrs()[0].String(), logs: lines, stop: stop}
}

// folder writes files below a new folder and returns it.
func folder(t *testing.T, files map[string]string) string {
	dir := t.TempDir()
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url) //nolint:noctx // a test
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func flags(dir, upstream string) config.Source {
	return config.Source{Overrides: config.Overrides{
		Schema: []string{dir}, Upstreams: []string{upstream}, Listen: "127.0.0.1:0", Admin: "off",
	}}
}

func TestServesWhatTheFlagsSay(t *testing.T) {
	dir := folder(t, map[string]string{"greeter.proto": fmt.Sprintf(greeter, "/v1/greet/{name}")})
	g := start(t, flags(dir, newBackend(t, nil).addr))
	if status, body := get(t, g.url+"/v1/greet/ann"); status != 200 || body != `"hello"` {
		t.Errorf("got %d %s", status, body)
	}
}

// load sends requests from several clients until stop, and reports every
// answer that is not the expected one.
func load(t *testing.T, url string) (stop func() (sent int)) {
	quit := make(chan struct{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	sent := 0
	transport := &http.Transport{MaxIdleConnsPerHost: 8}
	client := &http.Client{Transport: transport}
	for range 8 {
		wg.Go(func() {
			tick := time.NewTicker(16 * time.Millisecond) // 8 clients: 500 a second
			defer tick.Stop()
			for {
				select {
				case <-quit:
					return
				case <-tick.C:
				}
				resp, err := client.Get(url) //nolint:noctx // a test
				if err != nil {
					t.Errorf("a request failed: %v", err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK || string(body) != `"hello"` {
					t.Errorf("got %d %s %v", resp.StatusCode, body, err)
					return
				}
				mu.Lock()
				sent++
				mu.Unlock()
			}
		})
	}
	return func() int {
		close(quit)
		wg.Wait()
		transport.CloseIdleConnections()
		return sent
	}
}

// Twenty reloads under load, one of them broken, fail no request.
func TestReloadUnderLoadFailsNothing(t *testing.T) {
	dir := folder(t, map[string]string{"greeter.proto": fmt.Sprintf(greeter, "/v1/greet/{name}")})
	g := start(t, flags(dir, newBackend(t, nil).addr))
	stop := load(t, g.url+"/v1/greet/ann")
	refused := 0
	for i := range 20 {
		text := fmt.Sprintf(greeter, "/v1/greet/{name}") + fmt.Sprintf("message Extra%d {}", i)
		if i == 10 {
			text = "this is no proto"
		}
		write(t, filepath.Join(dir, "greeter.proto"), text)
		if err := g.Reload(t.Context()); err != nil {
			refused++
			if !strings.Contains(err.Error(), "greeter.proto:1:1") {
				t.Errorf("the mistake's place is missing: %v", err)
			}
		}
		time.Sleep(500 * time.Millisecond) // spread over ten seconds of load
	}
	sent := stop()
	if refused != 1 || sent < 100 {
		t.Errorf("%d reloads were refused, want 1; %d requests were sent", refused, sent)
	}
}

func TestReloadsWhenAFileChanges(t *testing.T) {
	dir := folder(t, map[string]string{"greeter.proto": fmt.Sprintf(greeter, "/v1/greet/{name}")})
	g := start(t, flags(dir, newBackend(t, nil).addr))
	g.logs.await("listening on", 1)
	write(t, filepath.Join(dir, "greeter.proto"), "broken")
	g.logs.await("reload refused; the running configuration stays", 1)
	if status, _ := get(t, g.url+"/v1/greet/ann"); status != 200 {
		t.Errorf("after a refused reload: %d", status)
	}
	write(t, filepath.Join(dir, "greeter.proto"), fmt.Sprintf(greeter, "/v2/greet/{name}"))
	g.logs.await("msg=reloaded", 1)
	if status, _ := get(t, g.url+"/v2/greet/ann"); status != 200 {
		t.Errorf("the new path: %d", status)
	}
	if status, _ := get(t, g.url+"/v1/greet/ann"); status != 404 {
		t.Errorf("the old path: %d", status)
	}
	g.logs.await("breaks clients of the running one", 1)
}

func TestReloadRefusesABreakingSchemaWhenTold(t *testing.T) {
	dir := folder(t, map[string]string{"greeter.proto": fmt.Sprintf(greeter, "/v1/greet/{name}")})
	b := newBackend(t, nil)
	conf := filepath.Join(t.TempDir(), "transom.yaml")
	write(t, conf, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {disabled: true}
schema: {sources: [%q]}
clusters: [{name: test, targets: [%q]}]
reload: {watch: false, breaking: refuse}
`, dir, b.addr))
	g := start(t, config.Source{Path: conf})
	write(t, filepath.Join(dir, "greeter.proto"), fmt.Sprintf(greeter, "/v2/greet/{name}"))
	err := g.Reload(t.Context())
	if err == nil || !strings.Contains(err.Error(), "reload.breaking: refuse") || !strings.Contains(err.Error(), "/v1/greet/{name}") {
		t.Errorf("got %v", err)
	}
	if status, _ := get(t, g.url+"/v1/greet/ann"); status != 200 {
		t.Errorf("the running schema: %d", status)
	}
}

// A call that runs when the gateway is told to end is answered.
func TestDrainFinishesRunningCalls(t *testing.T) {
	dir := folder(t, map[string]string{"greeter.proto": fmt.Sprintf(greeter, "/v1/greet/{name}")})
	wait := make(chan struct{})
	g := start(t, flags(dir, newBackend(t, wait).addr))
	type answer struct {
		status int
		body   string
	}
	answers := make(chan answer, 10)
	for range 10 {
		go func() {
			resp, err := http.Get(g.url + "/v1/greet/ann") //nolint:noctx // a test
			if err != nil {
				answers <- answer{0, err.Error()}
				return
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			answers <- answer{resp.StatusCode, string(body)}
		}()
	}
	time.Sleep(200 * time.Millisecond) // the calls have reached the backend
	stopped := make(chan error, 1)
	go func() { stopped <- g.stop() }()
	g.logs.await("msg=draining", 1)
	close(wait)
	for range 10 {
		if a := <-answers; a.status != 200 || a.body != `"hello"` {
			t.Errorf("got %d %s", a.status, a.body)
		}
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	g.logs.await("every call finished", 1)
}

func TestEveryMistakeAtOnce(t *testing.T) {
	dir := folder(t, map[string]string{
		"a.proto": fmt.Sprintf(greeter, "v1/greet/{name}"),
	})
	_, err := gateway.New(t.Context(), flags(dir, "127.0.0.1:1"))
	if err == nil || !strings.Contains(err.Error(), "a.proto:8:5") {
		t.Errorf("got %v", err)
	}
}
