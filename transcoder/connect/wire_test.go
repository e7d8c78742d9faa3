package connect_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/transomhq/transom/rpc"
	reflectcodec "github.com/transomhq/transom/transcoder/codec/reflect"
	"github.com/transomhq/transom/transcoder/connect"
	"github.com/transomhq/transom/transcoder/doortest"
)

const schema = `
syntax = "proto3";
package echo.v1;
message Note { string text = 1; int64 n = 2; }
service Echo {
  rpc Say(Note) returns (Note);
  rpc Get(Note) returns (Note) { option idempotency_level = NO_SIDE_EFFECTS; }
  rpc Fail(Note) returns (Note);
  rpc Chat(stream Note) returns (stream Note);
}`

// echo answers what it gets.
type echo struct{}

func (echo) Unary(ctx context.Context, call *rpc.Call, req *rpc.Message) (*rpc.Message, error) {
	_ = grpc.SetHeader(ctx, metadata.Pairs("x-head", "h", "x-bin", "\x01"))
	_ = grpc.SetTrailer(ctx, metadata.Pairs("x-tail", "t"))
	if strings.HasSuffix(call.Method.Name, "/Fail") {
		e := rpc.Errorf(codes.Code(2000), "no <b>").WithDetails(&errdetails.ErrorInfo{Reason: "R"}).WithCause(errors.New("secret"))
		e.Header = []string{"Retry-After", "3"}
		return nil, e
	}
	return req, req.Load()
}

func (echo) Stream(_ *rpc.Call, s grpc.ServerStream) error {
	s.SetTrailer(metadata.Pairs("x-tail", "t"))
	for {
		m := rpc.NewMessage(nil)
		if err := s.RecvMsg(m); err != nil {
			if errors.Is(err, io.EOF) {
				return rpc.Errorf(codes.OutOfRange, "enough")
			}
			return err
		}
		if err := s.SendMsg(m); err != nil {
			return err
		}
	}
}

func echoEdge(t *testing.T) *doortest.Edge {
	compiler := protocompile.Compiler{Resolver: &protocompile.SourceResolver{Accessor: protocompile.SourceAccessorFromMap(map[string]string{"e.proto": schema})}}
	files, err := compiler.Compile(t.Context(), "e.proto")
	if err != nil {
		t.Fatal(err)
	}
	door := connect.New(connect.Options{Handler: echo{}, Codec: reflectcodec.New(), MaxReceiveBytes: 1000})
	return doortest.Listen(t, false, doortest.Methods(files[0].Services().Get(0)), door.Serve)
}

func zipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(s))
	_ = z.Close()
	return b.String()
}

func envelope(flags byte, s string) string {
	return string(append(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(s))), s...))
}

type exchange struct {
	name   string
	method string // POST where empty
	path   string
	header string // "name: value" lines
	body   string

	status  int
	answer  string
	headers string // lines that the answer has
}

func TestUnaryWire(t *testing.T) {
	say, get, fail := "/echo.v1.Echo/Say", "/echo.v1.Echo/Get", "/echo.v1.Echo/Fail"
	json := "Content-Type: application/json\n"
	q := func(pairs ...string) string {
		v := url.Values{"connect": {"v1"}}
		for i := 0; i < len(pairs); i += 2 {
			v.Set(pairs[i], pairs[i+1])
		}
		return get + "?" + v.Encode()
	}
	run(t, echoEdge(t), []exchange{
		{name: "json", path: say, header: json, body: `{"text":"a","n":"5"}`, status: 200, answer: `{"text":"a","n":"5"}`, headers: "Content-Type: application/json\nX-Head: h\nX-Bin: AQ\nTrailer-X-Tail: t"},
		{name: "charset", path: say, header: "Content-Type: application/json; charset=UTF-8", body: `{}`, status: 200, answer: `{}`},
		{name: "proto", path: say, header: "Content-Type: application/proto", body: "\x0a\x01a", status: 200, answer: "\x0a\x01a", headers: "Content-Type: application/proto"},
		{name: "empty proto", path: say, header: "Content-Type: application/proto", status: 200},
		{name: "unknown member", path: say, header: json, body: `{"text":"a","more":1}`, status: 200, answer: `{"text":"a"}`},
		{name: "gzip", path: say, header: json + "Content-Encoding: gzip", body: zipped(`{"text":"a"}`), status: 200, answer: `{"text":"a"}`},
		{name: "empty gzip", path: say, header: "Content-Type: application/proto\nContent-Encoding: gzip", status: 200},
		{name: "empty json", path: say, header: json, status: 400, answer: `{"code":"invalid_argument","message":"`},
		{name: "bad json", path: say, header: json, body: `{"text":`, status: 400, answer: `{"code":"invalid_argument","message":"`},
		{name: "not gzip", path: say, header: json + "Content-Encoding: gzip", body: `{}`, status: 400, answer: `{"code":"invalid_argument"`},
		{name: "bomb", path: say, header: json + "Content-Encoding: gzip", body: zipped(strings.Repeat(" ", 1e5)), status: 429, answer: `{"code":"resource_exhausted"`},
		{name: "too large", path: say, header: json, body: strings.Repeat(" ", 1001), status: 429, answer: `{"code":"resource_exhausted","message":"the message is larger than 1000 bytes"}`},
		{name: "unknown encoding", path: say, header: json + "Content-Encoding: br", body: `{}`, status: 501, answer: `{"code":"unimplemented","message":"compression \"br\" is not supported: use gzip or identity"}`, headers: "Accept-Encoding: gzip"},
		{name: "timeout", path: say, header: json + "Connect-Timeout-Ms: 9999999999", body: `{}`, status: 200, answer: `{}`},
		{name: "bad timeout", path: say, header: json + "Connect-Timeout-Ms: -1", body: `{}`, status: 400, answer: `{"code":"invalid_argument","message":"malformed Connect-Timeout-Ms \"-1\": at most 10 digits"}`},
		{name: "long timeout", path: say, header: json + "Connect-Timeout-Ms: 12345678901", body: `{}`, status: 400, answer: `{"code":"invalid_argument"`},
		{name: "version", path: say, header: json + "Connect-Protocol-Version: 2", body: `{}`, status: 400, answer: `{"code":"invalid_argument","message":"Connect-Protocol-Version is \"2\": this is version 1"}`},
		{name: "bad metadata", path: say, header: json + "X-Bin: ?", body: `{}`, status: 400, answer: `{"code":"invalid_argument"`},
		{name: "error", path: fail, header: json, body: `{}`, status: 500, answer: `{"code":"code_2000","message":"no \u003cb\u003e","details":[{"type":"google.rpc.ErrorInfo","value":"CgFS"}]}`, headers: "Retry-After: 3\nTrailer-X-Tail: t"},
		{name: "unknown method", path: "/echo.v1.Echo/No", header: json, body: `{}`, status: 404, answer: `{"code":"unimplemented","message":"unknown method /echo.v1.Echo/No"}`},
		{name: "content type", path: say, header: "Content-Type: text/plain", body: `{}`, status: 415, headers: "Accept-Post: application/json, application/proto"},
		{name: "charset unknown", path: say, header: "Content-Type: application/json; charset=latin1", body: `{}`, status: 415},
		{name: "stream type", path: say, header: "Content-Type: application/connect+json", body: envelope(0, "{}"), status: 415},
		{name: "DELETE", method: "DELETE", path: say, header: json, status: 405, headers: "Allow: POST"},
		{name: "GET json", method: "GET", path: q("encoding", "json", "message", `{"text":"a"}`), status: 200, answer: `{"text":"a"}`, headers: "Vary: Accept-Encoding"},
		{name: "GET proto", method: "GET", path: q("encoding", "proto", "base64", "1", "message", "CgFh"), status: 200, answer: "\x0a\x01a"},
		{name: "GET padded", method: "GET", path: q("encoding", "proto", "base64", "1", "message", base64.URLEncoding.EncodeToString([]byte("\x0a\x02\xc3\xbf"))), status: 200, answer: "\x0a\x02\xc3\xbf"},
		{name: "GET gzip", method: "GET", path: q("encoding", "json", "base64", "1", "compression", "gzip", "message", base64.RawURLEncoding.EncodeToString([]byte(zipped(`{"text":"a"}`)))), status: 200, answer: `{"text":"a"}`},
		{name: "GET not base64", method: "GET", path: q("encoding", "proto", "base64", "1", "message", "?"), status: 400, answer: `{"code":"invalid_argument","message":"query parameter \"message\" is not URL-safe base64"}`},
		{name: "GET without message", method: "GET", path: q("encoding", "json"), status: 400, answer: `{"code":"invalid_argument"`},
		{name: "GET twice", method: "GET", path: q("encoding", "json", "message", "{}") + "&message={}", status: 400, answer: `{"code":"invalid_argument","message":"query parameter \"message\" is given twice"}`},
		{name: "GET with side effects", method: "GET", path: say + "?connect=v1&encoding=json&message={}", status: 405, headers: "Allow: POST"},
	})
}

func TestStreamWire(t *testing.T) {
	chat := "/echo.v1.Echo/Chat"
	json := "Content-Type: application/connect+json\n"
	end := envelope(2, `{"error":{"code":"out_of_range","message":"enough"},"metadata":{"X-Tail":["t"]}}`)
	broken := func(code, message string) string {
		return envelope(2, `{"error":{"code":"`+code+`","message":"`+message+`"},"metadata":{"X-Tail":["t"]}}`)
	}
	early := func(code, message string) string {
		return envelope(2, `{"error":{"code":"`+code+`","message":"`+message+`"}}`)
	}
	run(t, echoEdge(t), []exchange{
		{name: "json", path: chat, header: json, body: envelope(0, `{"text":"a"}`) + envelope(0, `{}`), status: 200, answer: envelope(0, `{"text":"a"}`) + envelope(0, `{}`) + end, headers: "Content-Type: application/connect+json"},
		{name: "proto", path: chat, header: "Content-Type: application/connect+proto", body: envelope(0, "\x0a\x01a"), status: 200, answer: envelope(0, "\x0a\x01a") + end},
		{name: "no messages", path: chat, header: json, status: 200, answer: end},
		{name: "gzip", path: chat, header: json + "Connect-Content-Encoding: gzip", body: envelope(1, zipped(`{"text":"a"}`)), status: 200, answer: envelope(0, `{"text":"a"}`) + end},
		{name: "end of stream by the client", path: chat, header: json, body: envelope(2, `{}`), status: 200, answer: broken("invalid_argument", "an envelope of the request has flags 0x02: only 0x01, compressed, is known")},
		{name: "cut", path: chat, header: json, body: envelope(0, `{}`)[:6], status: 200, answer: broken("invalid_argument", "the request body ends inside a message")},
		{name: "too large", path: chat, header: json, body: envelope(0, strings.Repeat(" ", 1001)), status: 200, answer: broken("resource_exhausted", "grpc: received message larger than max (1001 vs. 1000)")},
		{name: "unknown encoding", path: chat, header: json + "Connect-Content-Encoding: br", body: envelope(0, `{}`), status: 200, answer: early("unimplemented", `compression \"br\" is not supported: use gzip or identity`), headers: "Connect-Accept-Encoding: gzip"},
		{name: "bad timeout", path: chat, header: json + "Connect-Timeout-Ms: x", status: 200, answer: early("invalid_argument", `malformed Connect-Timeout-Ms \"x\": at most 10 digits`)},
		{name: "unary type", path: chat, header: "Content-Type: application/json", body: `{}`, status: 415, headers: "Accept-Post: application/connect+json, application/connect+proto"},
		{name: "unknown codec", path: chat, header: "Content-Type: application/connect+xml", status: 415},
		{name: "unknown method", path: "/a/b", header: json, status: 404},
	})
}

func run(t *testing.T, e *doortest.Edge, cases []exchange) {
	for _, http2 := range []bool{false, true} {
		client := e.Client(t, http2)
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) { c.run(t, e, client) })
		}
	}
}

func (c exchange) run(t *testing.T, e *doortest.Edge, client *http.Client) {
	if c.method == "" {
		c.method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(t.Context(), c.method, e.URL+c.path, strings.NewReader(c.body))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(strings.TrimSpace(c.header), "\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			req.Header.Set(name, value)
		}
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != c.status || !strings.HasPrefix(string(body), c.answer) || c.status == 200 && string(body) != c.answer {
		t.Errorf("HTTP %d %q, want %d %q", resp.StatusCode, body, c.status, c.answer)
	}
	for line := range strings.SplitSeq(c.headers, "\n") {
		if name, value, _ := strings.Cut(line, ": "); resp.Header.Get(name) != value {
			t.Errorf("header %s is %q, want %q", name, resp.Header.Get(name), value)
		}
	}
	if strings.Contains(string(body), "secret") {
		t.Error("the cause leaked")
	}
}

func TestIs(t *testing.T) {
	for _, c := range []struct {
		method, target, contentType, version string
		want                                 bool
	}{
		{"POST", "/", "application/connect+proto", "", true},
		{"POST", "/", "Application/Connect+json; charset=utf-8", "", true},
		{"POST", "/", "application/json", "1", true},
		{"POST", "/", "application/json", "", false},
		{"POST", "/?connect=v1", "application/json", "", false},
		{"GET", "/?connect=v1&message=", "", "", true},
		{"GET", "/?xconnect=v1", "", "", false},
		{"GET", "/?connect=v2", "", "", false},
	} {
		u, _ := url.Parse(c.target)
		r := &http.Request{Method: c.method, URL: u, Header: http.Header{"Content-Type": {c.contentType}}}
		if c.version != "" {
			r.Header.Set("Connect-Protocol-Version", c.version)
		}
		if got := connect.Is(r); got != c.want {
			t.Errorf("Is(%+v) = %v", c, got)
		}
	}
}
