package edge_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/edge"
	"github.com/transomhq/transom/rpc"
)

func TestMain(m *testing.M) {
	if spec := os.Getenv(holdEnv); spec != "" {
		hold(spec)
		return
	}
	goleak.VerifyTestMain(m)
}

// start serves opts on a loopback port of its own until the test ends.
func start(t testing.TB, opts edge.Options) (*edge.Server, string) {
	t.Helper()
	if opts.Listeners == nil {
		opts.Listeners = []edge.Listener{{Address: "127.0.0.1:0"}}
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	s, err := edge.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error("Serve:", err)
		}
	})
	return s, s.Addrs()[0].String()
}

// echo answers with what the edge made of the request.
func echo(w http.ResponseWriter, r *http.Request, call *rpc.Call) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		var e *rpc.Error
		if !errors.As(err, &e) {
			e = rpc.Errorf(codes.Unknown, "not an error of the house: %v", err)
		}
		w.WriteHeader(max(e.HTTPStatus, 400))
		fmt.Fprintf(w, "%s: %s", e.Code, e.Message)
		return
	}
	fmt.Fprintf(w, "%s %s %s %d %s", call.Proto, call.HTTPMethod, call.Path, len(body), call.Client)
}

// client returns a client with a transport of its own, of HTTP/1.1 or of HTTP/2
// without TLS.
func client(t testing.TB, h2 bool) *http.Client {
	p := new(http.Protocols)
	p.SetHTTP1(!h2)
	p.SetUnencryptedHTTP2(h2)
	tr := &http.Transport{Protocols: p}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second}
}

func eachProtocol(t *testing.T, f func(t *testing.T, c *http.Client)) {
	for _, h2 := range []bool{false, true} {
		t.Run(map[bool]string{false: "HTTP1", true: "HTTP2"}[h2], func(t *testing.T) { f(t, client(t, h2)) })
	}
}

// raw sends bytes and returns all that comes back until the server closes.
func raw(t testing.TB, addr, in string) string {
	t.Helper()
	c := dial(t, addr)
	go func() { _, _ = io.WriteString(c, in) }()
	out, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("reading the answer to %.80q: %v (got %q)", in, err, out)
	}
	return string(out)
}

func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	return c
}

func get(t testing.TB, c *http.Client, url string, header ...string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	return do(t, c, req)
}

func do(t testing.TB, c *http.Client, req *http.Request) (int, string, http.Header) {
	t.Helper()
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

// waitFor waits until ok says yes.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain for", what)
		}
	}
}

func TestBothProtocolsOnOnePort(t *testing.T) {
	_, addr := start(t, edge.Options{Handler: echo})
	for h2, proto := range map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"} {
		req, _ := http.NewRequest("POST", "http://"+addr+"/a%2Fb%7E?q=secret", strings.NewReader("hello"))
		status, body, _ := do(t, client(t, h2), req)
		if want := proto + " POST /a%2Fb%7E 5 127.0.0.1"; status != 200 || body != want {
			t.Errorf("%d %q, want 200 %q", status, body, want)
		}
	}
}

func TestSeveralListeners(t *testing.T) {
	sock := t.TempDir() + "/s"
	s, _ := start(t, edge.Options{Handler: echo, Listeners: []edge.Listener{{Address: "127.0.0.1:0"}, {Address: "localhost:0"}, {Address: "unix:" + sock}}})
	for _, addr := range s.Addrs() {
		c := &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, addr.Network(), addr.String())
			},
		}}
		if status, body, _ := get(t, c, "http://x/"); status != 200 {
			t.Errorf("%s: %d %s", addr, status, body)
		}
	}
}

func TestRecord(t *testing.T) {
	calls := make(chan *rpc.Call, 1)
	_, addr := start(t, edge.Options{
		Finish: func(c *rpc.Call) { calls <- c },
		Handler: func(w http.ResponseWriter, r *http.Request, call *rpc.Call) {
			w.WriteHeader(204)
		},
	})
	eachProtocol(t, func(t *testing.T, c *http.Client) {
		_, _, h := get(t, c, "http://"+addr+"/x?q", "User-Agent", "me", "X-Request-Id", "forged", "X-Forwarded-For", "1.2.3.4")
		call := <-calls
		if call.Host != "127.0.0.1" || call.HTTPMethod != "GET" || call.Path != "/x" || call.UserAgent != "me" ||
			call.Client.String() != "127.0.0.1" || call.TLS != nil || call.Outcome().HTTPStatus != 204 {
			t.Errorf("record %+v", call)
		}
		if len(call.RequestID) != 32 || h.Get("X-Request-Id") != call.RequestID {
			t.Errorf("request id %q, header %q", call.RequestID, h.Get("X-Request-Id"))
		}
	})
}

func TestSmugglingIsRefusedAndClosed(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	_, addr := start(t, edge.Options{Handler: func(w http.ResponseWriter, r *http.Request, call *rpc.Call) {
		mu.Lock()
		seen = append(seen, r.RequestURI)
		mu.Unlock()
		echo(w, r, call)
	}})
	for name, tt := range map[string]struct{ in, status, message string }{
		"CL.TE":                {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n", "400 Bad Request", "Content-Length together with Transfer-Encoding"},
		"CL.CL":                {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 30\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n", "400 Bad Request", "more than one Content-Length header field"},
		"TE.TE":                {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "400 Bad Request", `Transfer-Encoding is not exactly \"chunked\"`},
		"no host":              {"GET / HTTP/1.1\r\n\r\n", "400 Bad Request", "missing Host header field"},
		"long target":          {"GET /" + strings.Repeat("a", 20000) + " HTTP/1.1\r\nHost: a\r\n\r\n", "414 Request URI Too Long", "request target is too long"},
		"big head":             {"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 70000) + "\r\n\r\n", "431 Request Header Fields Too Large", "request header fields are too large"},
		"version":              {"GET / HTTP/3.0\r\nHost: a\r\n\r\n", "505 HTTP Version Not Supported", "HTTP version not supported"},
		"not HTTP":             {"\x00\x01\x02", "400 Bad Request", "malformed request line"},
		"PRI, then no preface": {"PRI * HTTP/2.0\r\n\r\nGET / HTTP/1.1\r\n", "505 HTTP Version Not Supported", "HTTP version not supported"},
	} {
		t.Run(name, func(t *testing.T) {
			checkRefusal(t, raw(t, addr, tt.in), tt.status, tt.message)
		})
		t.Run(name+", pipelined", func(t *testing.T) {
			out := raw(t, addr, "POST /good HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"+tt.in)
			br := bufio.NewReader(strings.NewReader(out))
			resp, err := http.ReadResponse(br, nil)
			if err != nil || resp.StatusCode != 200 {
				t.Fatalf("the good request before it: %v, %q", err, out)
			}
			if b, _ := io.ReadAll(resp.Body); string(b) != "HTTP/1.1 POST /good 3 127.0.0.1" {
				t.Errorf("the good request before it: %q", b)
			}
			rest, _ := io.ReadAll(br)
			checkRefusal(t, string(rest), tt.status, tt.message)
		})
	}
	mu.Lock()
	defer mu.Unlock()
	for _, path := range seen {
		if path != "/good" {
			t.Errorf("the handler saw %s", path)
		}
	}
}

func checkRefusal(t *testing.T, out, status, message string) {
	t.Helper()
	if !strings.HasPrefix(out, "HTTP/1.1 "+status+"\r\n") || !strings.Contains(out, "\r\nConnection: close\r\n") ||
		!strings.Contains(out, "\r\nContent-Type: application/json\r\n") {
		t.Fatalf("answer %q, want %s, closed, JSON", out, status)
	}
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(out)), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	if !json.Valid(body) || !strings.Contains(string(body), `"message":"`+message+`"}`) {
		t.Errorf("body %s, want message %s", body, message)
	}
}

func TestBadChunkReachesTheHandlerAsItsError(t *testing.T) {
	_, addr := start(t, edge.Options{Handler: echo})
	out := raw(t, addr, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0x5\r\nhello\r\n0\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n")
	if !strings.HasPrefix(out, "HTTP/1.1 400 ") || !strings.HasSuffix(out, "InvalidArgument: malformed chunk size") ||
		!strings.Contains(out, "Connection: close") || strings.Count(out, "HTTP/1.1") != 1 {
		t.Errorf("%q", out)
	}
}

func TestPipelining(t *testing.T) {
	_, addr := start(t, edge.Options{Handler: echo})
	const n = 50
	in := strings.Repeat("\r\nPOST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"+
		"GET /g HTTP/1.1\r\nHost: a\r\n\r\n", n) + "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	for _, size := range []int{1, 5, 100, 1 << 20} {
		c := dial(t, addr)
		go func() {
			for rest := []byte(in); len(rest) > 0; {
				k := min(size, len(rest))
				_, _ = c.Write(rest[:k])
				rest = rest[k:]
			}
		}()
		out, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		if p, g := bytes.Count(out, []byte("POST /p 3")), bytes.Count(out, []byte("GET /g 0")); p != n || g != n || !bytes.Contains(out, []byte("GET /last")) {
			t.Errorf("pieces of %d: %d and %d answers", size, p, g)
		}
	}
}

func TestUpgradeHandsOverTheBytes(t *testing.T) {
	s, addr := start(t, edge.Options{Handler: func(w http.ResponseWriter, r *http.Request, call *rpc.Call) {
		nc, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer nc.Close()
		_, _ = io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: raw\r\nConnection: Upgrade\r\n\r\n")
		_, _ = io.Copy(nc, rw)
	}})
	// The first bytes of the other protocol come early, and are no HTTP.
	for _, early := range []string{"", "\x00\x01\x02", "\x81\x00\n\n\xff\xff\xff\xff\xff"} {
		c := dial(t, addr)
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: raw\r\nConnection: Upgrade\r\n\r\n"+early)
		late := "\x82\x00\x00\x00\x00\x00\x00\x00\x00 and more\n\n\r\n: x"[:20]
		_, _ = io.WriteString(c, late)
		_ = c.(*net.TCPConn).CloseWrite()
		out, _ := io.ReadAll(c)
		if !strings.HasSuffix(string(out), "\r\n\r\n"+early+late) {
			t.Errorf("early %q: %q", early, out)
		}
	}
	waitFor(t, "the places of upgraded connections", func() bool { return s.Stats().Connections == 0 })
}

func TestClientGoneCancelsTheRequest(t *testing.T) {
	gone := make(chan error, 1)
	entered := make(chan struct{})
	_, addr := start(t, edge.Options{Handler: func(w http.ResponseWriter, r *http.Request, call *rpc.Call) {
		close(entered)
		<-r.Context().Done()
		gone <- r.Context().Err()
	}})
	c := dial(t, addr)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	<-entered
	_ = c.Close()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestExpectContinue(t *testing.T) {
	_, addr := start(t, edge.Options{Handler: func(w http.ResponseWriter, r *http.Request, call *rpc.Call) {
		if r.URL.Path == "/refuse" {
			w.WriteHeader(401)
			return
		}
		echo(w, r, call)
	}})
	ask := func(path string) (net.Conn, *bufio.Reader) {
		c := dial(t, addr)
		_, _ = io.WriteString(c, "POST "+path+" HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
		return c, bufio.NewReader(c)
	}
	_, br := ask("/refuse")
	if resp, err := http.ReadResponse(br, nil); err != nil || resp.StatusCode != 401 || !resp.Close {
		t.Errorf("refused unread: %+v, %v", resp, err)
	}
	c, br := ask("/read")
	if line, _ := br.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatal(line)
	}
	_, _ = br.ReadString('\n')
	_, _ = io.WriteString(c, "hello")
	if resp, err := http.ReadResponse(br, nil); err != nil || resp.StatusCode != 200 || resp.Close {
		t.Errorf("read: %+v, %v", resp, err)
	}
}

func TestPanic(t *testing.T) {
	var log bytes.Buffer
	var mu sync.Mutex
	finished := make(chan *rpc.Call, 1)
	_, addr := start(t, edge.Options{
		Logger: slog.New(slog.NewTextHandler(lockedWriter{&mu, &log}, nil)),
		Finish: func(c *rpc.Call) { finished <- c },
		Handler: func(w http.ResponseWriter, r *http.Request, call *rpc.Call) {
			if r.URL.Path == "/late" {
				_, _ = io.WriteString(w, "half")
				_ = http.NewResponseController(w).Flush()
			}
			panic("private")
		},
	})
	eachProtocol(t, func(t *testing.T, c *http.Client) {
		status, body, _ := get(t, c, "http://"+addr+"/early")
		if status != 500 || body != `{"code":13,"message":"internal error"}` {
			t.Errorf("%d %s", status, body)
		}
		if call := <-finished; call.Outcome().Code != codes.Internal || call.Outcome().HTTPStatus != 500 {
			t.Errorf("record %+v", call.Outcome())
		}
		resp, err := c.Get("http://" + addr + "/late")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if b, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("an answer that was cut off looks whole: %q", b)
		}
		<-finished
	})
	mu.Lock()
	defer mu.Unlock()
	if n := strings.Count(log.String(), "panic in a handler"); n != 4 || !strings.Contains(log.String(), "edge_test.go") {
		t.Errorf("%d panics logged, want 4 with their stacks", n)
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func TestResponseHeader(t *testing.T) {
	_, addr := start(t, edge.Options{
		ResponseHeader: map[string]string{"x-content-type-options": "nosniff", "Server": "x"},
		HSTS:           time.Hour,
		Handler: func(w http.ResponseWriter, r *http.Request, call *rpc.Call) {
			w.Header().Set("Server", "y")
		},
	})
	_, _, h := get(t, client(t, false), "http://"+addr+"/")
	if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Server") != "y" || h.Get("Strict-Transport-Security") != "" {
		t.Error(h)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	ok := edge.Options{Handler: echo, Listeners: []edge.Listener{{Address: ":0"}}}
	for want, change := range map[string]func(*edge.Options){
		"a handler and at least one listener": func(o *edge.Options) { o.Listeners = nil },
		`trusted proxy "10.0.0/8"`:            func(o *edge.Options) { o.TrustedProxies = []string{"10.0.0/8"} },
		"limit of streams is -1":              func(o *edge.Options) { o.Limits.Streams = -1 },
		`response header "X Y"`:               func(o *edge.Options) { o.ResponseHeader = map[string]string{"X Y": "z"} },
		"TLS without a certificate":           func(o *edge.Options) { o.Listeners[0].TLS = &edge.TLS{} },
	} {
		o := ok
		o.Listeners = append([]edge.Listener(nil), ok.Listeners...)
		change(&o)
		if _, err := edge.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}
