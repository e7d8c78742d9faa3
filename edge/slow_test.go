package edge_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/transomhq/transom/edge"
	"github.com/transomhq/transom/rpc"
)

func quick() edge.Timeouts {
	return edge.Timeouts{
		ReadHeader: 100 * time.Millisecond, BodyIdle: 100 * time.Millisecond, WriteIdle: 100 * time.Millisecond,
		Idle: 150 * time.Millisecond, Handshake: 100 * time.Millisecond,
	}
}

func TestSlowHead(t *testing.T) {
	_, addr := start(t, edge.Options{Handler: echo, Timeouts: quick()})
	t.Run("nothing", func(t *testing.T) {
		if out := raw(t, addr, ""); out != "" {
			t.Errorf("%q", out)
		}
	})
	drip := func(t *testing.T, first string) string {
		c := dial(t, addr)
		_, _ = io.WriteString(c, first)
		go func() { // slow loris
			for {
				if _, err := io.WriteString(c, "X: y\r\n"); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		}()
		br := bufio.NewReader(c)
		if strings.Contains(first, "GET /first") {
			resp, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
		}
		out, _ := io.ReadAll(br)
		return string(out)
	}
	const head = "GET / HTTP/1.1\r\nHost: a\r\n"
	t.Run("drip", func(t *testing.T) {
		checkRefusal(t, drip(t, head), "408 Request Timeout", "the request's head arrived too slowly")
	})
	t.Run("drip on a connection kept alive", func(t *testing.T) {
		out := drip(t, "GET /first HTTP/1.1\r\nHost: a\r\n\r\n"+head)
		checkRefusal(t, out, "408 Request Timeout", "the request's head arrived too slowly")
	})
	t.Run("idle", func(t *testing.T) {
		out := raw(t, addr, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if !strings.HasSuffix(out, "GET / 0 127.0.0.1") {
			t.Errorf("%q", out)
		}
	})
	t.Run("idle, HTTP/2", func(t *testing.T) {
		if out := raw(t, addr, http2.ClientPreface+"\x00\x00\x00\x04\x00\x00\x00\x00\x00"); out == "" {
			t.Error("no settings")
		}
	})
}

func TestSlowBody(t *testing.T) {
	to := quick()
	to.BodyRate = 1000
	_, addr := start(t, edge.Options{Timeouts: to, Handler: func(w http.ResponseWriter, r *http.Request, call *rpc.Call) {
		if r.URL.Path == "/stream" {
			_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
		}
		echo(w, r, call)
	}})
	const slow = "DeadlineExceeded: the request body arrived too slowly"
	eachProtocol(t, func(t *testing.T, c *http.Client) {
		for _, tt := range []struct {
			name, path, contentType string
			pause                   time.Duration
			pieces                  int
			want                    string
		}{
			{"pause", "/", "", 400 * time.Millisecond, 2, slow},
			{"trickle", "/", "", 40 * time.Millisecond, 20, slow},
			{"stream", "/stream", "", 400 * time.Millisecond, 2, "POST /stream 2"},
			{"gRPC", "/", "application/grpc", 400 * time.Millisecond, 2, "POST / 2"},
		} {
			pr, pw := io.Pipe()
			go func() {
				for range tt.pieces {
					if _, err := io.WriteString(pw, "x"); err != nil {
						return
					}
					time.Sleep(tt.pause)
				}
				_ = pw.Close()
			}()
			req, _ := http.NewRequest("POST", "http://"+addr+tt.path, pr)
			req.Header.Set("Content-Type", tt.contentType)
			_, body, _ := do(t, c, req)
			_ = pr.Close()
			if !strings.Contains(body, tt.want) {
				t.Errorf("%s: %q, want %q", tt.name, body, tt.want)
			}
		}
	})
}

func TestClientThatDoesNotRead(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprint("h2=", h2), func(t *testing.T) {
			failed := make(chan error, 1)
			_, addr := start(t, edge.Options{Timeouts: quick(), Handler: func(w http.ResponseWriter, r *http.Request, call *rpc.Call) {
				chunk := make([]byte, mb)
				for range 200 {
					if _, err := w.Write(chunk); err != nil {
						failed <- err
						return
					}
				}
				failed <- nil
			}})
			resp, err := client(t, h2).Get("http://" + addr + "/")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if err := <-failed; err == nil {
				t.Error("200 MB were written to a client that does not read")
			}
		})
	}
}

func TestSlowReaderThatReadsIsServed(t *testing.T) {
	const size = 16 * mb
	to := edge.Timeouts{WriteIdle: 600 * time.Millisecond}
	_, addr := start(t, edge.Options{Timeouts: to, Handler: func(w http.ResponseWriter, r *http.Request, call *rpc.Call) {
		_, _ = w.Write(make([]byte, size))
	}})
	eachProtocol(t, func(t *testing.T, c *http.Client) {
		c.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			nc, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err == nil {
				err = nc.(*net.TCPConn).SetReadBuffer(64 << 10)
			}
			return nc, err
		}
		resp, err := c.Get("http://" + addr + "/")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var n int64
		for range 60 { // 9 MB at a pace that takes longer than the limit, then the rest
			k, _ := io.CopyN(io.Discard, resp.Body, 150<<10)
			n += k
			time.Sleep(25 * time.Millisecond)
		}
		k, err := io.Copy(io.Discard, resp.Body)
		if n+k != size || err != nil {
			t.Errorf("%d bytes, %v", n+k, err)
		}
	})
}

func TestServeEndsWithItsContext(t *testing.T) {
	entered := make(chan struct{}, 1)
	s, err := edge.New(edge.Options{
		Listeners: []edge.Listener{{Address: "127.0.0.1:0"}},
		Handler: func(w http.ResponseWriter, r *http.Request, call *rpc.Call) {
			entered <- struct{}{}
			<-r.Context().Done()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	c := dial(t, s.Addrs()[0].String())
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	<-entered
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
