package story

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// request is what a client sends.
type request struct {
	method, target string
	header         [][2]string
	body           []byte
	chunked        bool
}

// reply is what a client got.
type reply struct {
	status          int
	header, trailer http.Header
	body            []byte
}

func parseRequest(text string) (*request, error) {
	head, body, _ := strings.Cut(text, "\n\n")
	lines := strings.Split(strings.TrimRight(head, "\n"), "\n")
	r := &request{}
	var ok bool
	if r.method, r.target, ok = strings.Cut(lines[0], " "); !ok {
		return nil, fmt.Errorf("request line %q", lines[0])
	}
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("header line %q", line)
		}
		r.header = append(r.header, [2]string{name, strings.TrimPrefix(value, " ")})
	}
	return r, r.setBody(strings.TrimSuffix(body, "\n"))
}

func (r *request) setBody(text string) error {
	var directives []string
	if strings.HasPrefix(text, "@") {
		line, rest, _ := strings.Cut(text, "\n")
		directives, text = strings.Fields(line), rest
	}
	r.body = []byte(text)
	for i := 0; i < len(directives); i++ {
		var err error
		switch d := directives[i]; d {
		case "@chunked":
			r.chunked = true
		case "@base64":
			r.body, err = base64.StdEncoding.DecodeString(strings.ReplaceAll(string(r.body), "\n", ""))
		case "@repeat":
			var n int
			i++
			n, err = strconv.Atoi(directives[i])
			r.body = bytes.Repeat(r.body, n)
		case "@gzip":
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			_, _ = z.Write(r.body)
			err = z.Close()
			r.body = b.Bytes()
		case "@zstd":
			var z *zstd.Encoder
			if z, err = zstd.NewWriter(nil); err == nil {
				r.body = z.EncodeAll(r.body, nil)
			}
		default:
			err = fmt.Errorf("unknown directive %s", d)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// http1 sends r byte by byte as written, so that nothing is put right on the way.
func (r *request) http1(t testing.TB, addr string) *reply {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n", r.method, r.target)
	for _, h := range r.header {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	switch {
	case r.chunked && len(r.body) > 0:
		fmt.Fprintf(&b, "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(r.body), r.body)
	case r.chunked:
		b.WriteString("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	case len(r.body) > 0:
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(r.body), r.body)
	default:
		b.WriteString("\r\n")
	}
	sent := make(chan struct{})
	go func() { // a server may answer before it has read everything
		defer close(sent)
		_, _ = conn.Write(b.Bytes())
	}()
	defer func() { <-sent }()
	defer conn.Close()
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: r.method})
	if err != nil {
		t.Fatal(err)
	}
	return read(t, resp)
}

// http2 sends r over HTTP/2 without TLS. ok is false when it cannot be said there.
func (r *request) http2(t testing.TB, addr string) (*reply, bool) {
	t.Helper()
	u, err := url.ParseRequestURI(r.target)
	if err != nil {
		return nil, false
	}
	u.Scheme, u.Host = "http", addr
	var body io.Reader
	if len(r.body) > 0 {
		body = bytes.NewReader(r.body)
		if r.chunked {
			body = struct{ io.Reader }{body}
		}
	}
	req := (&http.Request{Method: r.method, URL: u, Host: "api.test", Header: http.Header{"User-Agent": nil}}).WithContext(context.WithoutCancel(t.Context()))
	if body != nil {
		req.Body = io.NopCloser(body)
		req.ContentLength = int64(len(r.body))
		if r.chunked {
			req.ContentLength = -1
		}
	}
	for _, h := range r.header {
		req.Header.Add(h[0], h[1])
	}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: &protocols, DisableCompression: true}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, resp), true
}

func read(t testing.TB, resp *http.Response) *reply {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	out := &reply{status: resp.StatusCode, header: resp.Header, trailer: resp.Trailer, body: body}
	if out.header.Get("Content-Encoding") == "gzip" && len(body) > 0 {
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if out.body, err = io.ReadAll(z); err != nil {
			t.Fatal(err)
		}
	}
	return out
}
