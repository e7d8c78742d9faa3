package edge_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/transomhq/transom/edge"
	"github.com/transomhq/transom/rpc"
)

// BenchmarkHTTP1 is one keep-alive connection asking for a fixed answer, with
// and without the edge around net/http.
func BenchmarkHTTP1(b *testing.B) {
	answer := make([]byte, 300)
	reply := func(w http.ResponseWriter) {
		w.Header()["Content-Type"] = []string{"application/json"}
		_, _ = w.Write(answer)
	}
	b.Run("plain", func(b *testing.B) {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { reply(w) }))
		defer s.Close()
		askRaw(b, s.Listener.Addr().String())
	})
	b.Run("edge", func(b *testing.B) {
		_, addr := start(b, edge.Options{Handler: func(w http.ResponseWriter, r *http.Request, call *rpc.Call) { reply(w) }})
		askRaw(b, addr)
	})
}

func askRaw(b *testing.B, addr string) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	br := bufio.NewReader(c)
	req := []byte("GET /v1/shelves/17/books/42?view=full HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: bench/1.0 (linux)\r\n" +
		"Accept: application/json\r\nAccept-Encoding: gzip, deflate\r\nAuthorization: Bearer abcdefghijklmnopqrstuvwxyz\r\n\r\n")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(req); err != nil {
			b.Fatal(err)
		}
		for {
			line, err := br.ReadSlice('\n')
			if err != nil {
				b.Fatal(err)
			}
			if len(line) == 2 {
				break
			}
		}
		if _, err := io.CopyN(io.Discard, br, 300); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHTTP2 is the same over HTTP/2 without TLS, with net/http's client.
func BenchmarkHTTP2(b *testing.B) {
	answer := make([]byte, 300)
	ask := func(b *testing.B, url string) {
		c := client(b, true)
		b.ReportAllocs()
		for b.Loop() {
			resp, err := c.Get(url)
			if err != nil {
				b.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	}
	b.Run("plain", func(b *testing.B) {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(answer) }))
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		s.Start()
		defer s.Close()
		ask(b, s.URL)
	})
	b.Run("edge", func(b *testing.B) {
		_, addr := start(b, edge.Options{Handler: func(w http.ResponseWriter, r *http.Request, call *rpc.Call) { _, _ = w.Write(answer) }})
		ask(b, "http://"+addr)
	})
}
