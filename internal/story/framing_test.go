package story_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/transomhq/transom/internal/story"
)

// openBase serves base.proto before a backend that never answers.
func openBase(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("testdata/base.proto")
	if err != nil {
		t.Fatal(err)
	}
	backend, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = backend.Close() })
	return openGateway(story.Setup{
		T: t, Schema: story.Compile(t, map[string]string{"base.proto": string(text)}), Backend: backend.Addr().String(), Profile: "strict",
		Config: map[string]json.RawMessage{"rest": json.RawMessage(`{"max_body_bytes": 1000}`), "edge": json.RawMessage(`{"limits": {"read_timeout": "100ms"}}`)},
	})
}

// exchange sends text as it is and reads all responses until the connection ends.
func exchange(t *testing.T, addr, text string) (responses []*http.Response, bodies []string) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	for {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			return responses, bodies
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		responses, bodies = append(responses, resp), append(bodies, string(body))
		if resp.Close {
			return responses, bodies
		}
	}
}

// What two servers could read as two different requests is refused, and the
// connection closed, so that what follows is never read as a request.
func TestAmbiguousFraming(t *testing.T) {
	addr := openBase(t)
	const next = "GET /v1/x/smuggled HTTP/1.1\r\nHost: api.test\r\n\r\n"
	for name, head := range map[string]string{
		"both":               "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"two lengths":        "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
		"length list":        "Content-Length: 2, 3\r\n\r\n{}",
		"same length list":   "Content-Length: 2, 2\r\n\r\n{}",
		"signed length":      "Content-Length: +2\r\n\r\n{}",
		"hex length":         "Content-Length: 0x2\r\n\r\n{}",
		"chunked twice":      "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
		"chunked and more":   "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"identity":           "Transfer-Encoding: identity\r\n\r\n",
		"xchunked":           "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"space before colon": "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		"folded":             "X-A: b\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"vertical tab":       "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
		"two hosts":          "Host: other.test\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			got, bodies := exchange(t, addr, "POST /v1/x HTTP/1.1\r\nHost: api.test\r\n"+head+next)
			if len(got) != 1 {
				t.Fatalf("%d responses, want one and a closed connection: %q", len(got), bodies)
			}
			if c := got[0].StatusCode; c != http.StatusBadRequest && c != http.StatusNotImplemented {
				t.Errorf("status %d, body %s", c, bodies[0])
			}
			var st struct{ Code int }
			if err := json.Unmarshal([]byte(bodies[0]), &st); err != nil || st.Code == 0 {
				t.Errorf("the refusal is no google.rpc.Status: %s", bodies[0])
			}
		})
	}
}

// Whatever is refused without its body is refused before the client sends it.
func TestRefusedBeforeTheBody(t *testing.T) {
	addr := openBase(t)
	for name, c := range map[string]struct {
		line, header string
		status       int
	}{
		"unknown path":     {"POST /nowhere", "", 404},
		"wrong method":     {"DELETE /v1/search", "", 405},
		"too large":        {"POST /v1/x", "Content-Length: 1001\r\n", 413},
		"huge":             {"POST /v1/x", "Content-Length: 999999999999\r\n", 413},
		"content type":     {"POST /v1/x", "Content-Type: text/plain\r\n", 415},
		"content encoding": {"POST /v1/x", "Content-Encoding: br\r\n", 415},
		"nothing to give":  {"POST /v1/x", "Accept: text/html\r\n", 406},
		"no body wanted":   {"GET /v1/x/one", "", 400},
		"path":             {"POST /v1/rev/x", "", 400},
		"query":            {"POST /v1/x?nme=1", "", 400},
		"timeout":          {"POST /v1/x", "Grpc-Timeout: x\r\n", 400},
		"metadata":         {"POST /v1/x", "Grpc-Metadata-Blob-Bin: *\r\n", 400},
	} {
		t.Run(name, func(t *testing.T) {
			header := c.header
			if !strings.Contains(header, "Content-Length") {
				header += "Content-Length: 10\r\n"
			}
			got, bodies := exchange(t, addr, fmt.Sprintf("%s HTTP/1.1\r\nHost: api.test\r\nExpect: 100-continue\r\n%s\r\n", c.line, header))
			if len(got) != 1 || got[0].StatusCode != c.status {
				t.Fatalf("got %q, want %d at once", statuses(got), c.status)
			}
			var st struct {
				Code    int
				Message string
			}
			if err := json.Unmarshal([]byte(bodies[0]), &st); err != nil || st.Code == 0 || st.Message == "" {
				t.Errorf("the refusal is no google.rpc.Status: %s", bodies[0])
			}
		})
	}
}

// A body that does not arrive is refused with what is wrong with it.
func TestBrokenBodies(t *testing.T) {
	addr := openBase(t)
	for name, c := range map[string]struct {
		rest   string
		status int
		text   string
	}{
		"too slow":       {"Content-Length: 10\r\n\r\n{", 408, "the request body arrived too slowly"},
		"too slow, gzip": {"Content-Length: 10\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b", 408, "the request body arrived too slowly"},
		"not a chunk":    {"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", 400, ""},
		"chunk too long": {"Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n", 400, ""},
		"chunks too many": {"Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("64\r\n"+strings.Repeat(" ", 100)+"\r\n", 11), 413,
			"request body: larger than the limit of 1000 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			got, bodies := exchange(t, addr, "POST /v1/x HTTP/1.1\r\nHost: api.test\r\n"+c.rest)
			var st struct {
				Code    int
				Message string
			}
			if len(got) != 1 || got[0].StatusCode != c.status || json.Unmarshal([]byte(bodies[0]), &st) != nil || st.Code == 0 || c.text != "" && st.Message != c.text {
				t.Errorf("got %v %q, want %d %q and a closed connection", statuses(got), bodies, c.status, c.text)
			}
			t.Log(st.Message)
		})
	}
}

// A refusal costs no connection when the body has come anyway.
func TestRefusedKeepsTheConnection(t *testing.T) {
	addr := openBase(t)
	got, _ := exchange(t, addr, "POST /nowhere HTTP/1.1\r\nHost: api.test\r\nContent-Length: 2\r\n\r\n{}"+
		"POST /v1/x HTTP/1.1\r\nHost: api.test\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}"+
		"GET /nowhere HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n")
	if want := []string{"404 Not Found", "415 Unsupported Media Type", "404 Not Found"}; !slices.Equal(statuses(got), want) {
		t.Errorf("got %q, want %q", statuses(got), want)
	}
}

func statuses(all []*http.Response) (out []string) {
	for _, r := range all {
		out = append(out, r.Status)
	}
	return out
}
