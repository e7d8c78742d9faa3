package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/transomhq/transom/config"
	"github.com/transomhq/transom/gateway"
)

// guardedThings is a schema whose methods are guarded in every way.
const guardedThings = `
syntax = "proto3";
package guards.v1;
import "buf/validate/validate.proto";
import "google/api/annotations.proto";
import "transom/policy/v1/policy.proto";
service Things {
  rpc Valid(Thing) returns (Thing) { option (google.api.http) = {post: "/v1/valid" body: "*"}; }
  rpc Reported(Thing) returns (Thing) { option (google.api.http) = {post: "/v1/reported" body: "*"}; }
  rpc Scoped(Thing) returns (Thing) {
    option (google.api.http) = {post: "/v1/scoped" body: "*"};
    option (transom.policy.v1.method) = {authz: {scopes: "things.write"}};
  }
  rpc Own(Thing) returns (Thing) {
    option (google.api.http) = {post: "/v1/own" body: "*"};
    option (transom.policy.v1.method) = {authz: {rules: {cel: "request.owner == principal.subject" message: "not your thing"}}};
  }
  rpc Away(Thing) returns (Thing) { option (google.api.http) = {post: "/v1/away" body: "*"}; }
  rpc Unsaid(Thing) returns (Thing) { option (google.api.http) = {post: "/v1/unsaid" body: "*"}; }
  rpc Watch(Thing) returns (stream Thing) {
    option (google.api.http) = {post: "/v1/watch" body: "*"};
    option (transom.policy.v1.method) = {authz: {rules: {cel: "request.owner == principal.subject" message: "not your thing"}}};
  }
}
message Thing {
  string name = 1 [(buf.validate.field).string.min_len = 2];
  string owner = 2;
  string secret = 3 [(transom.policy.v1.field) = {read_scopes: "secrets" write_scopes: "secrets.write"}];
}
`

// guards is a gateway whose callers are ann, who has scopes, and bob.
type guards struct {
	*running
	t    *testing.T
	conn *grpc.ClientConn
}

func guardsConfig(t *testing.T, more string) config.Source {
	dir := folder(t, map[string]string{"things.proto": guardedThings})
	hash, err := bcrypt.GenerateFromPassword([]byte("pw"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(t.TempDir(), "transom.yaml")
	write(t, conf, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {disabled: true}
schema: {sources: [%q]}
clusters: [{name: test, targets: [%q]}]
authn:
  authenticators:
    - name: users
      basic:
        users:
          - {name: ann, password_hash: %q, scopes: [things.write, secrets]}
          - {name: bob, password_hash: %q}
authz: {default: deny}
cors:
  - {selectors: [guards.v1.Things.Valid], origins: ["https://app.example"], credentials: true}
policies:
  - selectors: [guards.v1.Things.Valid]
    policy: {authz: {}}
  - selectors: [guards.v1.Things.Reported]
    policy: {authz: {}, validation: {mode: report}}
  - selectors: [guards.v1.Things.Away]
    policy: {authz: {allow_ips: [10.0.0.0/8]}}
%s`, dir, echo(t), hash, hash, more))
	return config.Source{Path: conf}
}

func startGuards(t *testing.T) *guards {
	g := &guards{running: start(t, guardsConfig(t, "")), t: t}
	conn, err := grpc.NewClient(strings.TrimPrefix(g.url, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})))
	if err != nil {
		t.Fatal(err)
	}
	g.conn = conn
	t.Cleanup(func() { conn.Close() })
	return g
}

// rest posts a thing and returns the HTTP status and body.
func (g *guards) rest(path, user, body string) (int, string) {
	g.t.Helper()
	r, err := http.NewRequest(http.MethodPost, g.url+path, strings.NewReader(body)) //nolint:noctx // a test
	if err != nil {
		g.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.SetBasicAuth(user, "pw")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// grpc sends a thing's wire bytes and returns the answer's.
func (g *guards) grpc(method, user, wire string) (string, *status.Status) {
	basic, _ := http.NewRequest(http.MethodGet, "/", nil) //nolint:noctx // for its header
	basic.SetBasicAuth(user, "pw")
	ctx := metadata.AppendToOutgoingContext(g.t.Context(), "authorization", basic.Header.Get("Authorization"))
	stream, err := g.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: method == "Watch"}, "/guards.v1.Things/"+method)
	if err != nil {
		g.t.Fatal(err)
	}
	in := rawMessage(wire)
	if err := stream.SendMsg(&in); err != nil && !errors.Is(err, io.EOF) {
		g.t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		g.t.Fatal(err)
	}
	var out rawMessage
	err = stream.RecvMsg(&out)
	return string(out), status.Convert(err)
}

// The same verdict, whichever door was used.
func TestGuardsOnEveryDoor(t *testing.T) {
	g := startGuards(t)
	const name, owner, secret = "\x0a\x02ok", "\x12\x03ann", "\x1a\x01s"
	for _, tt := range []struct {
		method, user, json, wire string
		http                     int
		text                     string // part of what the caller reads; "" passes
	}{
		{"Valid", "bob", `{"name":"ok"}`, name, 200, ""},
		{"Valid", "bob", `{"name":"x"}`, "\x0a\x01x", 400, "invalid request: name: must be at least 2 characters"},
		{"Reported", "bob", `{"name":"x"}`, "\x0a\x01x", 200, ""},
		{"Scoped", "ann", `{"name":"ok"}`, name, 200, ""},
		{"Scoped", "bob", `{"name":"ok"}`, name, 403, "the call needs the scope things.write"},
		{"Own", "ann", `{"name":"ok","owner":"ann"}`, name + owner, 200, ""},
		{"Own", "bob", `{"name":"ok","owner":"ann"}`, name + owner, 403, "not your thing"},
		{"Away", "ann", `{"name":"ok"}`, name, 403, "calls from this address are not allowed"},
		{"Unsaid", "ann", `{"name":"ok"}`, name, 403, "nobody was allowed to call this method"},
		{"Watch", "ann", `{"name":"ok","owner":"ann"}`, name + owner, 200, ""},
		{"Watch", "bob", `{"name":"ok","owner":"ann"}`, name + owner, 403, "not your thing"},
		{"Watch", "ann", `{"name":"x","owner":"ann"}`, "\x0a\x01x" + owner, 400, "invalid request: name"},
		{"Valid", "ann", `{"name":"ok","secret":"s"}`, name + secret, 403, "the field secret may not be set by this caller"},
	} {
		code, body := g.rest("/v1/"+strings.ToLower(tt.method), tt.user, tt.json)
		if code != tt.http || !strings.Contains(body, tt.text) {
			t.Errorf("REST %s %s %s: got %d %s", tt.method, tt.user, tt.json, code, body)
		}
		_, st := g.grpc(tt.method, tt.user, tt.wire)
		if (st.Code() == 0) != (tt.text == "") || !strings.Contains(st.Message(), tt.text) {
			t.Errorf("gRPC %s %s %s: got %v", tt.method, tt.user, tt.json, st)
		}
	}
}

// browser sends a request as a web page's browser does.
func (g *guards) browser(method, path, origin string, header ...string) *http.Response {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), method, g.url+path, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	r.Header.Set("Origin", origin)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

func TestWebPagesOfOtherOrigins(t *testing.T) {
	g := startGuards(t)
	for _, path := range []string{"/v1/valid", "/guards.v1.Things/Valid"} { // REST; gRPC-Web and Connect
		resp := g.browser("OPTIONS", path, "https://app.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type,x-grpc-web")
		if resp.StatusCode != 204 || resp.Header.Get("Access-Control-Allow-Origin") != "https://app.example" ||
			resp.Header.Get("Access-Control-Allow-Credentials") != "true" || resp.Header.Get("Access-Control-Allow-Methods") != "POST" {
			t.Errorf("preflight of %s: %d %v", path, resp.StatusCode, resp.Header)
		}
		resp = g.browser("POST", path, "https://app.example") // refused, and the page may read why
		if resp.Header.Get("Access-Control-Allow-Origin") != "https://app.example" || resp.Header.Get("Vary") == "" {
			t.Errorf("answer of %s: %d %v", path, resp.StatusCode, resp.Header)
		}
	}
	for _, resp := range []*http.Response{
		g.browser("OPTIONS", "/v1/valid", "https://evil.example", "Access-Control-Request-Method", "POST"),
		g.browser("OPTIONS", "/v1/valid", "https://app.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "x-strange"),
		g.browser("OPTIONS", "/v1/scoped", "https://app.example", "Access-Control-Request-Method", "POST"),
		g.browser("POST", "/v1/valid", "https://evil.example"),
	} {
		if v := resp.Header.Get("Access-Control-Allow-Origin"); v != "" {
			t.Errorf("%s %s: allowed for %q", resp.Request.Method, resp.Request.URL.Path, v)
		}
	}
	resp := g.browser("GET", "/nothing", "https://app.example")
	if resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("X-Frame-Options") != "DENY" {
		t.Errorf("security headers: %v", resp.Header)
	}
}

// A rule that does not fit the method is a load error, with its place.
func TestRulesAreCheckedAtLoad(t *testing.T) {
	_, err := gateway.New(context.Background(), guardsConfig(t, `
  - selectors: [guards.v1.Things.Unsaid]
    policy: {authz: {rules: [{cel: "request.nothing == 1"}]}}
`))
	if err == nil || !strings.Contains(err.Error(), "transom.yaml:") || !strings.Contains(err.Error(), "undefined field 'nothing'") {
		t.Errorf("got %v", err)
	}
}
