package gateway_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// TestSocketHTTP2 opens a socket by extended CONNECT (RFC 8441). The HTTP/2
// server announces it only to those who ask for it in the environment that the
// process starts with, so the test runs itself again.
func TestSocketHTTP2(t *testing.T) {
	if !strings.Contains(os.Getenv("GODEBUG"), "http2xconnect=1") {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSocketHTTP2$", "-test.count=1")
		cmd.Env = append(os.Environ(), "GODEBUG=http2xconnect=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	g := startFeed(t, "", nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cc, err := (&http2.Transport{AllowHTTP: true}).NewClientConn(conn) //nolint:staticcheck // extended CONNECT on one connection
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	connect := func(path string) (*http.Response, *io.PipeWriter) {
		t.Helper()
		pr, pw := io.Pipe()
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodConnect, g.url+path, pr)
		req.Header.Set(":protocol", "websocket")
		req.Header.Set("Sec-WebSocket-Version", "13")
		req.Header.Set("Sec-WebSocket-Protocol", "transom.v1+json")
		resp, err := cc.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		return resp, pw
	}
	resp, pw := connect("/v1/chat/me")
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Sec-WebSocket-Protocol") != "transom.v1+json" {
		t.Fatalf("got %v", resp)
	}
	go func() {
		_, _ = io.WriteString(pw, f(0x81, `{"message":{"n":3}}`)+f(0x81, `{"halfClose":true}`))
	}()
	got := strings.Join(answers(t, bufio.NewReader(resp.Body), true), "\n")
	_, _ = io.WriteString(pw, closing(1000, ""))
	_ = pw.Close()
	if !strings.Contains(got, `{"message":{"name":"me","n":"3"}}`) || !strings.HasSuffix(got, "close:1000") {
		t.Errorf("got %s", got)
	}
	resp, pw = connect("/v1/nothing")
	_ = pw.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown path got %v", resp.Status)
	}
}
