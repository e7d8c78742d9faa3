package story_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/transomhq/transom/internal/story"
	"github.com/transomhq/transom/rpc"
)

// streamsProto is a service with a method of each kind of stream.
const streamsProto = `
syntax = "proto3";
package story.v1;
import "google/api/annotations.proto";
import "google/api/httpbody.proto";
message Event { uint64 sequence = 1; string text = 2; Place at = 3; }
message Place { string city = 1; }
message Want { string topic = 1; uint64 after = 2; int32 count = 3; int32 code = 4; bool hold = 5; bool header = 6; string text = 7; int32 pace_us = 8; }
message Sum { int64 messages = 1; uint64 sequence = 2; string texts = 3; int64 bytes = 4; string type = 5; }
service Streams {
  rpc Watch(Want) returns (stream Event) {
    option (google.api.http) = {
      get: "/v1/watch/{topic}"
      additional_bindings { post: "/v1/watch" body: "*" }
      additional_bindings { get: "/v1/texts/{topic}" response_body: "text" }
      additional_bindings { get: "/v1/places/{topic}" response_body: "at" }
      additional_bindings { get: "/v1/since/{after}/{topic}" }
    };
  }
  rpc Collect(stream Event) returns (Sum) {
    option (google.api.http) = {
      post: "/v1/collect" body: "*"
      additional_bindings { post: "/v1/collect/{sequence}" body: "*" }
      additional_bindings { post: "/v1/texts" body: "text" }
      additional_bindings { get: "/v1/collected/{text}" }
    };
  }
  rpc Talk(stream Event) returns (stream Event) {
    option (google.api.http) = { post: "/v1/talk" body: "*" };
  }
  rpc Download(Want) returns (stream google.api.HttpBody) {
    option (google.api.http) = { get: "/v1/download/{topic}" };
  }
  rpc Upload(stream google.api.HttpBody) returns (Sum) {
    option (google.api.http) = { post: "/v1/upload" body: "*" };
  }
  rpc Pipe(stream google.api.HttpBody) returns (stream google.api.HttpBody) {
    option (google.api.http) = { post: "/v1/pipe" body: "*" };
  }
}
`

// streams is a backend of streamsProto.
type streams struct {
	schema   *story.Schema
	addr     string
	canceled chan struct{} // gets one for each call whose caller went away
	called   chan string   // gets the name of each call
	over     chan struct{} // gets one for each stream whose events are all sent
	stop     func()        // kills the server with all its streams
}

func startStreams(t testing.TB, schema *story.Schema, addr string) *streams {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	b := &streams{schema: schema, addr: l.Addr().String(), canceled: make(chan struct{}, 100), called: make(chan string, 1000), over: make(chan struct{}, 1000)}
	srv := grpc.NewServer(grpc.UnknownServiceHandler(b.serve), grpc.ForceServerCodecV2(rpc.Codec{}))
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	b.stop = func() { srv.Stop(); <-done }
	t.Cleanup(b.stop)
	return b
}

func (b *streams) message(name string) *dynamicpb.Message {
	d, err := b.schema.Files.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		panic(err)
	}
	return dynamicpb.NewMessage(d.(protoreflect.MessageDescriptor))
}

// send sends m in the order of its field numbers.
func send(ss grpc.ServerStream, m proto.Message) error {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return err
	}
	out := rpc.NewMessage(m.ProtoReflect().Descriptor())
	out.SetBytes(b)
	return ss.SendMsg(out)
}

func value(m protoreflect.Message, name string) protoreflect.Value {
	return m.Get(m.Descriptor().Fields().ByName(protoreflect.Name(name)))
}

func put(m protoreflect.Message, name string, v any) {
	m.Set(m.Descriptor().Fields().ByName(protoreflect.Name(name)), protoreflect.ValueOf(v))
}

func (b *streams) serve(_ any, ss grpc.ServerStream) error {
	name, _ := grpc.Method(ss.Context())
	b.called <- name
	ss.SetTrailer(metadata.Pairs("seen", "all"))
	switch name[strings.LastIndexByte(name, '/')+1:] {
	case "Watch":
		return b.watch(ss, func(n uint64, text string) error {
			e := b.message("story.v1.Event")
			put(e, "sequence", n)
			put(e, "text", text)
			put(e.Mutable(e.Descriptor().Fields().ByName("at")).Message(), "city", "Utrecht")
			return send(ss, e)
		})
	case "Download":
		return b.watch(ss, func(_ uint64, text string) error {
			body := b.message("google.api.HttpBody")
			put(body, "content_type", "text/x-pieces")
			put(body, "data", []byte(text))
			return send(ss, body)
		})
	case "Collect":
		return b.collect(ss)
	case "Talk":
		return b.echo(ss, "story.v1.Event")
	case "Pipe":
		return b.echo(ss, "google.api.HttpBody")
	}
	return b.upload(ss)
}

func (b *streams) watch(ss grpc.ServerStream, send func(uint64, string) error) error {
	want := b.message("story.v1.Want")
	if err := ss.RecvMsg(want); err != nil {
		return err
	}
	if value(want, "header").Bool() {
		if err := ss.SendHeader(metadata.Pairs("etag", "e")); err != nil {
			return err
		}
	}
	after, text := value(want, "after").Uint(), value(want, "text").String()
	for n := after + 1; n <= after+uint64(value(want, "count").Int()); n++ {
		time.Sleep(time.Duration(value(want, "pace_us").Int()) * time.Microsecond)
		if err := send(n, fmt.Sprintf("%s %d%s", value(want, "topic").String(), n, text)); err != nil {
			b.over <- struct{}{}
			return err
		}
	}
	b.over <- struct{}{}
	if value(want, "hold").Bool() {
		<-ss.Context().Done()
		b.canceled <- struct{}{}
		return ss.Context().Err()
	}
	if code := value(want, "code").Int(); code != 0 {
		return status.Error(codes.Code(code), "it is over")
	}
	return nil
}

func (b *streams) collect(ss grpc.ServerStream) error {
	sum := b.message("story.v1.Sum")
	var texts []string
	var n int64
	var sequence uint64
	for {
		e := b.message("story.v1.Event")
		err := ss.RecvMsg(e)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			b.canceled <- struct{}{}
			return err
		}
		n++
		sequence += value(e, "sequence").Uint()
		texts = append(texts, value(e, "text").String())
	}
	put(sum, "messages", n)
	put(sum, "sequence", sequence)
	put(sum, "texts", strings.Join(texts, "|"))
	return send(ss, sum)
}

func (b *streams) echo(ss grpc.ServerStream, name string) error {
	for {
		m := b.message(name)
		if err := ss.RecvMsg(m); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if m.Descriptor().FullName() == "story.v1.Event" && value(m, "text").String() == "fail" {
			return status.Error(codes.Aborted, "as you say")
		}
		if err := send(ss, m); err != nil {
			return err
		}
	}
}

func (b *streams) upload(ss grpc.ServerStream) error {
	sum := b.message("story.v1.Sum")
	var n, bytes int64
	kind := ""
	body := b.message("google.api.HttpBody")
	for {
		body.Reset()
		if err := ss.RecvMsg(body); err != nil {
			if errors.Is(err, io.EOF) {
				break
			}
			return err
		}
		n++
		bytes += int64(len(value(body, "data").Bytes()))
		kind += value(body, "content_type").String()
	}
	put(sum, "bytes", bytes)
	put(sum, "type", kind)
	return send(ss, sum)
}

// streamWorld is a gateway in front of a backend of streamsProto.
type streamWorld struct {
	*streams
	addr    string // the gateway's
	url     string
	clients map[string]*http.Client
}

func newStreamWorld(t testing.TB, profile, config string) *streamWorld {
	return newStreamWorldOf(t, profile, config, nil)
}

func newStreamWorldOf(t testing.TB, profile, config string, more map[string]json.RawMessage) *streamWorld {
	t.Helper()
	schema := story.Compile(t, map[string]string{"streams.proto": streamsProto})
	b := startStreams(t, schema, "127.0.0.1:0")
	setup := story.Setup{T: t, Schema: schema, Backend: b.addr, Profile: profile}
	if config == "" {
		config = `[{"selectors": ["story.v1.Streams.Watch"], "policy": {"streams": {"cursor": {"event_field": "sequence", "request_field": "after"}, "heartbeat": "0.02s"}}}]`
	}
	setup.Config = map[string]json.RawMessage{"policies": json.RawMessage(config)}
	maps.Copy(setup.Config, more)
	w := &streamWorld{streams: b, clients: map[string]*http.Client{}}
	w.addr = openGateway(setup)
	w.url = "http://" + w.addr
	for name, set := range map[string]func(*http.Protocols){
		"HTTP/1.1": func(p *http.Protocols) { p.SetHTTP1(true) },
		"HTTP/2":   func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	} {
		var p http.Protocols
		set(&p)
		tr := &http.Transport{Protocols: &p, DisableCompression: true}
		t.Cleanup(tr.CloseIdleConnections)
		w.clients[name] = &http.Client{Transport: tr}
	}
	return w
}

// each runs f over HTTP/1.1 and HTTP/2.
func (w *streamWorld) each(t *testing.T, f func(t *testing.T, c *http.Client)) {
	for name, c := range w.clients {
		t.Run(name, func(t *testing.T) { f(t, c) })
	}
}

// do makes a request; header is "Name: value" lines.
func (w *streamWorld) do(t testing.TB, c *http.Client, method, path, header string, body io.Reader) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, w.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(header) {
		name, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		req.Header.Add(name, v)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// The same method in every form tells the same events.
func TestFormsOfServerStreams(t *testing.T) {
	const first, second = `{"sequence":"1","text":"a 1","at":{"city":"Utrecht"}}`, `{"sequence":"2","text":"a 2","at":{"city":"Utrecht"}}`
	var delimited []byte
	for n, text := range []string{"a 1", "a 2"} {
		var m []byte
		m = protowire.AppendVarint(protowire.AppendTag(m, 1, protowire.VarintType), uint64(n+1))
		m = protowire.AppendString(protowire.AppendTag(m, 2, protowire.BytesType), text)
		m = protowire.AppendString(protowire.AppendTag(m, 3, protowire.BytesType), "\n\aUtrecht")
		delimited = protowire.AppendBytes(delimited, m)
	}
	lines := first + "\n" + second + "\n"
	events := "retry: 2000\n\nid: 1\ndata: " + first + "\n\nid: 2\ndata: " + second + "\n\nevent: end\ndata: {\"trailer\":{\"seen\":[\"all\"]}}\n\n"
	array := "[" + first + "," + second + "]"
	gatewayLines := `{"result":` + first + "}\n" + `{"result":` + second + "}\n"
	for _, tt := range []struct{ profile, path, accept, media, body string }{
		{"strict", "/v1/watch/a?count=2", "", "application/x-ndjson", lines},
		{"strict", "/v1/watch/a?count=2", "*/*", "application/x-ndjson", lines},
		{"strict", "/v1/watch/a?count=2", "text/html, application/xhtml+xml;q=0.9, */*;q=0.8", "application/x-ndjson", lines},
		{"strict", "/v1/watch/a?count=2", "application/x-ndjson", "application/x-ndjson", lines},
		{"strict", "/v1/watch/a?count=2", "application/jsonl", "application/jsonl", lines},
		{"strict", "/v1/watch/a?count=2", "text/event-stream", "text/event-stream", events},
		{"strict", "/v1/watch/a?count=2", "application/json;q=0.5, text/event-stream", "text/event-stream", events},
		{"strict", "/v1/watch/a?count=2", "application/json", "application/json", array},
		{"strict", "/v1/watch/a?count=2", "application/x-protobuf", "application/x-protobuf", string(delimited)},
		{"strict", "/v1/watch/a?count=2", "text/plain", "application/json", `{"code":3,"message":"Accept: this method answers application/x-ndjson, text/event-stream or application/json or application/x-protobuf"}`},
		{"strict", "/v1/texts/a?count=2", "", "application/x-ndjson", "\"a 1\"\n\"a 2\"\n"},
		{"strict", "/v1/texts/a?count=2&text=%0Ax", "text/event-stream", "text/event-stream",
			"retry: 2000\n\nid: 1\ndata: \"a 1\\nx\"\n\nid: 2\ndata: \"a 2\\nx\"\n\nevent: end\ndata: {\"trailer\":{\"seen\":[\"all\"]}}\n\n"},
		{"strict", "/v1/places/a?count=2", "application/x-protobuf", "application/x-protobuf", "\x09\n\aUtrecht\x09\n\aUtrecht"},
		{"strict", "/v1/places/a?count=1", "application/json", "application/json", `[{"city":"Utrecht"}]`},
		{"strict", "/v1/watch/a", "", "application/x-ndjson", ""},
		{"strict", "/v1/watch/a", "application/json", "application/json", "[]"},
		{"strict", "/v1/download/a?count=3", "application/json", "text/x-pieces", "a 1a 2a 3"},
		{"grpc-gateway", "/v1/watch/a?count=2", "", "application/json", gatewayLines},
		{"grpc-gateway", "/v1/watch/a?count=2", "text/plain", "application/json", gatewayLines},
		{"grpc-gateway", "/v1/watch/a?count=2", "application/x-ndjson", "application/x-ndjson", gatewayLines},
		{"grpc-gateway", "/v1/watch/a?count=2", "text/event-stream", "text/event-stream", events},
		{"grpc-gateway", "/v1/texts/a?count=1", "", "application/json", `{"result":"a 1"}` + "\n"},
		{"envoy", "/v1/watch/a?count=2", "", "application/json", array},
	} {
		t.Run(tt.profile+" "+tt.path+" "+tt.accept, func(t *testing.T) {
			w := newStreamWorld(t, tt.profile, "")
			w.each(t, func(t *testing.T, c *http.Client) {
				header := ""
				if tt.accept != "" {
					header = "Accept: " + tt.accept
				}
				resp := w.do(t, c, "GET", tt.path, header, nil)
				body, err := io.ReadAll(resp.Body)
				if err != nil || string(body) != tt.body {
					t.Errorf("%v\n%q, want\n%q", err, body, tt.body)
				}
				if got := resp.Header.Get("Content-Type"); got != tt.media {
					t.Errorf("Content-Type %q, want %q", got, tt.media)
				}
			})
		})
	}
}

func TestStreamsThatFail(t *testing.T) {
	w := newStreamWorld(t, "strict", "")
	w.each(t, func(t *testing.T, c *http.Client) {
		for _, tt := range []struct {
			path, header string
			status       int
			end          string // "" for an answer that is broken off
		}{
			{"/v1/watch/a?count=2&code=10", "", 200, "\n" + `{"error":{"code":10,"message":"it is over"}}` + "\n"},
			{"/v1/watch/a?count=2&code=10", "Accept: text/event-stream", 200, "\n\nevent: error\ndata: " + `{"code":10,"message":"it is over"}` + "\n\n"},
			{"/v1/watch/a?count=2&code=10", "Accept: application/json", 200, ""},
			{"/v1/watch/a?count=2&code=10", "Accept: application/x-protobuf", 200, ""},
			{"/v1/download/a?count=2&code=10", "", 200, ""},
			{"/v1/watch/a?code=10", "Accept: text/event-stream", 409, `{"code":10,"message":"it is over"}`},
			{"/v1/watch/a?code=5", "", 404, `{"code":5,"message":"it is over"}`},
			{"/v1/download/a?code=5", "", 404, `{"code":5,"message":"it is over"}`},
			{"/v1/watch/a?count=x", "", 400, `}`},
			{"/v1/watch/a?hold=true&count=1", "Grpc-Timeout: 300m", 200, "\n" + `{"error":{"code":4,"message":"deadline exceeded"}}` + "\n"},
		} {
			resp := w.do(t, c, "GET", tt.path, tt.header, nil)
			body, err := io.ReadAll(resp.Body)
			if tt.end == "" && err == nil {
				t.Errorf("%s %s: a failed stream looks complete: %q", tt.path, tt.header, body)
			}
			if tt.end != "" && (err != nil || !strings.HasSuffix(string(body), tt.end)) {
				t.Errorf("%s %s: %v, %q does not end with %q", tt.path, tt.header, err, body, tt.end)
			}
			if resp.StatusCode != tt.status {
				t.Errorf("%s %s: status %d, want %d", tt.path, tt.header, resp.StatusCode, tt.status)
			}
		}
	})
}

// grpc-gateway shows an error before the first message with its status, and
// wrapped as in the stream; one of the request itself as it is.
func TestStreamsThatFailAsGRPCGateway(t *testing.T) {
	w := newStreamWorld(t, "grpc-gateway", "")
	for path, want := range map[string]string{
		"/v1/watch/a?code=5":         `404 {"error":{"code":5,"message":"it is over","details":[]}}` + "\n",
		"/v1/watch/a?count=1&code=5": `200 {"result":{"sequence":"1","text":"a 1","at":{"city":"Utrecht"}}}` + "\n" + `{"error":{"code":5,"message":"it is over","details":[]}}` + "\n",
	} {
		resp := w.do(t, w.clients["HTTP/1.1"], "GET", path, "", nil)
		body, err := io.ReadAll(resp.Body)
		if got := fmt.Sprintf("%d %s", resp.StatusCode, body); err != nil || got != want {
			t.Errorf("%s: %v, %q, want %q", path, err, got, want)
		}
	}
}

func TestTrailersOfStreams(t *testing.T) {
	w := newStreamWorld(t, "strict", "")
	w.each(t, func(t *testing.T, c *http.Client) {
		resp := w.do(t, c, "GET", "/v1/watch/a?count=1&code=10", "TE: trailers", nil)
		_, _ = io.Copy(io.Discard, resp.Body)
		if got := resp.Trailer; got.Get("Grpc-Trailer-Seen") != "all" || got.Get("Grpc-Status") != "10" || got.Get("Grpc-Message") != "it is over" {
			t.Errorf("trailer %v", got)
		}
		resp = w.do(t, c, "GET", "/v1/watch/a?count=1", "", nil)
		_, _ = io.Copy(io.Discard, resp.Body)
		if len(resp.Trailer) > 0 {
			t.Errorf("trailer %v, and nobody asked", resp.Trailer)
		}
	})
}

// A header goes out before the first message, the backend's own if it sends one.
func TestStreamHeadersGoOutAtOnce(t *testing.T) {
	w := newStreamWorld(t, "strict", "")
	w.each(t, func(t *testing.T, c *http.Client) {
		for path, etag := range map[string]string{"/v1/watch/a?hold=true&header=true": "e", "/v1/watch/a?hold=true": ""} {
			resp := w.do(t, c, "GET", path, "", nil)
			if resp.StatusCode != 200 || resp.Header.Get("ETag") != etag {
				t.Errorf("%s: %d %v", path, resp.StatusCode, resp.Header)
			}
			_ = resp.Body.Close()
			<-w.canceled // the backend learns that the client went away
		}
		resp := w.do(t, c, "HEAD", "/v1/watch/a?hold=true&header=true", "", nil)
		if resp.StatusCode != 200 || resp.Header.Get("ETag") != "e" || resp.Header.Get("Content-Type") != "application/x-ndjson" {
			t.Errorf("HEAD: %d %v", resp.StatusCode, resp.Header)
		}
		<-w.canceled
	})
}

func TestServerSentEvents(t *testing.T) {
	w := newStreamWorld(t, "strict", "")
	w.each(t, func(t *testing.T, c *http.Client) {
		const sse = "Accept: text/event-stream\n"
		for _, tt := range []struct {
			path, header string
			status       int
			has, hasNot  string
		}{
			{"/v1/watch/a?count=2", "Last-Event-ID: 7", 200, "id: 8\n", "id: 1\n"},
			{"/v1/watch/a?count=2&after=3", "Last-Event-ID: 7", 200, "id: 8\n", "id: 4\n"}, // an EventSource repeats its URL
			{"/v1/watch/a?count=2", "Last-Event-ID: x", 400, "Last-Event-ID", "data:"},
			{"/v1/watch/a?count=2", "Last-Event-ID: ", 200, "id: 1\n", ""},
			{"/v1/watch/a", "Last-Event-ID: 7", 204, "", "data"},
			{"/v1/since/3/a?count=2", "Last-Event-ID: 7", 200, "id: 4\n", "id: 8\n"}, // what the path says stands
		} {
			resp := w.do(t, c, "GET", tt.path, sse+tt.header, nil)
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != tt.status || !strings.Contains(string(body), tt.has) || tt.hasNot != "" && strings.Contains(string(body), tt.hasNot) {
				t.Errorf("%s %s: %d %v %q", tt.path, tt.header, resp.StatusCode, err, body)
			}
		}
		resp := w.do(t, c, "GET", "/v1/watch/a?count=1&hold=true", sse, nil)
		if resp.Header.Get("Cache-Control") != "no-cache" {
			t.Errorf("header %v", resp.Header)
		}
		r := bufio.NewReader(resp.Body)
		for beats := 0; beats < 3; {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if line == ":\n" {
				beats++
			}
		}
	})
}

func TestFormsOfClientStreams(t *testing.T) {
	w := newStreamWorld(t, "strict", "")
	message := func(n uint64, text string) []byte {
		m := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), n)
		return protowire.AppendBytes(nil, protowire.AppendString(protowire.AppendTag(m, 2, protowire.BytesType), text))
	}
	delimited := string(message(1, "a")) + string(message(2, "b"))
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write([]byte(`{"sequence":1,"text":"a"}` + "\n" + `{"sequence":2,"text":"b"}`))
	_ = z.Close()
	const both = `{"messages":"2","sequence":"3","texts":"a|b"}`
	tests := []struct{ path, header, body, want string }{
		{"/v1/collect", "Content-Type: application/x-ndjson", `{"sequence":1,"text":"a"}` + "\n\n" + `{"sequence":2,"text":"b"}` + "\r\n", both},
		{"/v1/collect", "Content-Type: application/x-ndjson\nContent-Encoding: gzip", zipped.String(), both},
		{"/v1/collect", "Content-Type: application/json", `[{"sequence":1,"text":"a"} , {"sequence":2,"text":"b"}]`, both},
		{"/v1/collect", "", `{"sequence":1,"text":"a"} {"sequence":2,"text":"b"}`, both},
		{"/v1/collect", "Content-Type: application/json", "{\n\"sequence\":1,\n\"text\":\"a\"}{\"sequence\":2,\"text\":\"b\"}", both},
		{"/v1/collect", "Content-Type: application/x-protobuf", delimited, both},
		{"/v1/collect", "Content-Type: application/json", `[]`, `{}`},
		{"/v1/collect", "Content-Type: application/json", ``, `{}`},
		{"/v1/collect", "Content-Type: application/x-ndjson", `{}`, `{"messages":"1"}`},
		{"/v1/collect/5", "Content-Type: application/x-ndjson", `{"text":"a"}` + "\n" + `{"sequence":5,"text":"b"}`, `{"messages":"2","sequence":"10","texts":"a|b"}`},
		{"/v1/collect/5", "Content-Type: application/x-ndjson", `{"text":"a"}` + "\n" + `{"sequence":6,"text":"b"}`, `400 message 2: request body: the path binds field "sequence"`},
		{"/v1/texts?sequence=4", "Content-Type: application/x-ndjson", `"a"` + "\n" + `"b"`, `{"messages":"2","sequence":"8","texts":"a|b"}`},
		{"/v1/collect", "Content-Type: application/x-ndjson", `{"text":"a"}` + "\n" + `{"text":` + "\n", `400 message 2: `},
		{"/v1/collect", "Content-Type: application/json", `[{"text":"a"},]`, `400 message 2: request body: it is not a JSON array`},
		{"/v1/collect", "Content-Type: application/json", `[{"text":"a"}`, `400 message 2: request body: it ends before its array does`},
		{"/v1/collect", "Content-Type: application/json", `[{"text":"a"}]x`, `400 message 2: request body: something follows the array`},
		{"/v1/collect", "Content-Type: application/json", `{"text":"a`, `400 message 1: request body: it ends inside a value`},
		{"/v1/collect", "Content-Type: application/x-protobuf", delimited[:len(delimited)-1], `400 message 2: request body: it ends inside a message`},
		{"/v1/collect", "Content-Type: application/x-protobuf", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", `400 message 1: request body: a length is not a varint`},
		{"/v1/collect", "Content-Type: application/x-protobuf", "\xff\xff\xff\xff\x0f", `413 message 1: `},
		{"/v1/collect", "Content-Type: application/x-ndjson", `{"text":"` + strings.Repeat("a", 5<<20) + `"}`, `413 message 1: request body: a message is larger`},
		{"/v1/collect", "Content-Type: application/x-ndjson\nContent-Encoding: gzip", "no", `400 message 1: request body: not valid gzip`},
		{"/v1/collect", "Content-Type: text/csv", `a`, `415 request body: its Content-Type is not supported`},
		{"/v1/upload", "Content-Type: image/png", "0123456789", `{"bytes":"10","type":"image/png"}`},
		{"/v1/upload", "Content-Type: image/png", "", `{"type":"image/png"}`},
	}
	w.each(t, func(t *testing.T, c *http.Client) {
		for _, tt := range tests {
			resp := w.do(t, c, "POST", tt.path, tt.header, strings.NewReader(tt.body))
			text, err := io.ReadAll(resp.Body)
			got := string(text)
			if resp.StatusCode != 200 {
				var e struct{ Message string }
				_ = json.Unmarshal(text, &e)
				got = fmt.Sprintf("%d %s", resp.StatusCode, e.Message)
			}
			if err != nil || !strings.HasPrefix(got, tt.want) {
				t.Errorf("%s %s %.60q: %v, %s, want %s", tt.path, tt.header, tt.body, err, got, tt.want)
			}
		}
		resp := w.do(t, c, "GET", "/v1/collected/x", "", nil)
		if text, _ := io.ReadAll(resp.Body); string(text) != `{"messages":"1","texts":"x"}` {
			t.Errorf("the URL alone: %s", text)
		}
	})
}

// Both sides talk in turns over one request.
func TestBidirectionalStreams(t *testing.T) {
	w := newStreamWorld(t, "strict", "")
	w.each(t, func(t *testing.T, c *http.Client) {
		r, body := io.Pipe()
		resp := w.do(t, c, "POST", "/v1/talk", "Content-Type: application/x-ndjson", r)
		lines := bufio.NewReader(resp.Body)
		for n := range 5 {
			if _, err := fmt.Fprintf(body, `{"text":"%d"}`+"\n", n); err != nil {
				t.Fatal(err)
			}
			line, err := lines.ReadString('\n')
			if want := fmt.Sprintf(`{"text":"%d"}`+"\n", n); err != nil || line != want {
				t.Fatalf("%v %q, want %q", err, line, want)
			}
		}
		_ = body.Close()
		if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
			t.Errorf("%v %q", err, rest)
		}
		resp = w.do(t, c, "POST", "/v1/talk", "Content-Type: application/x-ndjson", strings.NewReader(`{"text":"a"}{"text":"fail"}{"text":"b"}`))
		if text, _ := io.ReadAll(resp.Body); string(text) != `{"text":"a"}`+"\n"+`{"error":{"code":10,"message":"as you say"}}`+"\n" {
			t.Errorf("%q", text)
		}
		resp = w.do(t, c, "POST", "/v1/talk", "Content-Type: application/json\nAccept: application/json", strings.NewReader(`[{"text":"a"},{"text":"b"}]`))
		if text, _ := io.ReadAll(resp.Body); string(text) != `[{"text":"a"},{"text":"b"}]` {
			t.Errorf("%q", text)
		}
	})
}

// noise is n bytes that do not repeat soon.
type noise struct{ at, n int64 }

func (r *noise) Read(p []byte) (int, error) {
	if r.at >= r.n {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), r.n-r.at)]
	for i := range p {
		p[i] = byte(r.at>>13 + r.at)
		r.at++
	}
	return len(p), nil
}

func TestRawStreamsAreByteExact(t *testing.T) {
	w := newStreamWorld(t, "strict", "")
	w.each(t, func(t *testing.T, c *http.Client) {
		const size = 8 << 20
		resp := w.do(t, c, "POST", "/v1/pipe", "Content-Type: application/octet-stream", io.NopCloser(&noise{n: size}))
		want := &noise{n: size}
		got, exp := make([]byte, 64<<10), make([]byte, 64<<10)
		for {
			n, err := io.ReadFull(resp.Body, got)
			m, _ := io.ReadFull(want, exp)
			if !bytes.Equal(got[:n], exp[:m]) {
				t.Fatal("other bytes came back")
			}
			if err != nil {
				break
			}
		}
		if want.at != size {
			t.Errorf("%d bytes came back", want.at)
		}
	})
}

func TestLargeUploadsTakeNoMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("a gigabyte takes a while")
	}
	w := newStreamWorld(t, "strict", "")
	stop, most := make(chan struct{}), make(chan uint64)
	go func() {
		var peak uint64
		for {
			select {
			case <-stop:
				most <- peak
				return
			case <-time.After(20 * time.Millisecond):
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapAlloc)
			}
		}
	}()
	const size = 1 << 30
	req, err := http.NewRequestWithContext(context.Background(), "POST", w.url+"/v1/upload", &noise{n: size})
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = size
	req.Header.Set("Content-Type", "video/mp4")
	resp, err := w.clients["HTTP/1.1"].Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	close(stop)
	peak := <-most
	if string(text) != `{"bytes":"1073741824","type":"video/mp4"}` {
		t.Errorf("%s", text)
	}
	t.Logf("heap of client, gateway and backend together: at most %d MB", peak>>20)
	if peak > 150<<20 {
		t.Errorf("the heap grew to %d MB", peak>>20)
	}
}
