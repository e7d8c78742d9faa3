package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/transomhq/transom/config"
	"github.com/transomhq/transom/gateway"
	websocketv1 "github.com/transomhq/transom/gen/transom/websocket/v1"
	"github.com/transomhq/transom/rpc"
)

// feed has a method of every kind.
const feed = `
syntax = "proto3";
package test.v1;
import "google/api/annotations.proto";
import "google/api/httpbody.proto";
service Feed {
  rpc Get(Item) returns (Item) { option (google.api.http) = {get: "/v1/items/{name}"}; }
  rpc Echo(Item) returns (Item) { option (google.api.http) = {post: "/v1/items/{name}:echo" body: "*"}; }
  rpc Watch(Item) returns (stream Item) { option (google.api.http) = {get: "/v1/items/{name}:watch"}; }
  rpc Collect(stream Item) returns (Item) { option (google.api.http) = {post: "/v1/items:collect" body: "*"}; }
  rpc Chat(stream Item) returns (stream Item) { option (google.api.http) = {post: "/v1/chat/{name}" body: "*"}; }
  rpc Pipe(stream google.api.HttpBody) returns (stream google.api.HttpBody) { option (google.api.http) = {post: "/v1/pipe" body: "*"}; }
}
message Item { string name = 1; int64 n = 2; string who = 3; }
`

// item is test.v1.Item in wire format.
func item(name string, n int64, who string) []byte {
	b := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), name)
	b = protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), uint64(n))
	return protowire.AppendString(protowire.AppendTag(b, 3, protowire.BytesType), who)
}

func parseItem(b []byte) (name string, n int64) {
	for len(b) > 0 {
		num, typ, k := protowire.ConsumeTag(b)
		b = b[k:]
		switch {
		case num == 1:
			name, k = protowire.ConsumeString(b)
		case num == 2:
			var v uint64
			v, k = protowire.ConsumeVarint(b)
			n = int64(v)
		default:
			k = protowire.ConsumeFieldValue(num, typ, b)
		}
		b = b[k:]
	}
	return name, n
}

// feedBackend serves Feed without decoding anything. ended gets the method of
// every call that ends by its client's cancellation.
func feedBackend(t testing.TB, ended chan<- string) string {
	srv := grpc.NewServer(grpc.ForceServerCodecV2(rpc.Codec{}), grpc.UnknownServiceHandler(func(_ any, ss grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(ss)
		err := serveFeed(method, ss)
		if errors.Is(ss.Context().Err(), context.Canceled) && ended != nil {
			ended <- method
		}
		return err
	}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Stop(); <-done })
	return l.Addr().String()
}

func serveFeed(method string, ss grpc.ServerStream) error {
	recv := func() ([]byte, error) {
		m := rpc.NewMessage((&emptypb.Empty{}).ProtoReflect().Descriptor())
		if err := ss.RecvMsg(m); err != nil {
			return nil, err
		}
		b, err := m.Bytes()
		return bytes.Clone(b), err
	}
	send := func(b []byte) error {
		m := rpc.NewMessage((&emptypb.Empty{}).ProtoReflect().Descriptor())
		m.SetBytes(b)
		return ss.SendMsg(m)
	}
	md, _ := metadata.FromIncomingContext(ss.Context())
	who := strings.Join(md.Get("authorization"), ",")
	if err := ss.SendHeader(metadata.Pairs("x-first", "1")); err != nil {
		return err
	}
	ss.SetTrailer(metadata.Pairs("x-last", "2"))
	var total int64
	count := int64(0)
	for {
		b, err := recv()
		if errors.Is(err, io.EOF) {
			switch {
			case strings.HasSuffix(method, "/Collect"):
				return send(item("sum", total, who))
			case strings.HasSuffix(method, "/Chat"):
				return send(item("bye", count, who))
			}
			return nil
		}
		if err != nil {
			return err
		}
		count++
		if strings.HasSuffix(method, "/Pipe") {
			if err := send(b); err != nil {
				return err
			}
			continue
		}
		name, n := parseItem(b)
		total += n
		switch method[strings.LastIndexByte(method, '/'):] {
		case "/Get", "/Echo":
			if name == "missing" {
				st, _ := status.New(codes.NotFound, "no such item").WithDetails(&errdetails.ResourceInfo{ResourceName: name})
				return st.Err()
			}
			return send(item(name, n+1, who))
		case "/Watch":
			last := n + 3
			if name == "count" {
				last = 10
			}
			for i := n + 1; name == "forever" || i <= last; i++ {
				if name == "fail" && i == 3 {
					return status.Error(codes.FailedPrecondition, "broken")
				}
				if err := send(item(name, i, who)); err != nil {
					return err
				}
				if name == "forever" && i == 3 {
					<-ss.Context().Done()
					return ss.Context().Err()
				}
			}
			return nil
		case "/Chat":
			err = send(item(name, n, who))
		}
		if err != nil {
			return err
		}
	}
}

// startFeed starts a gateway in front of Feed. more is configuration.
func startFeed(t *testing.T, more string, ended chan<- string, opts ...gateway.Option) *running {
	dir := folder(t, map[string]string{"feed.proto": feed, "transom.yaml": fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {disabled: true}
schema: {sources: [feed.proto]}
clusters: [{name: feed, targets: [%q]}]
logging: {access: false}
%s`, feedBackend(t, ended), more)})
	return start(t, config.Source{Path: dir + "/transom.yaml"}, opts...)
}

// talk is a socket of a test.
type talk struct {
	*websocket.Conn
	t    *testing.T
	resp *http.Response
}

func (g *running) dial(t *testing.T, path string, opts *websocket.DialOptions) *talk {
	t.Helper()
	c, resp, err := websocket.Dial(t.Context(), g.url+path, opts)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	return &talk{Conn: c, t: t, resp: resp}
}

func subprotocols(list ...string) *websocket.DialOptions {
	return &websocket.DialOptions{Subprotocols: list}
}

// say sends text frames.
func (c *talk) say(frames ...string) *talk {
	c.t.Helper()
	for _, f := range frames {
		if err := c.Write(c.t.Context(), websocket.MessageText, []byte(f)); err != nil {
			c.t.Fatal(err)
		}
	}
	return c
}

// rest reads to the end: the frames, and the close code with its reason.
func (c *talk) rest() (frames []string, code int, reason string) {
	c.t.Helper()
	for {
		_, p, err := c.Read(c.t.Context())
		var closed websocket.CloseError
		switch {
		case errors.As(err, &closed):
			return frames, int(closed.Code), closed.Reason
		case err != nil:
			c.t.Fatalf("after %q: %v", frames, err)
		}
		frames = append(frames, string(p))
	}
}

func (c *talk) expect(code int, reason string, frames ...string) {
	c.t.Helper()
	got, gotCode, gotReason := c.rest()
	if !slices.EqualFunc(got, frames, sameJSON) || gotCode != code || gotReason != reason {
		c.t.Errorf("got %d %q\n%s\nwant %d %q\n%s", gotCode, gotReason, strings.Join(got, "\n"), code, reason, strings.Join(frames, "\n"))
	}
}

// next reads one frame.
func (c *talk) next() string {
	c.t.Helper()
	_, p, err := c.Read(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return string(p)
}

func sameJSON(a, b string) bool {
	var x, y any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return a == b
	}
	p, _ := json.Marshal(x)
	q, _ := json.Marshal(y)
	return bytes.Equal(p, q)
}

const (
	helloFrame = `{"header":{"x-first":["1"]}}`
	okFrame    = `{"status":{"code":0,"message":""},"trailer":{"x-last":["2"]}}`
)

func TestSocketOfOneCall(t *testing.T) {
	g := startFeed(t, "", nil)
	envelope := subprotocols("transom.v1+json")
	for _, tt := range []struct {
		name, path string
		opts       *websocket.DialOptions
		say        []string
		code       int
		reason     string
		want       []string
	}{
		{"unary by URL", "/v1/items/a?n=4", nil, nil, 1000, "", []string{`{"name":"a","n":"5"}`}},
		{"unary by message", "/v1/items/a:echo", nil, []string{`{"n":6}`}, 1000, "", []string{`{"name":"a","n":"7"}`}},
		{"unary, enveloped", "/v1/items/a:echo", envelope, []string{`{"message":{"n":6}}`}, 1000, "", []string{helloFrame, `{"message":{"name":"a","n":"7"}}`, okFrame}},
		{"server stream", "/v1/items/a:watch", nil, nil, 1000, "", []string{`{"name":"a","n":"1"}`, `{"name":"a","n":"2"}`, `{"name":"a","n":"3"}`}},
		{"server stream, enveloped", "/v1/items/a:watch", envelope, nil, 1000, "", []string{
			helloFrame, `{"message":{"name":"a","n":"1"}}`, `{"message":{"name":"a","n":"2"}}`, `{"message":{"name":"a","n":"3"}}`, okFrame,
		}},
		{"failure midway", "/v1/items/fail:watch", nil, nil, 4009, "broken", []string{
			`{"name":"fail","n":"1"}`, `{"name":"fail","n":"2"}`, `{"error":{"code":9,"message":"broken"}}`,
		}},
		{"failure midway, enveloped", "/v1/items/fail:watch", envelope, nil, 4009, "broken", []string{
			helloFrame, `{"message":{"name":"fail","n":"1"}}`, `{"message":{"name":"fail","n":"2"}}`,
			`{"status":{"code":9,"message":"broken"},"trailer":{"x-last":["2"]}}`,
		}},
		{"details", "/v1/items/missing:echo", nil, []string{`{}`}, 4005, "no such item", []string{
			`{"error":{"code":5,"message":"no such item","details":[{"@type":"type.googleapis.com/google.rpc.ResourceInfo","resourceName":"missing"}]}}`,
		}},
		{"client stream, bare", "/v1/items:collect", nil, []string{`{"n":1}`, `{"n":2}`, ``}, 1000, "", []string{`{"name":"sum","n":"3"}`}},
		{"client stream, enveloped", "/v1/items:collect", envelope, []string{`{"message":{"n":1}}`, `{"message":{"n":2},"halfClose":true}`}, 1000, "", []string{
			helloFrame, `{"message":{"name":"sum","n":"3"}}`, okFrame,
		}},
		{"bidi, the path in each message", "/v1/chat/me", envelope, []string{`{"message":{"n":1}}`, `{"message":{"name":"me","n":2}}`, `{"halfClose":true}`}, 1000, "", []string{
			helloFrame, `{"message":{"name":"me","n":"1"}}`, `{"message":{"name":"me","n":"2"}}`, `{"message":{"name":"bye","n":"2"}}`, okFrame,
		}},
		{"a bad message", "/v1/chat/me", nil, []string{`{"n":"x"}`}, 4003, `request body: line 1, column 6 (/n): invalid int64 value "x"`, nil},
		{"the path's field changed", "/v1/chat/me", nil, []string{`{"name":"you"}`}, 4003, "*", nil},
		{"not an envelope", "/v1/chat/me", envelope, []string{`{"n":1}`}, 1007, `envelope: unknown field "n"`, nil},
		{"not JSON", "/v1/chat/me", envelope, []string{`{`}, 1007, "envelope: it ends too early", nil},
		{"two messages for one", "/v1/items/a:echo", envelope, []string{`{"message":{},"halfClose":true}`}, 1000, "", []string{helloFrame, `{"message":{"name":"a","n":"1"}}`, okFrame}},
		{"a message beside the URL", "/v1/items/forever:watch", nil, []string{`{}`}, 4003, "the URL is the whole request: the call takes no messages", nil},
		{"cancel", "/v1/items/forever:watch", envelope, []string{`{"cancel":true}`}, 4001, "canceled by the client", nil},
		{"ping", "/v1/chat/me", envelope, []string{`{"ping":[1]}`, `{"halfClose":true}`}, 1000, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := g.dial(t, tt.path, tt.opts).say(tt.say...)
			frames, code, reason := c.rest()
			if code != tt.code || tt.reason != "*" && reason != tt.reason {
				t.Errorf("closed with %d %q, want %d %q", code, reason, tt.code, tt.reason)
			}
			if tt.want != nil && !slices.EqualFunc(frames, tt.want, sameJSON) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(frames, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func TestSocketProto(t *testing.T) {
	g := startFeed(t, "", nil)
	c := g.dial(t, "/v1/chat/me", subprotocols("transom.v1+proto"))
	for _, f := range []*websocketv1.Frame{{Message: item("me", 5, "")}, {Ping: []byte("x")}, {HalfClose: true}} {
		p, _ := proto.Marshal(f)
		if err := c.Write(t.Context(), websocket.MessageBinary, p); err != nil {
			t.Fatal(err)
		}
	}
	frames, code, _ := c.rest()
	var pong bool
	var items []string
	var end *websocketv1.End
	for _, p := range frames {
		var f websocketv1.Frame
		if err := proto.Unmarshal([]byte(p), &f); err != nil {
			t.Fatal(err)
		}
		if f.Message != nil {
			name, n := parseItem(f.GetMessage())
			items = append(items, fmt.Sprint(name, n))
		}
		pong = pong || string(f.GetPong()) == "x"
		end = f.GetEnd()
	}
	if !slices.Equal(items, []string{"me5", "bye1"}) || !pong || code != 1000 || end.GetStatus().GetCode() != 0 || len(end.GetTrailer().GetEntries()) != 1 {
		t.Errorf("got %v, pong %v, end %v, %d", items, pong, end, code)
	}
}

func TestSocketRaw(t *testing.T) {
	g := startFeed(t, "", nil)
	c := g.dial(t, "/v1/pipe", nil)
	for _, typ := range []websocket.MessageType{websocket.MessageText, websocket.MessageBinary} {
		for _, text := range []string{"", "hello", `{"a":1}`, strings.Repeat("x", 70_000)} {
			c.SetReadLimit(1 << 20)
			if err := c.Write(t.Context(), typ, []byte(text)); err != nil {
				t.Fatal(err)
			}
			got, p, err := c.Read(t.Context())
			if err != nil || got != typ || string(p) != text {
				t.Errorf("%v %.20q became %v %.20q, %v", typ, text, got, p, err)
			}
		}
	}
}

// TestSocketRefused: what is refused is refused by HTTP, before the upgrade.
func TestSocketRefused(t *testing.T) {
	refuse := gateway.WithStreamInterceptor(func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		if md, _ := metadata.FromIncomingContext(ss.Context()); len(md.Get("authorization")) == 0 {
			return rpc.Errorf(codes.Unauthenticated, "who are you?")
		}
		return next(srv, ss)
	})
	g := startFeed(t, "websocket: {origins: ['https://app.example.com', 'https://*.example.org']}", nil, refuse)
	bearer := func(more ...string) *websocket.DialOptions {
		return subprotocols(append([]string{"transom.v1+json", "transom.bearer.abc"}, more...)...)
	}
	origin := func(o string) *websocket.DialOptions {
		opts := bearer()
		opts.HTTPHeader = http.Header{"Origin": {o}}
		return opts
	}
	for _, tt := range []struct {
		name, path string
		opts       *websocket.DialOptions
		status     int
		text       string
	}{
		{"by an interceptor", "/v1/items/a:watch", nil, 401, "who are you?"},
		{"no such path", "/v1/nothing", bearer(), 404, ""},
		{"a bad query", "/v1/items/a:watch?x=1", bearer(), 400, "x"},
		{"a bad field", "/v1/items/a:watch?n=x", bearer(), 400, "n"},
		{"unknown subprotocol", "/v1/items/a:watch", subprotocols("graphql-ws"), 400, "transom.v1+json"},
		{"two tokens", "/v1/items/a:watch", bearer("transom.bearer.def"), 400, "more than one bearer token"},
		{"a foreign page", "/v1/items/a:watch", origin("https://evil.example.com"), 403, "origin"},
		{"a foreign scheme", "/v1/items/a:watch", origin("http://app.example.com"), 403, "origin"},
		{"a lookalike", "/v1/items/a:watch", origin("https://app.example.com.evil.net"), 403, "origin"},
		{"a suffix without its dot", "/v1/items/a:watch", origin("https://evilexample.org"), 403, "origin"},
		{"null", "/v1/items/a:watch", origin("null"), 403, "origin"},
		{"the same origin", "/v1/items/a:watch", origin(g.url), 101, ""},
		{"an allowed origin", "/v1/items/a:watch", origin("https://APP.example.com:443"), 101, ""},
		{"an allowed subdomain", "/v1/items/a:watch", origin("https://x.y.example.org"), 101, ""},
		{"a used ticket", "/v1/items/a:watch?ticket=abc", nil, 401, "ticket"},
		{"two credentials", "/v1/items/a:watch?ticket=abc", bearer(), 400, "more than one credential"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, resp, err := websocket.Dial(t.Context(), g.url+tt.path, tt.opts)
			if err == nil {
				_ = c.CloseNow()
			}
			if resp == nil || resp.StatusCode != tt.status {
				t.Fatalf("got %v, %v, want %d", resp, err, tt.status)
			}
			if tt.status == 101 {
				return
			}
			body, _ := io.ReadAll(resp.Body)
			var st struct {
				Code    int
				Message string
			}
			if json.Unmarshal(body, &st) != nil || st.Code == 0 || !strings.Contains(st.Message, tt.text) {
				t.Errorf("the answer is %s, want %q in it", body, tt.text)
			}
			if strings.Contains(string(body), "abc") {
				t.Errorf("the credential shows in %s", body)
			}
		})
	}
}

// TestSocketCredentials: each way in which a page can say who it is.
func TestSocketCredentials(t *testing.T) {
	g := startFeed(t, "websocket: {cookie: session, origins: ['https://app.example.com']}", nil)
	ticket := func() string {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url+"/ws/ticket", nil)
		req.Header.Set("Authorization", "Bearer t1")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var got struct{ Ticket string }
		if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || got.Ticket == "" || resp.Header.Get("Cache-Control") != "no-store" {
			t.Fatalf("no ticket: %v %v", resp.Status, err)
		}
		return got.Ticket
	}
	header := func(pairs ...string) *websocket.DialOptions {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		return &websocket.DialOptions{HTTPHeader: h}
	}
	used := ticket()
	for _, tt := range []struct {
		name, query string
		opts        *websocket.DialOptions
		say         string
		who         string
	}{
		{"header", "", header("Authorization", "Bearer t0"), "", "Bearer t0"},
		{"subprotocol", "", subprotocols("transom.v1+bare", "transom.bearer.t1"), "", "Bearer t1"},
		{"subprotocol in base64", "", subprotocols("transom.bearer64.dC8x", "transom.v1+bare"), "", "Bearer t/1"},
		{"ticket", "&ticket=" + used, nil, "", "Bearer t1"},
		{"cookie with an origin", "", header("Cookie", "session=t2", "Origin", "https://app.example.com"), "", "Bearer t2"},
		{"cookie without", "", header("Cookie", "session=t2"), "", ""},
		{"first message", "", subprotocols("transom.v1+json", "transom.auth"), `{"auth":{"token":"t3"}}`, "Bearer t3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := g.dial(t, "/v1/items/a?n=1"+tt.query, tt.opts)
			if tt.say != "" {
				c.say(tt.say)
			}
			frames, code, _ := c.rest()
			want := `"who":"` + tt.who + `"`
			if tt.who == "" {
				want = `"name":"a"`
			}
			all := strings.Join(frames, "\n")
			if code != 1000 || !strings.Contains(all, want) || tt.who == "" && strings.Contains(all, "who") {
				t.Errorf("closed with %d after\n%s\nwant %s", code, all, want)
			}
			if p := c.Subprotocol(); strings.Contains(p, "bearer") || strings.Contains(p, "auth") {
				t.Errorf("the answer names subprotocol %q", p)
			}
		})
	}
	if _, resp, err := websocket.Dial(t.Context(), g.url+"/v1/items/a?ticket="+used, nil); err == nil || resp.StatusCode != 401 {
		t.Errorf("a ticket was used twice: %v", resp)
	}
}

// TestSocketProfile: frames as clients of grpc-websocket-proxy know them.
func TestSocketProfile(t *testing.T) {
	g := startFeed(t, "rest: {profile: grpc-gateway}", nil)
	g.dial(t, "/v1/items/fail:watch", nil).expect(4009, "broken",
		`{"result":{"name":"fail","n":"1","who":""}}`, `{"result":{"name":"fail","n":"2","who":""}}`,
		`{"error":{"code":9,"message":"broken","details":[]}}`)
	c := g.dial(t, "/v1/chat/me?method=POST", subprotocols("Bearer", "t1"))
	if c.Subprotocol() != "Bearer" {
		t.Errorf("the subprotocol is %q", c.Subprotocol())
	}
	c.say(`{"n":1}`, "").expect(1000, "", `{"result":{"name":"me","n":"1","who":"Bearer t1"}}`, `{"result":{"name":"bye","n":"1","who":"Bearer t1"}}`)
}

// TestSocketOfMany: calls of every kind on one socket, by id.
func TestSocketOfMany(t *testing.T) {
	ended := make(chan string, 10)
	g := startFeed(t, "websocket: {max_calls_per_socket: 3}", ended)
	c := g.dial(t, "/ws", subprotocols("transom.v1+json", "transom.bearer.t1"))
	expect := func(frames ...string) {
		t.Helper()
		for _, want := range frames {
			if got := c.next(); !sameJSON(got, want) {
				t.Fatalf("got %s, want %s", got, want)
			}
		}
	}
	c.say(`{"id":1,"start":{"method":"test.v1.Feed/Get"},"message":{"name":"a","n":1}}`)
	expect(`{"id":1,"header":{"x-first":["1"]}}`, `{"id":1,"message":{"name":"a","n":"2","who":"Bearer t1"}}`, `{"id":1,"status":{"code":0,"message":""},"trailer":{"x-last":["2"]}}`)

	c.say(`{"id":2,"start":{"method":"/test.v1.Feed/Watch","credits":2,"header":{"authorization":"Bearer t2"}},"message":{"name":"b"}}`)
	expect(`{"id":2,"header":{"x-first":["1"]}}`, `{"id":2,"message":{"name":"b","n":"1","who":"Bearer t2"}}`, `{"id":2,"message":{"name":"b","n":"2","who":"Bearer t2"}}`)
	// Without credit, this call waits, and another one does not.
	c.say(`{"auth":{"token":"t3"}}`, `{"id":3,"start":{"method":"test.v1.Feed/Chat"}}`)
	expect(`{"auth":{"accepted":true}}`, `{"id":3,"header":{"x-first":["1"]}}`)
	c.say(`{"id":3,"message":{"n":7}}`)
	expect(`{"id":3,"message":{"n":"7","who":"Bearer t3"}}`)
	c.say(`{"id":2,"ack":5}`)
	expect(`{"id":2,"message":{"name":"b","n":"3","who":"Bearer t2"}}`, `{"id":2,"status":{"code":0,"message":""},"trailer":{"x-last":["2"]}}`)

	c.say(`{"ping":"p"}`, `{"id":4,"start":{"method":"test.v1.Feed/Nothing"}}`)
	expect(`{"pong":"p"}`, `{"id":4,"status":{"code":12,"message":"unknown method /test.v1.Feed/Nothing"}}`)
	c.say(`{"id":5,"start":{"method":"test.v1.Feed/Watch"},"message":{"name":"forever"}}`)
	for range 4 {
		c.next()
	}
	c.say(`{"id":6,"start":{"method":"test.v1.Feed/Watch"},"message":{"name":"forever"}}`)
	for range 4 {
		c.next()
	}
	c.say(`{"id":7,"start":{"method":"test.v1.Feed/Chat"}}`)
	expect(`{"id":7,"status":{"code":8,"message":"this socket has 3 calls, the most that it may have"}}`)
	c.say(`{"id":5,"cancel":true}`)
	expect(`{"id":5,"status":{"code":1,"message":"canceled by the client"}}`)
	if m := <-ended; m != "/test.v1.Feed/Watch" {
		t.Errorf("the backend's call that ended is %s", m)
	}
	c.say(`{"id":3,"halfClose":true}`)
	expect(`{"id":3,"message":{"name":"bye","n":"1","who":"Bearer t3"}}`, `{"id":3,"status":{"code":0,"message":""},"trailer":{"x-last":["2"]}}`)
	// The client goes: what runs ends at the backend, too.
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	if m := <-ended; m != "/test.v1.Feed/Watch" {
		t.Errorf("the backend's call that ended is %s", m)
	}
}

// TestSocketDrain: a gateway that ends says so, and when to come back.
func TestSocketDrain(t *testing.T) {
	g := startFeed(t, "websocket: {drain_spread: 0s}", nil)
	one := g.dial(t, "/v1/items/forever:watch", subprotocols("transom.v1+json"))
	many := g.dial(t, "/ws", nil)
	many.say(`{"id":1,"start":{"method":"test.v1.Feed/Watch"},"message":{"name":"forever"}}`)
	for range 4 {
		one.next()
		many.next()
	}
	stopped := make(chan error, 1)
	go func() { stopped <- g.stop() }()
	frames, code, reason := one.rest()
	if code != 1012 || !strings.HasPrefix(reason, "retry_after_ms=") || len(frames) != 1 || !strings.Contains(frames[0], "RetryInfo") {
		t.Errorf("one call: %d %q %q", code, reason, frames)
	}
	frames, code, reason = many.rest()
	if code != 1012 || !strings.HasPrefix(reason, "retry_after_ms=") || len(frames) != 2 || !strings.Contains(frames[0], "retryAfterMs") || !strings.Contains(frames[1], `"code":14`) {
		t.Errorf("many calls: %d %q %q", code, reason, frames)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// TestSocketSurvivesReload: a socket of many calls outlives the house that it
// was opened in, and its next call is made in the one that serves then.
func TestSocketSurvivesReload(t *testing.T) {
	g := startFeed(t, "", nil)
	c := g.dial(t, "/ws", nil)
	c.say(`{"id":1,"start":{"method":"test.v1.Feed/Chat"}}`)
	c.next()
	if err := g.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.say(`{"id":1,"message":{"n":1}}`)
	if got := c.next(); !sameJSON(got, `{"id":1,"message":{"n":"1"}}`) {
		t.Error(got)
	}
	c.say(`{"id":2,"start":{"method":"test.v1.Feed/Get"},"message":{"name":"x"}}`)
	c.next()
	if got := c.next(); !sameJSON(got, `{"id":2,"message":{"name":"x","n":"1"}}`) {
		t.Error(got)
	}
}

// TestSocketLimits: sockets per client, messages, and their size.
func TestSocketLimits(t *testing.T) {
	g := startFeed(t, "websocket: {max_message_bytes: 64, messages_per_second: 5, handshake_timeout: 50ms}", nil)
	g.dial(t, "/v1/chat/a", nil).say(`{"n":1,"who":"`+strings.Repeat("x", 64)+`"}`).expect(1009, "the message is larger than the limit")
	flood := g.dial(t, "/v1/chat/a", nil)
	for range 50 {
		if flood.Write(t.Context(), websocket.MessageText, []byte(`{"n":1}`)) != nil {
			break
		}
	}
	if _, code, _ := flood.rest(); code != 1008 {
		t.Errorf("a flood ended with %d", code)
	}
	g.dial(t, "/v1/items/a:echo", nil).expect(4004, "the request message did not arrive within 50ms",
		`{"error":{"code":4,"message":"the request message did not arrive within 50ms"}}`)
}

// TestSocketPlaces: a client has so many sockets, and a closed one counts no more.
func TestSocketPlaces(t *testing.T) {
	g := startFeed(t, "websocket: {max_sockets_per_client: 2}", nil)
	a, _ := g.dial(t, "/ws", nil), g.dial(t, "/ws", nil)
	_, resp, err := websocket.Dial(t.Context(), g.url+"/ws", nil)
	if err == nil || resp.StatusCode != 429 {
		t.Fatalf("the third socket got %v", resp)
	}
	_ = a.Close(websocket.StatusNormalClosure, "")
	deadline := time.Now().Add(10 * time.Second)
	for {
		if c, _, err := websocket.Dial(t.Context(), g.url+"/ws", nil); err == nil {
			_ = c.CloseNow()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a closed socket's place was not given back")
		}
		time.Sleep(5 * time.Millisecond)
	}
}
