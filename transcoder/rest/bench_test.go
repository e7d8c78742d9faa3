package rest_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/rest"
)

// sink is a response that nobody reads.
type sink struct {
	header http.Header
	status int
	n      int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(p []byte) (int, error) { s.n += len(p); return len(p), nil }

// BenchmarkDoor is the door alone: router, request to wire, a fixed answer to JSON.
func BenchmarkDoor(b *testing.B) {
	answer := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "the name of something, of some length")
	for _, c := range []struct {
		name, method, path, query string
		body                      []byte
	}{
		{"get", "GET", "/v1/x/one", "", nil},
		{"get query", "GET", "/v1/x/one", "name=a+name&rev=5&sub.n=3&tag=a&tag=b", nil},
		{"post", "POST", "/v1/x/one", "", []byte(`{"name": "a name", "rev": "5", "sub": {"n": 3}, "tag": ["a", "b"]}`)},
		{"patch", "PATCH", "/v1/by/one", "", []byte(`{"size": 5, "sub": {"n": 3}, "tag": ["a", "b"]}`)},
		{"refused", "GET", "/v1/x/one", "nme=1", nil},
	} {
		b.Run(c.name, func(b *testing.B) {
			w := newWorld(b, rest.Options{})
			w.handle = func(call *rpc.Call, _ *rpc.Message) (*rpc.Message, error) {
				m := rpc.NewMessage(call.Method.Desc.Output())
				m.SetBytes(answer)
				return m, nil
			}
			r := request(c.method, c.path, c.query, "", nil)
			r.RemoteAddr = "192.0.2.1:1234"
			r.Header["User-Agent"] = []string{"bench"}
			r.Header["Accept"] = []string{"application/json"}
			r.Header["Authorization"] = []string{"Bearer token"}
			body := bytes.NewReader(c.body)
			if c.body != nil {
				r.Header["Content-Type"] = []string{"application/json"}
				r.Body, r.ContentLength = io.NopCloser(body), int64(len(c.body))
			}
			out := &sink{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(out.header)
				body.Reset(c.body)
				w.ServeHTTP(out, r)
			}
			if want := http.StatusOK; c.name != "refused" && out.status != want {
				b.Fatal(out.status)
			}
		})
	}
}
