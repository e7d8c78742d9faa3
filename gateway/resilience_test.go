package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/transomhq/transom/config"
	"github.com/transomhq/transom/gateway"
)

const flakySchema = `
syntax = "proto3";
package test.v1;
import "google/api/annotations.proto";
import "google/protobuf/struct.proto";
service Flaky {
  rpc Read(Ask) returns (google.protobuf.Value) { option idempotency_level = NO_SIDE_EFFECTS; option (google.api.http) = {get: "/read"}; }
  rpc Watch(Ask) returns (stream google.protobuf.Value) { option idempotency_level = NO_SIDE_EFFECTS; option (google.api.http) = {get: "/watch"}; }
  rpc Write(Ask) returns (google.protobuf.Value) { option (google.api.http) = {post: "/write" body: "*"}; }
  rpc Told(Ask) returns (google.protobuf.Value) { option (google.api.http) = {post: "/told" body: "*"}; }
}
message Ask { string name = 1; }
`

// flakyBackend fails every other call with UNAVAILABLE, before it answers anything.
func flakyBackend(t *testing.T) (string, *atomic.Int64) {
	var calls atomic.Int64
	srv := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, ss grpc.ServerStream) error {
		var in structpb.Value
		if err := ss.RecvMsg(&in); err != nil {
			return err
		}
		if calls.Add(1)%2 == 1 {
			return status.Error(codes.Unavailable, "not now")
		}
		return ss.SendMsg(structpb.NewStringValue("hello"))
	}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Stop(); <-done })
	return l.Addr().String(), &calls
}

// Whether a call is repeated follows from the schema and the policies, the
// same behind every door, and operators see it.
func TestRetriesThroughTheGateway(t *testing.T) {
	addr, calls := flakyBackend(t)
	dir := folder(t, map[string]string{"flaky.proto": flakySchema, "transom.yaml": fmt.Sprintf(`
schema: {sources: [flaky.proto]}
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
clusters:
  - {name: flaky, targets: [%q], balancer: least_request, circuit_breaker: {max_calls: 100}}
policies:
  - selectors: [test.v1.Flaky.Told]
    policy: {upstream: {retry: {max_attempts: 2, codes: [UNAVAILABLE], initial_backoff: 1ms, max_backoff: 2ms, per_try_timeout: 30s}}}
`, addr)})
	g := start(t, config.Source{Path: dir + "/transom.yaml"})
	for _, c := range []struct {
		method, path string
		status       int
		attempts     int64
	}{
		{"GET", "/read", 200, 2},
		{"GET", "/watch", 200, 2},
		{"POST", "/write", 503, 1},
		{"POST", "/told", 200, 2},
	} {
		calls.Store(0)
		body := ""
		if c.method == "POST" {
			body = "{}"
		}
		req, _ := http.NewRequestWithContext(t.Context(), c.method, g.url+c.path, strings.NewReader(body))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != c.status || calls.Load() != c.attempts {
			t.Errorf("%s %s: %d %s after %d attempts, want %d after %d", c.method, c.path, resp.StatusCode, text, calls.Load(), c.status, c.attempts)
		}
	}
	conn, err := grpc.NewClient(g.Addrs()[0].String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for method, want := range map[string]codes.Code{"Read": codes.OK, "Write": codes.Unavailable, "Told": codes.OK} {
		calls.Store(0)
		err := conn.Invoke(t.Context(), "/test.v1.Flaky/"+method, &structpb.Struct{}, &structpb.Value{})
		if status.Code(err) != want {
			t.Errorf("%s: %v, want %s", method, err, want)
		}
	}
	if lines := g.logs.String(); !strings.Contains(lines, "attempts=2") {
		t.Errorf("the log says nothing of attempts:\n%s", lines)
	}
	seeUpstreams(t, "http://"+g.AdminAddr().String(), addr)
}

func seeUpstreams(t *testing.T, admin, addr string) {
	get := func(path string) string {
		resp, err := http.Get(admin + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return string(text)
	}
	var page struct{ Upstreams []gateway.Upstream }
	if err := json.Unmarshal([]byte(get("/upstreams?format=json")), &page); err != nil {
		t.Fatal(err)
	}
	u := page.Upstreams[0]
	if len(page.Upstreams) != 1 || u.Name != "flaky" || u.Calls != 7 || u.Attempts != 12 || u.Retries != 5 ||
		len(u.Endpoints) != 1 || u.Endpoints[0].Address != addr || u.Endpoints[0].State != "ready" {
		t.Errorf("/upstreams: %+v", page)
	}
	if text := get("/upstreams"); !strings.Contains(text, addr+"  ready") {
		t.Errorf("/upstreams:\n%s", text)
	}
	if text := get("/metrics"); !strings.Contains(text, `transom_upstream_retries_total{cluster="flaky"} 5`) {
		t.Error("the metrics say nothing of retries")
	}
}

// What is not done is said, part by part.
func TestUpstreamPoliciesThatHaveNoEffect(t *testing.T) {
	dir := folder(t, map[string]string{"flaky.proto": flakySchema, "transom.yaml": `
schema: {sources: [flaky.proto]}
clusters: [{name: flaky, targets: ["127.0.0.1:1"]}]
policies:
  - selectors: [test.v1.*]
    policy: {upstream: {retry: {max_attempts: 2}, hedge: {delay: 1s}}}
`})
	i, err := gateway.Inspect(context.Background(), config.Source{Path: dir + "/transom.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	got := strings.Join(i.Warnings(), "\n")
	if !strings.Contains(got, `policy "upstream.hedge" has no effect`) || strings.Contains(got, "retry") {
		t.Errorf("warnings:\n%s", got)
	}
}
