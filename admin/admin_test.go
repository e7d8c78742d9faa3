package admin_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/transomhq/transom/admin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, opts admin.Options, more ...func(*admin.Server)) string {
	t.Helper()
	if opts.Address == "" {
		opts.Address = "127.0.0.1:0"
	}
	opts.Logger = slog.New(slog.DiscardHandler)
	s, err := admin.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range more {
		f(s)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s.Addr().String()
}

// answer is a response read whole.
type answer struct {
	status int
	header http.Header
	body   string
}

func ask(t *testing.T, method, url, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

func full() admin.Options {
	reg := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "transom_test_total", Help: "A test."})
	reg.MustRegister(c)
	c.Inc()
	return admin.Options{
		Gatherer: reg, Level: new(slog.LevelVar), Version: "v1 <test>",
		Routes: func() []admin.Route {
			return []admin.Route{{HTTPMethod: "GET", Template: "/v1/{name=shelves/*}", RPC: "/shop.Shelves/Get", Kind: "unary", Cluster: "shop", Origin: "shop.proto:41:5"}}
		},
		Config: func() ([]byte, string, error) { return []byte("key: \"***\"\n"), "application/yaml", nil },
		Schema: func() ([]byte, error) { return []byte{10, 0}, nil },
	}
}

func TestPages(t *testing.T) {
	base := "http://" + start(t, full())
	for _, tt := range []struct{ path, contentType, contains string }{
		{"/", "text/plain; charset=utf-8", "/readyz"},
		{"/healthz", "application/json", `{"status":"ok"}`},
		{"/readyz", "application/json", `{"status":"ready","checks":[]}`},
		{"/metrics", "text/plain; version=0.0.4; charset=utf-8; escaping=underscores", "transom_test_total 1"},
		{"/routes", "text/plain; charset=utf-8", "GET     /v1/{name=shelves/*}  /shop.Shelves/Get  unary"},
		{"/routes?format=json", "application/json", `"template":"/v1/{name=shelves/*}"`},
		{"/config", "application/yaml", `key: "***"`},
		{"/schema", "application/x-protobuf", "\n\x00"},
		{"/loglevel", "application/json", `{"level":"info"}`},
		{"/debug/pprof/", "text/html; charset=utf-8", "goroutine"},
		{"/debug/pprof/heap?debug=1", "text/plain; charset=utf-8", "heap profile"},
		{"/debug/pprof/cmdline", "text/plain; charset=utf-8", "admin.test"},
	} {
		got := ask(t, "GET", base+tt.path, "")
		if got.status != 200 || got.header.Get("Content-Type") != tt.contentType || !strings.Contains(got.body, tt.contains) {
			t.Errorf("GET %s: %d %s %.200q, want %s with %q", tt.path, got.status, got.header.Get("Content-Type"), got.body, tt.contentType, tt.contains)
		}
		if head := ask(t, "HEAD", base+tt.path, ""); head.status != 200 || head.body != "" || head.header.Get("Content-Type") != tt.contentType {
			t.Errorf("HEAD %s: %d %v %q", tt.path, head.status, head.header, head.body)
		}
		post := ask(t, "POST", base+tt.path, "")
		if post.status != 405 || !strings.HasPrefix(post.header.Get("Allow"), "GET, HEAD") || !json.Valid([]byte(post.body)) {
			t.Errorf("POST %s: %d %v %q", tt.path, post.status, post.header, post.body)
		}
		if options := ask(t, "OPTIONS", base+tt.path, ""); options.status != 204 || options.header.Get("Allow") != post.header.Get("Allow") {
			t.Errorf("OPTIONS %s: %d %v", tt.path, options.status, options.header)
		}
	}
	if got := ask(t, "GET", base+"/routes", "", "Accept", "application/json"); got.header.Get("Content-Type") != "application/json" {
		t.Error("/routes with Accept: application/json:", got.header)
	}
	if got := ask(t, "GET", base+"/", "", "Accept", "text/html,*/*"); !strings.Contains(got.body, `<a href="/loglevel">`) || !strings.Contains(got.body, "v1 &lt;test&gt;") {
		t.Error(got.body)
	}
	if got := ask(t, "GET", base+"/nonsense", ""); got.status != 404 || got.body != `{"code":5,"message":"no such page; / lists all"}`+"\n" {
		t.Error(got)
	}
}

func TestPagesWithoutProvidersAreLeftOut(t *testing.T) {
	base := "http://" + start(t, admin.Options{})
	for _, path := range []string{"/metrics", "/routes", "/config", "/schema", "/loglevel"} {
		if got := ask(t, "GET", base+path, ""); got.status != 404 {
			t.Errorf("%s: %d", path, got.status)
		}
	}
	if got := ask(t, "GET", base+"/", ""); strings.Contains(got.body, "/config") {
		t.Error(got.body)
	}
}

func TestReadiness(t *testing.T) {
	failing := errors.New("schema: not loaded yet")
	base := "http://" + start(t, admin.Options{
		CheckTimeout: 50 * time.Millisecond,
		Checks: []admin.Check{
			{"fine", func(context.Context) error { return nil }},
			{"schema", func(context.Context) error { return failing }},
			{"slow", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
		},
	}, func(s *admin.Server) {
		s.AddCheck(admin.Check{Name: "broken", Ready: func(context.Context) error { panic("oh") }})
	})
	got := ask(t, "GET", base+"/readyz", "")
	want := `{"status":"not ready","checks":[{"name":"fine","ready":true},` +
		`{"name":"schema","ready":false,"reason":"schema: not loaded yet"},` +
		`{"name":"slow","ready":false,"reason":"context deadline exceeded"},` +
		`{"name":"broken","ready":false,"reason":"the check panicked: oh"}]}` + "\n"
	if got.status != 503 || got.body != want {
		t.Errorf("%d %s, want 503 %s", got.status, got.body, want)
	}
	if got := ask(t, "GET", base+"/healthz", ""); got.status != 200 {
		t.Error("a process that is not ready lives:", got)
	}
}

func TestLogLevel(t *testing.T) {
	opts := full()
	base := "http://" + start(t, opts)
	for _, tt := range []struct {
		body   string
		status int
		level  slog.Level
	}{
		{"debug", 200, slog.LevelDebug},
		{" WARN\n", 200, slog.LevelWarn},
		{`{"level": "error"}`, 200, slog.LevelError},
		{"loud", 400, slog.LevelError},
		{"", 400, slog.LevelError},
		{strings.Repeat("x", 1000), 400, slog.LevelError},
	} {
		got := ask(t, "PUT", base+"/loglevel", tt.body)
		if got.status != tt.status || opts.Level.Level() != tt.level || !json.Valid([]byte(got.body)) {
			t.Errorf("PUT %.20q: %d %s, level %s", tt.body, got.status, got.body, opts.Level.Level())
		}
	}
}

func TestOtherHostsAndSitesAreRefused(t *testing.T) {
	addr := start(t, admin.Options{Hosts: []string{"admin.example"}})
	for host, want := range map[string]int{
		addr: 200, "127.0.0.1": 200, "localhost:1": 200, "LOCALHOST": 200, "[::1]:9901": 200, "10.1.2.3": 200,
		"admin.example": 200, "Admin.Example:80": 200,
		"evil.example": 403, "localhost.evil.example": 403, "127.0.0.1.evil.example": 403, "admin.example.evil": 403,
	} {
		if got := ask(t, "GET", "http://"+addr+"/healthz", "", "Host", host); got.status != want || !json.Valid([]byte(got.body)) {
			t.Errorf("Host %s: %d, want %d", host, got.status, want)
		}
	}
	for site, want := range map[string]int{"same-origin": 200, "none": 200, "cross-site": 403, "same-site": 403} {
		if got := ask(t, "GET", "http://"+addr+"/healthz", "", "Sec-Fetch-Site", site); got.status != want {
			t.Errorf("Sec-Fetch-Site %s: %d, want %d", site, got.status, want)
		}
	}
}

func TestAddressMustBeLoopback(t *testing.T) {
	for address, ok := range map[string]bool{
		"": true, "127.0.0.1:0": true, "127.9.9.9:1": true, "[::1]:0": true, "localhost:0": true, "unix:/x": true,
		":0": false, "0.0.0.0:0": false, "[::]:0": false, "10.0.0.1:80": false, "example.com:80": false, "9901": false,
	} {
		_, err := admin.New(admin.Options{Address: address})
		if (err == nil) != ok {
			t.Errorf("%q: %v", address, err)
		}
		if _, err := admin.New(admin.Options{Address: address, AllowRemote: true}); err != nil {
			t.Errorf("%q, allowed: %v", address, err)
		}
	}
}

func TestUnixSocketAndHandle(t *testing.T) {
	path := t.TempDir() + "/admin"
	start(t, admin.Options{Address: "unix:" + path}, func(s *admin.Server) {
		s.Handle("/console/", "the console", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "console of "+r.Host)
		}))
	})
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Error(fi.Mode(), err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	br := bufio.NewReader(c)
	for path, want := range map[string]string{"/console/x": "console of any", "/": "/console/"} {
		_, _ = io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: any\r\n\r\n")
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := io.ReadAll(resp.Body); !strings.Contains(string(b), want) {
			t.Errorf("%s: %s", path, b)
		}
	}
}
