package edge_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/transomhq/transom/edge"
	"github.com/transomhq/transom/rpc"
)

const (
	mb = 1 << 20
	gb = 1 << 30
)

// heap returns what is in use after a collection, stacks included.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// noise is a reader of n bytes.
type noise struct {
	n    int64
	read atomic.Int64
}

func (r *noise) Read(p []byte) (int, error) {
	n := min(int64(len(p)), r.n-r.read.Load())
	if n == 0 {
		return 0, io.EOF
	}
	r.read.Add(n)
	return int(n), nil
}

func TestDeclaredBodyOverTheLimitIsRefusedUnread(t *testing.T) {
	called := false
	_, addr := start(t, edge.Options{Handler: func(http.ResponseWriter, *http.Request, *rpc.Call) { called = true }})
	out := raw(t, addr, fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", gb))
	checkRefusal(t, out, "413 Request Entity Too Large", "request body is larger than 67108864 bytes")
	eachProtocol(t, func(t *testing.T, c *http.Client) {
		body := &noise{n: gb}
		req, _ := http.NewRequest("POST", "http://"+addr+"/", body)
		req.ContentLength = gb
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 413 || body.read.Load() > 16*mb {
			t.Errorf("%d after %d bytes", resp.StatusCode, body.read.Load())
		}
	})
	if called {
		t.Error("the handler was called")
	}
}

func TestStreamedBodyOverTheLimit(t *testing.T) {
	_, addr := start(t, edge.Options{Handler: func(w http.ResponseWriter, r *http.Request, call *rpc.Call) {
		n, err := io.Copy(io.Discard, r.Body)
		var e *rpc.Error
		if !errors.As(err, &e) || e.HTTPStatus != 413 || n != 64*mb {
			t.Errorf("%d bytes, error %v", n, err)
		}
		w.WriteHeader(413)
	}})
	before := heap()
	eachProtocol(t, func(t *testing.T, c *http.Client) {
		body := &noise{n: gb}
		req, _ := http.NewRequest("POST", "http://"+addr+"/", io.NopCloser(body))
		if resp, err := c.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode != 413 {
				t.Error(resp.StatusCode)
			}
		}
		if body.read.Load() > 80*mb {
			t.Errorf("%d bytes were taken", body.read.Load())
		}
	})
	after := heap()
	t.Logf("1 GB declared and streamed: heap and stacks %.1f MB before, %.1f MB after", float64(before)/mb, float64(after)/mb)
	if after > before+16*mb {
		t.Error("memory grew with the body")
	}
}

func TestFramedBodiesAndSetLimit(t *testing.T) {
	_, addr := start(t, edge.Options{
		Limits: edge.Limits{BodyBytes: 1000},
		Handler: func(w http.ResponseWriter, r *http.Request, call *rpc.Call) {
			if r.URL.Path == "/raise" {
				r.Body.(interface{ SetLimit(int64) }).SetLimit(2000)
			}
			echo(w, r, call)
		},
	})
	eachProtocol(t, func(t *testing.T, c *http.Client) {
		for _, tt := range []struct {
			path, contentType string
			size              int64
			want              string
		}{
			{"/", "application/json", 1000, "POST / 1000"},
			{"/", "application/json", 1001, "ResourceExhausted: request body is larger than 1000 bytes"},
			{"/", "application/grpc+proto", 5000, "POST / 5000"},
			{"/", "application/connect+json", 5000, "POST / 5000"},
			{"/raise", "", 2000, "POST /raise 2000"},
			{"/raise", "", 2001, "ResourceExhausted: request body is larger than 2000 bytes"},
		} {
			req, _ := http.NewRequest("POST", "http://"+addr+tt.path, &noise{n: tt.size}) // chunked on HTTP/1.1
			req.Header.Set("Content-Type", tt.contentType)
			if _, body, _ := do(t, c, req); !strings.Contains(body, tt.want) {
				t.Errorf("%d bytes of %s: %q, want %q", tt.size, tt.contentType, body, tt.want)
			}
		}
	})
}

func TestManyHeaders(t *testing.T) {
	_, addr := start(t, edge.Options{Handler: echo})
	var b strings.Builder
	b.WriteString("GET / HTTP/1.1\r\nHost: a\r\n")
	for i := range 100_000 {
		fmt.Fprintf(&b, "X-%d: y\r\n", i)
	}
	in := b.String() + "\r\n"
	before := heap()
	for range 20 {
		checkRefusal(t, raw(t, addr, in), "431 Request Header Fields Too Large", "too many request header fields")
	}
	after := heap()
	t.Logf("20 requests of 100,000 headers: heap and stacks %.1f MB before, %.1f MB after", float64(before)/mb, float64(after)/mb)
	if after > before+8*mb {
		t.Error("memory grew with the headers")
	}
	status, body, _ := get(t, client(t, true), "http://"+addr+"/", manyHeaders(300)...)
	if status != 431 || body != `{"code":8,"message":"too many request header fields"}` {
		t.Errorf("HTTP/2: %d %s", status, body)
	}
}

func manyHeaders(n int) (h []string) {
	for i := range n {
		h = append(h, fmt.Sprintf("X-%d", i), "y")
	}
	return h
}

// h2Request sends one request with the given fields over a raw HTTP/2
// connection and returns its status, or the error of the stream or connection.
func h2Request(t *testing.T, addr string, fields ...string) string {
	t.Helper()
	c := dial(t, addr)
	_, _ = io.WriteString(c, http2.ClientPreface)
	fr := http2.NewFramer(c, c)
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = fr.WriteSettings()
	var block strings.Builder
	enc := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(block.String()), EndHeaders: true, EndStream: true})
	for {
		f, err := fr.ReadFrame()
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			return f.PseudoValue("status")
		case *http2.RSTStreamFrame:
			return f.ErrCode.String()
		case *http2.GoAwayFrame:
			return f.ErrCode.String()
		}
		if err != nil {
			return err.Error()
		}
	}
}

func TestHTTP2Checks(t *testing.T) {
	_, addr := start(t, edge.Options{Handler: echo, Limits: edge.Limits{URIBytes: 100, HeaderBytes: 4096}})
	base := []string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "a"}
	for name, tt := range map[string]struct {
		fields []string
		want   string
	}{
		"fine":              {base, "200"},
		"host agrees":       {append(base[:8:8], "host", "a"), "200"},
		"host instead":      {append(base[:6:6], "host", "a"), "200"},
		"host differs":      {append(base[:8:8], "host", "b"), "PROTOCOL_ERROR"},
		"no authority":      {base[:6], "400"},
		"authority list":    {append(base[:6:6], ":authority", "a,b"), "400"},
		"two lengths":       {append(base[:8:8], "content-length", "0", "content-length", "0"), "400"},
		"transfer-encoding": {append(base[:8:8], "transfer-encoding", "chunked"), "400"},
		"connection":        {append(base[:8:8], "connection", "close"), "400"},
		"long path":         {append([]string{":path", "/" + strings.Repeat("a", 100)}, ":method", "GET", ":scheme", "http", ":authority", "a"), "414"},
		"fragment":          {append([]string{":path", "/a#b"}, ":method", "GET", ":scheme", "http", ":authority", "a"), "400"},
		"broken escape":     {append([]string{":path", "/%zz"}, ":method", "GET", ":scheme", "http", ":authority", "a"), "PROTOCOL_ERROR"},
		"large fields":      {append(base[:8:8], "x", strings.Repeat("a", 5000)), "431"},
		"upper case":        {append(base[:8:8], "X", "a"), "PROTOCOL_ERROR"},
		"CONNECT":           {[]string{":method", "CONNECT", ":authority", "a:443"}, "501"},
	} {
		if got := h2Request(t, addr, tt.fields...); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

func TestStreamsPerConnection(t *testing.T) {
	_, addr := start(t, edge.Options{Handler: echo, Limits: edge.Limits{Streams: 7}})
	c := dial(t, addr)
	_, _ = io.WriteString(c, http2.ClientPreface)
	fr := http2.NewFramer(c, c)
	_ = fr.WriteSettings()
	f, err := fr.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := f.(*http2.SettingsFrame).Value(http2.SettingMaxConcurrentStreams); v != 7 {
		t.Errorf("announced %d streams, want 7", v)
	}
}

// A client that opens streams and resets them at once must not have more
// handlers at work than it may have streams (CVE-2023-44487).
func TestRapidReset(t *testing.T) {
	var mu sync.Mutex
	now, most := 0, 0
	_, addr := start(t, edge.Options{Limits: edge.Limits{Streams: 10}, Handler: func(w http.ResponseWriter, r *http.Request, call *rpc.Call) {
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		time.Sleep(5 * time.Millisecond) // work that does not notice the reset
		mu.Lock()
		now--
		mu.Unlock()
	}})
	c := dial(t, addr)
	_, _ = io.WriteString(c, http2.ClientPreface)
	fr := http2.NewFramer(c, c)
	_ = fr.WriteSettings()
	var block strings.Builder
	enc := hpack.NewEncoder(&block)
	go func() {
		for id := uint32(1); id < 20_000; id += 2 {
			block.Reset()
			for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "a"}} {
				_ = enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
			}
			if fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte(block.String()), EndHeaders: true, EndStream: true}) != nil {
				return
			}
			if fr.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
				return
			}
		}
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	last := ""
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			break
		}
		if g, ok := f.(*http2.GoAwayFrame); ok {
			last = g.ErrCode.String()
		}
	}
	mu.Lock()
	defer mu.Unlock()
	t.Logf("at most %d handlers at a time, ended with %q", most, last)
	if most > 10 {
		t.Errorf("%d handlers at a time, want at most 10", most)
	}
}

func TestConnectionLimits(t *testing.T) {
	for name, limits := range map[string]edge.Limits{
		"total":      {Connections: 5},
		"per client": {ConnectionsPerClient: 5},
	} {
		t.Run(name, func(t *testing.T) {
			s, addr := start(t, edge.Options{Handler: echo, Limits: limits})
			var held []net.Conn
			for range 5 {
				held = append(held, dial(t, addr))
			}
			waitFor(t, "five connections", func() bool { return s.Stats().Connections == 5 })
			if c, err := net.Dial("tcp", addr); err == nil { // else it was reset already
				defer c.Close()
				if _, err := c.Read(make([]byte, 1)); err == nil {
					t.Error("the sixth connection got an answer")
				}
			}
			if st := s.Stats(); st.RefusedTotal+st.RefusedClient != 1 || st.Connections != 5 {
				t.Errorf("%+v", st)
			}
			_ = held[0].Close()
			waitFor(t, "a free place", func() bool { return s.Stats().Connections == 4 })
			if status, _, _ := get(t, client(t, false), "http://"+addr+"/"); status != 200 {
				t.Error(status)
			}
		})
	}
}

// holdEnv makes the test binary a client that holds half-open connections, so
// that both ends do not share one limit of file descriptors.
const holdEnv = "EDGE_TEST_HOLD"

// hold opens n connections to addr, sends half a head on every other one, says
// so, and waits for the end of its input.
func hold(spec string) {
	var n int
	var addr string
	if _, err := fmt.Sscan(spec, &n, &addr); err != nil {
		panic(err)
	}
	conns := make([]net.Conn, n)
	for i := range conns {
		// Spread over source addresses: one has only so many ports.
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(i%200+1))}}
		c, err := d.Dial("tcp", addr)
		if err != nil {
			panic(err)
		}
		conns[i] = c
		if i%2 == 0 {
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nX-Half: ")
		}
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(conns)
}

func TestHalfOpenConnections(t *testing.T) {
	n := 10_000
	if testing.Short() {
		n = 500
	}
	s, addr := start(t, edge.Options{Handler: echo, Timeouts: edge.Timeouts{ReadHeader: time.Hour}})
	before := heap()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s", holdEnv, n, addr))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = in.Close()
		_ = cmd.Wait()
	}()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal("the client did not get its connections:", line, err)
	}
	waitFor(t, "all connections", func() bool { return s.Stats().Connections >= int64(n) })
	after := heap()
	per := float64(after-before) / float64(n) / 1024
	t.Logf("%d half-open connections: %.1f MB of heap and stacks, %.1f KB each", n, float64(after-before)/mb, per)
	if per > 20 {
		t.Error("too much for a connection that said nothing")
	}
	if status, _, _ := get(t, client(t, false), "http://"+addr+"/"); status != 200 {
		t.Error("a decent client is not served beside them")
	}
}
