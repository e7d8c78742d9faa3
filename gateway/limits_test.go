package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/transomhq/transom/config"
	"github.com/transomhq/transom/gateway"
	"github.com/transomhq/transom/schema"
)

// things is a schema of one message that every method echoes.
const things = `
syntax = "proto3";
package limited.v1;
import "google/api/annotations.proto";
import "transom/policy/v1/policy.proto";
service Things {
  rpc Get(Thing) returns (Thing) { option (google.api.http) = {get: "/v1/things/{name}"}; }
  rpc Put(Thing) returns (Thing) { option (google.api.http) = {post: "/v1/things" body: "*"}; }
  rpc Declared(Thing) returns (Thing) {
    option (google.api.http) = {get: "/v1/declared"};
    option (transom.policy.v1.method) = {limits: {rates: [{bucket: "declared", requests: 1, per: {seconds: 3600}, key: {client_ip: true}}]}};
  }
  rpc Watch(Thing) returns (stream Thing) { option (google.api.http) = {get: "/v1/watch/{name}"}; }
  rpc Chat(stream Thing) returns (stream Thing);
}
message Thing { string name = 1; int32 units = 2; string tenant = 3; bytes data = 4; }
`

// limited is a gateway in front of an echo, under the limits of a test.
type limited struct {
	*running
	t     *testing.T
	conf  string // its configuration file
	conn  *grpc.ClientConn
	thing protoreflect.MessageDescriptor
}

// echo starts a backend that sends every message back, and half-closes with its client.
func echo(t *testing.T) string {
	srv := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, ss grpc.ServerStream) error {
		for {
			var in rawMessage
			if err := ss.RecvMsg(&in); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			if err := ss.SendMsg(&in); err != nil {
				return err
			}
		}
	}), grpc.ForceServerCodec(rawCodec{}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Stop(); <-done })
	return l.Addr().String()
}

type rawMessage []byte

// rawCodec passes messages as they are.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error)      { return *v.(*rawMessage), nil }
func (rawCodec) Unmarshal(data []byte, v any) error { *v.(*rawMessage) = bytes.Clone(data); return nil }
func (rawCodec) Name() string                       { return "proto" }

// thingsConfig writes a configuration with more YAML at its end.
func thingsConfig(t *testing.T, backend, more string) config.Source {
	dir := folder(t, map[string]string{"things.proto": things})
	conf := filepath.Join(t.TempDir(), "transom.yaml")
	write(t, conf, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {disabled: true}
schema: {sources: [%q]}
clusters: [{name: test, targets: [%q]}]
reload: {watch: false}
%s
`, dir, backend, more))
	return config.Source{Path: conf}
}

func startLimited(t *testing.T, more string) *limited {
	t.Helper()
	source := thingsConfig(t, echo(t), more)
	l := &limited{running: start(t, source), t: t, conf: source.Path}
	snapshot, err := schema.Load(t.Context(), schema.Options{Sources: []string{folder(t, map[string]string{"things.proto": things})}})
	if err != nil {
		t.Fatal(err)
	}
	d, err := snapshot.Files.FindDescriptorByName("limited.v1.Thing")
	if err != nil {
		t.Fatal(err)
	}
	l.thing = d.(protoreflect.MessageDescriptor)
	l.conn, err = grpc.NewClient(l.Addrs()[0].String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.conn.Close() })
	return l
}

func (l *limited) message(text string) *dynamicpb.Message {
	l.t.Helper()
	m := dynamicpb.NewMessage(l.thing)
	if err := protojson.Unmarshal([]byte(text), m); err != nil {
		l.t.Fatal(err)
	}
	return m
}

// rest sends a request and returns its answer, the body read.
func (l *limited) rest(method, path, body string, header ...string) (*http.Response, string) {
	l.t.Helper()
	req, err := http.NewRequestWithContext(l.t.Context(), method, l.url+path, strings.NewReader(body))
	if err != nil {
		l.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	return resp, string(text)
}

// grpc makes a unary call and returns its metadata and status.
func (l *limited) grpc(ctx context.Context, method, in string) (metadata.MD, *status.Status) {
	l.t.Helper()
	var header, trailer metadata.MD
	err := l.conn.Invoke(ctx, "/limited.v1.Things/"+method, l.message(in), dynamicpb.NewMessage(l.thing), grpc.Header(&header), grpc.Trailer(&trailer))
	return metadata.Join(header, trailer), status.Convert(err)
}

const getTwice = `
policies:
  - selectors: [limited.v1.Things.Get]
    policy: {limits: {rates: [{bucket: gets, key: {client_ip: true}, requests: 2, per: 3600s}]}}
`

func TestRateLimitAnswersOnREST(t *testing.T) {
	l := startLimited(t, getTwice)
	for i := range 2 {
		resp, body := l.rest("GET", "/v1/things/a", "")
		if want := fmt.Sprintf(`"gets";r=%d;t=%d`, 1-i, 1800*(i+1)); resp.StatusCode != http.StatusOK || resp.Header.Get("RateLimit") != want {
			t.Fatalf("call %d: %d %s, RateLimit %q, want %q", i, resp.StatusCode, body, resp.Header.Get("RateLimit"), want)
		}
		if got := resp.Header.Get("RateLimit-Policy"); got != `"gets";q=2;w=3600` {
			t.Errorf("RateLimit-Policy %q", got)
		}
	}
	resp, body := l.rest("GET", "/v1/things/a", "")
	if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") != "1800" || resp.Header.Get("RateLimit") != `"gets";r=0;t=1800` {
		t.Errorf("got %d %v", resp.StatusCode, resp.Header)
	}
	var st struct {
		Code    int
		Message string
		Details []map[string]any
	}
	if err := json.Unmarshal([]byte(body), &st); err != nil || st.Code != 8 || len(st.Details) != 3 {
		t.Fatalf("%v: %s", err, body)
	}
	if !strings.HasPrefix(st.Message, `rate "gets" of 2 per 1h is used up: try again in `) {
		t.Error(st.Message)
	}
	if got := st.Details[2]["reason"]; got != "RATE_LIMIT_EXCEEDED" {
		t.Error(body)
	}
	l.logs.await("limit=gets", 1)
}

func TestRateLimitAnswersOnGRPC(t *testing.T) {
	l := startLimited(t, getTwice)
	for i := range 2 {
		md, st := l.grpc(t.Context(), "Get", `{"name": "a"}`)
		if st.Code() != codes.OK || md["ratelimit"][0] != fmt.Sprintf(`"gets";r=%d;t=%d`, 1-i, 1800*(i+1)) {
			t.Fatalf("call %d: %v %v", i, st, md)
		}
	}
	md, st := l.grpc(t.Context(), "Get", `{"name": "a"}`)
	checkRefused(t, md, st, "gets")
	// The door makes no difference: REST is refused by the same count.
	if resp, _ := l.rest("GET", "/v1/things/a", ""); resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("REST after gRPC: %d", resp.StatusCode)
	}
}

// checkRefused checks a gRPC refusal by a limit.
func checkRefused(t *testing.T, md metadata.MD, st *status.Status, name string) {
	t.Helper()
	if st.Code() != codes.ResourceExhausted {
		t.Fatalf("got %v", st)
	}
	if len(md["retry-after"]) != 1 || len(md["ratelimit"]) != 1 || len(md["ratelimit-policy"]) != 1 {
		t.Errorf("metadata %v", md)
	}
	var retry *errdetails.RetryInfo
	var quota *errdetails.QuotaFailure
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.RetryInfo:
			retry = d
		case *errdetails.QuotaFailure:
			quota = d
		}
	}
	if retry.GetRetryDelay().AsDuration() <= 0 || len(quota.GetViolations()) != 1 || quota.GetViolations()[0].GetQuotaId() != name {
		t.Errorf("details %v", st.Details())
	}
}

func TestRateLimitAnswersOnConnectAndGRPCWeb(t *testing.T) {
	l := startLimited(t, getTwice)
	for i := range 3 {
		resp, body := l.rest("POST", "/limited.v1.Things/Get", `{"name":"a"}`, "Content-Type", "application/json", "Connect-Protocol-Version", "1")
		if i < 2 && resp.StatusCode != http.StatusOK || i == 2 && resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("RateLimit") == "" {
			t.Errorf("Connect, call %d: %d %s %v", i, resp.StatusCode, body, resp.Header)
		}
	}
	resp, body := l.rest("POST", "/limited.v1.Things/Get", "\x00\x00\x00\x00\x00", "Content-Type", "application/grpc-web+proto", "X-Grpc-Web", "1")
	if got := resp.Header.Get("Grpc-Status"); got != "8" && !strings.Contains(body, "grpc-status:8") && !strings.Contains(body, "grpc-status: 8") {
		t.Errorf("gRPC-Web: %v %q", resp.Header, body)
	}
	if resp.Header.Get("RateLimit") == "" && !strings.Contains(body, "ratelimit") {
		t.Errorf("gRPC-Web: %v %q", resp.Header, body)
	}
}

func TestLimitsInProtoOptions(t *testing.T) {
	l := startLimited(t, "")
	if resp, body := l.rest("GET", "/v1/declared", ""); resp.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	if resp, _ := l.rest("GET", "/v1/declared", ""); resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("got %d", resp.StatusCode)
	}
}

// A limit by a field, or with a cost from one, reads the message.
func TestLimitsLookAtTheRequest(t *testing.T) {
	l := startLimited(t, `
policies:
  - selectors: [limited.v1.Things.Put]
    policy: {limits: {rates: [{bucket: units, key: {request_field: tenant}, cost_field: units, requests: 10, per: 3600s}]}}
`)
	for _, tt := range []struct {
		body      string
		status    int
		ratelimit string
	}{
		{`{"tenant":"a","units":7}`, 200, `"units";r=3;`},
		{`{"tenant":"b","units":7}`, 200, `"units";r=3;`},
		{`{"tenant":"a","units":4}`, 429, `"units";r=3;`},
		{`{"tenant":"a","units":-4}`, 200, `"units";r=2;`},
		{`{"tenant":"a"}`, 200, `"units";r=1;`},
		{`{"tenant":"c","units":11}`, 429, `"units";r=10;`},
	} {
		resp, body := l.rest("POST", "/v1/things", tt.body)
		if resp.StatusCode != tt.status || !strings.HasPrefix(resp.Header.Get("RateLimit"), tt.ratelimit) {
			t.Errorf("%s: %d %s, %q, want %d %q", tt.body, resp.StatusCode, body, resp.Header.Get("RateLimit"), tt.status, tt.ratelimit)
		}
		if strings.Contains(tt.body, "11") && (resp.Header.Get("Retry-After") != "" || !strings.Contains(body, "ask for less")) {
			t.Errorf("a call that can never be admitted: %v %s", resp.Header, body)
		}
	}
}

func TestMaxRequestBytesOnEveryDoor(t *testing.T) {
	l := startLimited(t, `
policies:
  - selectors: ["*"]
    policy: {limits: {max_request_bytes: 100}}
`)
	small, large := `{"name":"`+strings.Repeat("x", 90)+`"}`, `{"name":"`+strings.Repeat("x", 110)+`"}`
	for _, path := range []string{"/v1/things", "/limited.v1.Things/Put"} {
		header := []string{"Content-Type", "application/json"}
		if path != "/v1/things" {
			header = append(header, "Connect-Protocol-Version", "1")
		}
		if resp, body := l.rest("POST", path, small, header...); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
		if resp, body := l.rest("POST", path, large, header...); resp.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(body, "112 bytes, more than the 100") {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	if _, st := l.grpc(t.Context(), "Put", small); st.Code() != codes.OK {
		t.Error(st)
	}
	if _, st := l.grpc(t.Context(), "Put", large); st.Code() != codes.ResourceExhausted || !strings.Contains(st.Message(), "112 bytes") {
		t.Error(st)
	}
	s := l.open("Chat", true)
	s.send(small)
	s.expect(small)
	s.send(large)
	if st := s.end(); st.Code() != codes.ResourceExhausted {
		t.Error(st)
	}
}

// chat is a stream through the gateway.
type chat struct {
	grpc.ClientStream
	l *limited
}

func (l *limited) open(method string, clientStreams bool) *chat {
	l.t.Helper()
	s, err := l.conn.NewStream(l.t.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: clientStreams}, "/limited.v1.Things/"+method)
	if err != nil {
		l.t.Fatal(err)
	}
	return &chat{s, l}
}

func (c *chat) send(text string) {
	c.l.t.Helper()
	if err := c.SendMsg(c.l.message(text)); err != nil && !errors.Is(err, io.EOF) {
		c.l.t.Fatal(err)
	}
}

// expect receives the next message.
func (c *chat) expect(text string) {
	c.l.t.Helper()
	got := dynamicpb.NewMessage(c.l.thing)
	if err := c.RecvMsg(got); err != nil {
		c.l.t.Fatalf("want %s, got %v", text, err)
	}
	if want := c.l.message(text); got.String() != want.String() {
		c.l.t.Fatalf("got %v, want %v", got, want)
	}
}

// end receives until the stream's end.
func (c *chat) end() *status.Status {
	for {
		err := c.RecvMsg(dynamicpb.NewMessage(c.l.thing))
		if errors.Is(err, io.EOF) {
			return status.New(codes.OK, "")
		}
		if err != nil {
			return status.Convert(err)
		}
	}
}

func TestStreamsAreLimitedAtTheirStart(t *testing.T) {
	l := startLimited(t, `
policies:
  - selectors: [limited.v1.Things.Watch]
    policy: {limits: {quotas: [{bucket: watches, key: {request_field: name}, limit: 1, period: day}]}}
  - selectors: [limited.v1.Things.Chat]
    policy: {limits: {quotas: [{bucket: chats, key: {global: true}, limit: 1, period: month, rolling: true}]}}
`)
	for _, name := range []string{"a", "b"} { // each its own quota
		s := l.open("Watch", false)
		s.send(`{"name":"` + name + `"}`)
		_ = s.CloseSend()
		if st := s.end(); st.Code() != codes.OK {
			t.Fatalf("%s: %v", name, st)
		}
	}
	s := l.open("Watch", false)
	s.send(`{"name":"a"}`)
	_ = s.CloseSend()
	st := s.end()
	header, _ := s.Header()
	checkRefused(t, metadata.Join(header, s.Trailer()), st, "watches")
	s = l.open("Chat", true)
	_ = s.CloseSend()
	if st := s.end(); st.Code() != codes.OK {
		t.Fatal(st)
	}
	s = l.open("Chat", true)
	st = s.end()
	header, _ = s.Header()
	checkRefused(t, metadata.Join(header, s.Trailer()), st, "chats")
}

func TestMessagesOfStreamsAreLimited(t *testing.T) {
	const rule = `
policies:
  - selectors: [limited.v1.Things.Chat]
    policy: {limits: {rates: [{bucket: msgs, key: {global: true}, requests: 2, per: %s, per_message: true, excess: %s}]}}
`
	t.Run("end", func(t *testing.T) {
		s := startLimited(t, fmt.Sprintf(rule, "3600s", "end")).open("Chat", true)
		for _, m := range []string{`{"name":"1"}`, `{"name":"2"}`} {
			s.send(m)
			s.expect(m)
		}
		s.send(`{"name":"3"}`)
		if st := s.end(); st.Code() != codes.ResourceExhausted || !strings.HasPrefix(st.Message(), `rate "msgs" of 2 per 1h is used up`) {
			t.Error(st)
		}
	})
	t.Run("drop", func(t *testing.T) {
		s := startLimited(t, fmt.Sprintf(rule, "3600s", "drop")).open("Chat", true)
		for i := range 10 {
			s.send(fmt.Sprintf(`{"name":"%d"}`, i))
		}
		_ = s.CloseSend()
		s.expect(`{"name":"0"}`)
		s.expect(`{"name":"1"}`)
		if err := s.RecvMsg(dynamicpb.NewMessage(s.l.thing)); !errors.Is(err, io.EOF) {
			t.Errorf("a message that was over the limit came through, or %v", err)
		}
	})
	t.Run("delay", func(t *testing.T) {
		s := startLimited(t, fmt.Sprintf(rule, "100ms", "delay")).open("Chat", true)
		for i := range 8 {
			s.send(fmt.Sprintf(`{"name":"%d"}`, i))
		}
		_ = s.CloseSend()
		for i := range 8 { // all of them, in order, later
			s.expect(fmt.Sprintf(`{"name":"%d"}`, i))
		}
		if st := s.end(); st.Code() != codes.OK {
			t.Error(st)
		}
	})
}

func TestConcurrencyLimitsRunningCalls(t *testing.T) {
	l := startLimited(t, `
policies:
  - selectors: [limited.v1.Things.Chat]
    policy: {limits: {concurrency: [{bucket: chats, key: {client_ip: true}, limit: 2}]}}
`)
	first, second := l.open("Chat", true), l.open("Chat", true)
	for _, s := range []*chat{first, second} { // both run
		s.send(`{"name":"a"}`)
		s.expect(`{"name":"a"}`)
	}
	third := l.open("Chat", true)
	if st := third.end(); st.Code() != codes.ResourceExhausted || st.Message() != `concurrency "chats" of 2 calls at once is used up: try again when one has ended` {
		t.Error(st)
	}
	_ = first.CloseSend()
	if st := first.end(); st.Code() != codes.OK {
		t.Fatal(st)
	}
	fourth := l.open("Chat", true)
	fourth.send(`{"name":"b"}`)
	fourth.expect(`{"name":"b"}`)
}

func TestShadowLimitsRefuseNothing(t *testing.T) {
	l := startLimited(t, `
policies:
  - selectors: [limited.v1.Things.Get]
    policy: {limits: {rates: [{bucket: trial, key: {global: true}, requests: 1, per: 3600s, shadow: true}]}}
`)
	for range 3 {
		if resp, _ := l.rest("GET", "/v1/things/a", ""); resp.StatusCode != http.StatusOK || resp.Header.Get("RateLimit") != "" {
			t.Errorf("got %d %v", resp.StatusCode, resp.Header)
		}
	}
	l.logs.await("limit_shadow=trial", 2)
}

func TestDefaultPlanLimitsTheUnknown(t *testing.T) {
	l := startLimited(t, `
limits:
  default_plan: free
  plans:
    - name: free
      limits:
        - selectors: [limited.v1.Things.Get, limited.v1.Things.Put]
          limits: {quotas: [{limit: 2, period: day}]}
        - selectors: ["*"]
          limits: {rates: [{requests: 100, per: 1s}]}
`)
	if resp, _ := l.rest("GET", "/v1/things/a", ""); resp.Header.Get("RateLimit-Policy") != `"free-quota";q=2;w=86400, "free-rate";q=100;w=1` || !strings.HasPrefix(resp.Header.Get("RateLimit"), `"free-quota";r=1;`) {
		t.Errorf("%v", resp.Header)
	}
	if resp, _ := l.rest("POST", "/v1/things", "{}"); resp.StatusCode != http.StatusOK {
		t.Errorf("got %d", resp.StatusCode)
	}
	if resp, _ := l.rest("GET", "/v1/things/a", ""); resp.StatusCode != http.StatusTooManyRequests { // one quota over both
		t.Errorf("got %d", resp.StatusCode)
	}
	if resp, _ := l.rest("GET", "/v1/declared", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("got %d", resp.StatusCode)
	}
}

// A reload gives nobody a fresh quota.
func TestReloadKeepsCounts(t *testing.T) {
	l := startLimited(t, getTwice)
	for range 2 {
		l.rest("GET", "/v1/things/a", "")
	}
	text, err := os.ReadFile(l.conf)
	if err != nil {
		t.Fatal(err)
	}
	write(t, l.conf, string(text)+"rest: {max_depth: 50}\n")
	if err := l.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.logs.await("msg=reloaded", 1)
	if resp, _ := l.rest("GET", "/v1/things/a", ""); resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("got %d", resp.StatusCode)
	}
}

// What is allowed and perhaps not meant is said at load.
func TestAdviceAboutLimits(t *testing.T) {
	l := startLimited(t, `
policies:
  - selectors: ["*"]
    policy: {limits: {rates: [{requests: 5, per: 1s, per_message: true}], concurrency: [{limit: 3}]}}
limits:
  plans:
    - {name: gold, limits: [{selectors: [limited.v1.Thing.Get], limits: {quotas: [{limit: 5, period: day}]}}]}
`)
	for text, n := range map[string]int{
		"rates[0] has no key: each principal is counted":                               1,
		"rates[0]: per_message means nothing to limited.v1.Things.Get, which is unary": 1,
		"concurrency[0] has no key":                                                    1,
		`plan \"gold\": selector \"limited.v1.Thing.Get\" names no method`:             1,
	} {
		if got := strings.Count(l.logs.String(), text); got != n {
			t.Errorf("%q was said %d times, want %d", text, got, n)
		}
	}
}

// A limit that cannot be compiled is refused with its place.
func TestLimitsThatMakeNoSense(t *testing.T) {
	_, err := gateway.New(t.Context(), thingsConfig(t, "127.0.0.1:1", `
policies:
  - selectors: [limited.v1.Things.Get]
    policy: {limits: {rates: [{requests: 5, per: 1s, cost_field: nope, key: {global: true}}]}}
`))
	want := `transom.yaml:9:5 (limited.v1.Things.Get): limits of limited.v1.Things.Get: rates[0]: cost_field: "nope": limited.v1.Thing has no field "nope"`
	if err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v", err)
	}
}

// Every snippet of the documentation is one that the gateway takes.
func TestDocumentedLimits(t *testing.T) {
	t.Setenv("REDIS_PASSWORD", "secret")
	text, err := os.ReadFile("../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	snippets := strings.Split(string(text), "```yaml\n")[1:]
	if len(snippets) < 6 {
		t.Fatalf("%d snippets", len(snippets))
	}
	for _, s := range snippets {
		yaml, _, _ := strings.Cut(s, "```")
		source := thingsConfig(t, "127.0.0.1:1", yaml)
		source.Env = os.LookupEnv
		g, err := gateway.New(t.Context(), source, gateway.WithLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			t.Errorf("%v\n%s", err, yaml)
			continue
		}
		g.Close()
	}
}

// Streams over HTTP are limited before they begin.
func TestStreamsOverHTTPAreLimited(t *testing.T) {
	l := startLimited(t, `
policies:
  - selectors: [limited.v1.Things.Watch]
    policy: {limits: {quotas: [{bucket: watches, key: {global: true}, limit: 2, period: day}]}}
`)
	for _, accept := range []string{"text/event-stream", "application/x-ndjson"} {
		resp, body := l.rest("GET", "/v1/watch/a", "", "Accept", accept)
		if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("RateLimit"), `"watches";r=`) || !strings.Contains(body, `"a"`) {
			t.Errorf("%s: %d %v %s", accept, resp.StatusCode, resp.Header, body)
		}
	}
	resp, body := l.rest("GET", "/v1/watch/a", "", "Accept", "text/event-stream")
	if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, "QUOTA_EXCEEDED") {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, body)
	}
}
