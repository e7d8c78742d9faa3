package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/transomhq/transom/config"
	"github.com/transomhq/transom/gateway"
)

const trafficSchema = `
syntax = "proto3";
package test.v1;
import "google/api/annotations.proto";
import "google/protobuf/struct.proto";
service Shop {
  rpc Get(Ask) returns (google.protobuf.Value) { option (google.api.http) = {get: "/get"}; }
  rpc Put(Ask) returns (google.protobuf.Value) { option (google.api.http) = {post: "/put" body: "*"}; }
  rpc Erase(Ask) returns (google.protobuf.Value) { option idempotency_level = IDEMPOTENT; option (google.api.http) = {delete: "/erase"}; }
  rpc Watch(Ask) returns (stream google.protobuf.Value) { option (google.api.http) = {get: "/watch"}; }
  rpc Send(stream Ask) returns (google.protobuf.Value);
}
message Ask { string name = 1; }
`

// side is a backend that answers with its name, fails or waits when it is told,
// and remembers what it saw.
type side struct {
	addr  string
	fails atomic.Uint32 // a gRPC code
	wait  chan struct{} // nil: at once

	mu   sync.Mutex
	seen map[string]int // by method
	last metadata.MD
	asks string // the wire bytes of the last request
}

func newSide(t *testing.T, name string, wait chan struct{}) *side {
	s := &side{wait: wait, seen: map[string]int{}}
	srv := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, ss grpc.ServerStream) error {
		var in emptypb.Empty // all fields are unknown, and kept
		if err := ss.RecvMsg(&in); err != nil {
			return err
		}
		method, _ := grpc.MethodFromServerStream(ss)
		s.mu.Lock()
		s.seen[method[strings.LastIndexByte(method, '/')+1:]]++
		s.last, _ = metadata.FromIncomingContext(ss.Context())
		s.asks = string(in.ProtoReflect().GetUnknown())
		s.mu.Unlock()
		if s.wait != nil {
			select {
			case <-s.wait:
			case <-ss.Context().Done():
			}
		}
		if code := codes.Code(s.fails.Load()); code != codes.OK {
			return status.Error(code, "broken")
		}
		return ss.SendMsg(structpb.NewStringValue(name))
	}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Stop(); <-done })
	s.addr = l.Addr().String()
	return s
}

func (s *side) saw(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[method]
}

func (s *side) request() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asks
}

func (s *side) metadata() metadata.MD {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// shaped is a gateway in front of a stable backend and a canary.
type shaped struct {
	*running
	t              *testing.T
	conf           string
	stable, canary *side
	conn           *grpc.ClientConn
}

func trafficConfig(t *testing.T, stable, canary *side, more string) string {
	dir := folder(t, map[string]string{"shop.proto": trafficSchema})
	return fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
schema: {sources: [%q]}
reload: {watch: false}
clusters: [{name: v1, targets: [%q]}, {name: v2, targets: [%q]}]
%s
`, dir, stable.addr, canary.addr, more)
}

func startShaped(t *testing.T, stable, canary *side, more string) *shaped {
	t.Helper()
	s := &shaped{t: t, conf: filepath.Join(t.TempDir(), "transom.yaml"), stable: stable, canary: canary}
	write(t, s.conf, trafficConfig(t, stable, canary, more))
	s.running = start(t, config.Source{Path: s.conf})
	var err error
	if s.conn, err = grpc.NewClient(s.Addrs()[0].String(), grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.conn.Close() })
	return s
}

func twoSides(t *testing.T, more string) *shaped {
	t.Helper()
	return startShaped(t, newSide(t, "stable", nil), newSide(t, "canary", nil), more)
}

// grpc makes a unary call and returns what the backend is called.
func (s *shaped) grpc(method string, md ...string) (string, error) {
	var out structpb.Value
	ctx := metadata.AppendToOutgoingContext(s.t.Context(), md...)
	err := s.conn.Invoke(ctx, "/test.v1.Shop/"+method, &structpb.Struct{}, &out)
	return out.GetStringValue(), err
}

// rest makes a request and returns the response with its body read.
func (s *shaped) rest(method, path string, headers ...string) (*http.Response, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp, strings.Trim(string(body), "\"\n")
}

// operators returns a page of the admin listener.
func (s *shaped) operators(path string) string {
	s.t.Helper()
	_, body := get(s.t, "http://"+s.AdminAddr().String()+path)
	return body
}

// users is an authenticator of bearer tokens.
func users(p *identityProvider) string {
	return fmt.Sprintf(`
authn:
  authenticators:
    - {name: users, jwt: {issuer: "https://login.example", audiences: [vault], jwks: {url: %q}}}
`, p.URL)
}

// A canary at 5 % gets 5 % of the callers, the same ones behind every door.
func TestCanary(t *testing.T) {
	p := newIdentityProvider(t)
	s := twoSides(t, users(p)+`
routes:
  - selector: "*"
    split: [{name: stable, cluster: v1, weight: 95}, {name: canary, cluster: v2, weight: 5}]
    sticky: principal
`)
	const callers = 1500
	canaries := 0
	for i := range callers {
		token := "Bearer " + p.token(map[string]any{"sub": fmt.Sprintf("user-%d", i)})
		side, err := s.grpc("Get", "authorization", token)
		if err != nil {
			t.Fatal(err)
		}
		if side == "canary" {
			canaries++
		}
		if i%5 > 0 && side != "canary" {
			continue
		}
		if again, err := s.grpc("Put", "authorization", token); err != nil || again != side {
			t.Fatalf("caller %d was at %s, then at %s (%v)", i, side, again, err)
		}
		if resp, again := s.rest("GET", "/get", "Authorization", token); resp.StatusCode != 200 || again != side {
			t.Fatalf("caller %d was at %s, with REST at %s (%d)", i, side, again, resp.StatusCode)
		}
	}
	if share := float64(canaries) / callers * 100; math.Abs(share-5) > 1.5 {
		t.Errorf("the canary got %.1f %% of the callers", share)
	}
	if lines := s.logs.String(); !strings.Contains(lines, "subset=canary") || !strings.Contains(lines, "subset=stable") {
		t.Error("the log says nothing of subsets")
	}
}

func (s *shaped) ramp() *gateway.Traffic {
	all := s.Traffic()
	if len(all) != 1 || all[0].Ramp == nil {
		s.t.Fatalf("traffic: %+v", all)
	}
	return &all[0]
}

const rampRoute = `
routes:
  - selector: test.v1.*
    split: [{name: stable, cluster: v1, weight: 1}, {name: canary, cluster: v2}]
    ramp: {subset: canary, from: %d, to: %d, stop: {error_points: 5, min_calls: 20, window: 30s}}
`

// A canary that begins to fail loses its calls within the window, operators
// read why, and a reload of something else does not bring it back.
func TestCanaryStops(t *testing.T) {
	s := twoSides(t, fmt.Sprintf(rampRoute, 20, 20))
	for range 200 {
		if _, err := s.grpc("Put"); err != nil {
			t.Fatal(err)
		}
	}
	if s.canary.saw("Put") == 0 || s.ramp().Ramp.State != "done" {
		t.Fatalf("before: %d calls of the canary, %+v", s.canary.saw("Put"), s.ramp())
	}
	s.canary.fails.Store(uint32(codes.Internal))
	injected, lost := time.Now(), 0
	for s.ramp().Ramp.State != "stopped" {
		if time.Since(injected) > 30*time.Second {
			t.Fatalf("not stopped: %+v", s.ramp())
		}
		if _, err := s.grpc("Put"); err != nil {
			lost++
		}
	}
	t.Logf("stopped after %s and %d failed calls: %s", time.Since(injected), lost, s.ramp().Ramp.Stopped.Why)
	all := func(when string) {
		t.Helper()
		for range 100 {
			if side, err := s.grpc("Put"); side != "stable" {
				t.Fatalf("%s: %q, %v", when, side, err)
			}
		}
	}
	all("after the stop")
	if lines := s.logs.String(); !strings.Contains(lines, "level=WARN") || !strings.Contains(lines, "a ramp has stopped itself") {
		t.Error("the log says nothing of the stop")
	}
	page := s.operators("/upstreams")
	if !strings.Contains(page, "ramp of canary from 20% to 20%, stopped at ") || !strings.Contains(page, "calls failed, of the others") {
		t.Errorf("/upstreams:\n%s", page)
	}
	metrics := s.operators("/metrics")
	for _, want := range []string{
		`transom_route_share{cluster="v2",route="test.v1.*",subset="canary"} 0`, `transom_route_share{cluster="v1",route="test.v1.*",subset="stable"} 1`,
		`transom_route_ramp_stopped{route="test.v1.*",subset="canary"} 1`, `transom_route_calls_failed_total{route="test.v1.*",subset="canary"} ` + fmt.Sprint(lost),
		`transom_route_call_duration_seconds_count{route="test.v1.*",subset="stable"} `, `transom_route_calls_running{route="test.v1.*",subset="stable"} 0`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics do not say %s", want)
		}
	}
	route := fmt.Sprintf(rampRoute, 20, 20)
	write(t, s.conf, trafficConfig(t, s.stable, s.canary, route+"policies: [{selectors: [\"*\"], policy: {deadline: {max: 1m}}}]"))
	if err := s.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	all("after a reload")
	s.canary.fails.Store(0)
	write(t, s.conf, trafficConfig(t, s.stable, s.canary, fmt.Sprintf(rampRoute, 100, 100)))
	if err := s.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if side, err := s.grpc("Put"); side != "canary" {
		t.Errorf("a route that was changed: %q, %v", side, err)
	}
}

// Testers choose with a header that counts only with a scope.
func TestTestersChoose(t *testing.T) {
	p := newIdentityProvider(t)
	s := twoSides(t, users(p)+`
routes:
  - selector: "*"
    split: [{name: stable, cluster: v1, weight: 1}, {name: canary, cluster: v2}]
    matches: [{subset: canary, headers: [{name: X-Subset, exact: canary}], scope: canary.test}]
`)
	for name, c := range map[string]struct{ scope, header, want string }{
		"a tester":           {"canary.test", "canary", "canary"},
		"a tester at rest":   {"canary.test", "", "stable"},
		"without the scope":  {"open", "canary", "stable"},
		"with another value": {"canary.test", "stable", "stable"},
	} {
		token := "Bearer " + p.token(map[string]any{"scope": c.scope})
		if side, err := s.grpc("Get", "authorization", token, "x-subset", c.header); side != c.want {
			t.Errorf("%s: gRPC went to %q (%v), want %q", name, side, err, c.want)
		}
		if _, side := s.rest("GET", "/get", "Authorization", token, "X-Subset", c.header); side != c.want {
			t.Errorf("%s: REST went to %q, want %q", name, side, c.want)
		}
		if _, side := s.rest("GET", "/watch", "Authorization", token, "X-Subset", c.header, "Accept", "application/x-ndjson"); !strings.Contains(side, c.want) {
			t.Errorf("%s: a stream went to %q, want %q", name, side, c.want)
		}
	}
}

// A cookie keeps its sessions together, and goes no further.
func TestStickyCookie(t *testing.T) {
	s := twoSides(t, `
routes:
  - selector: "*"
    split: [{name: stable, cluster: v1, weight: 1}, {name: canary, cluster: v2, weight: 1}]
    sticky: cookie:sid
`)
	at := map[string]int{}
	for i := range 40 {
		cookie := fmt.Sprintf("theme=dark; sid=s%d", i)
		_, side := s.rest("GET", "/get", "Cookie", cookie)
		at[side]++
		for range 3 {
			if _, again := s.rest("GET", "/get", "Cookie", cookie); again != side {
				t.Fatalf("session %d moved from %s to %s", i, side, again)
			}
		}
	}
	if at["stable"] < 8 || at["canary"] < 8 {
		t.Errorf("sessions by side: %v", at)
	}
	if md := s.stable.metadata(); len(md["cookie"]) > 0 {
		t.Errorf("the backend saw %v", md)
	}
}

// Copies of requests reach the other cluster; clients neither see nor wait for
// it; what may change something is not copied.
func TestMirror(t *testing.T) {
	stuck := make(chan struct{})
	defer close(stuck)
	stable, mirror := newSide(t, "stable", nil), newSide(t, "mirror", stuck)
	s := startShaped(t, stable, mirror, `
routes: [{selector: "*", cluster: v1, mirror: {cluster: v2, max_running: 4}}]
`)
	for range 2 { // four copies in all, none of which is answered
		if side, err := s.grpc("Get", "x-tenant", "acme", "x-transom-mirror", "forged"); err != nil || side != "stable" {
			t.Fatal(side, err)
		}
		if _, side := s.rest("GET", "/watch"); !strings.Contains(side, "stable") {
			t.Fatal(side)
		}
	}
	within(t, 20*time.Second, func() bool { return mirror.saw("Get") == 2 && mirror.saw("Watch") == 2 })
	if md := stable.metadata(); len(md["x-transom-mirror"]) > 0 {
		t.Errorf("a client can forge the mark of a copy: %v", md)
	}
	if md := mirror.metadata(); len(md["x-transom-mirror"]) != 1 || md["x-transom-mirror"][0] != "1" {
		t.Errorf("the mirror saw %v", md)
	}
	if side, err := s.grpc("Get"); err != nil || side != "stable" { // a fifth is dropped
		t.Fatal(side, err)
	}
	for _, method := range []string{"Put", "Erase"} {
		if side, err := s.grpc(method); err != nil || side != "stable" {
			t.Fatal(side, err)
		}
	}
	if m := s.Traffic()[0].Mirror; m.Sent != 4 || m.Dropped != 1 || m.Running != 4 {
		t.Errorf("mirror: %+v", m)
	}
	if mirror.saw("Put")+mirror.saw("Erase") > 0 {
		t.Error("what may change something was copied")
	}
	if page := s.operators("/upstreams"); !strings.Contains(page, "mirror of 100% to v2: 4 sent, 0 failed, 1 dropped, 4 running") {
		t.Errorf("/upstreams:\n%s", page)
	}
	if metrics := s.operators("/metrics"); !strings.Contains(metrics, `transom_route_mirrored_total{cluster="v2",result="sent",route="*"} 4`) {
		t.Error("the metrics say nothing of copies")
	}
	s.conn.Close()
	if err := s.stop(); err != nil { // copies that run do not keep it
		t.Error(err)
	}
}

func TestMirrorOfMutatingMethods(t *testing.T) {
	stable, mirror := newSide(t, "stable", nil), newSide(t, "mirror", nil)
	mirror.fails.Store(uint32(codes.Internal))
	s := startShaped(t, stable, mirror, `
routes: [{selector: "*", cluster: v1, mirror: {cluster: v2, mutating: true}}]
`)
	for range 5 {
		if side, err := s.grpc("Put"); err != nil || side != "stable" {
			t.Fatal(side, err)
		}
	}
	within(t, 20*time.Second, func() bool { m := s.Traffic()[0].Mirror; return m.Failed == 5 && m.Running == 0 })
	if mirror.saw("Put") != 5 {
		t.Errorf("%d copies", mirror.saw("Put"))
	}
	resp, err := http.Post(s.url+"/put", "application/json", strings.NewReader(`{"name": "ann"}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	within(t, 20*time.Second, func() bool { return mirror.saw("Put") == 6 })
	if got := mirror.request(); got != "\x0a\x03ann" || got != stable.request() {
		t.Errorf("the mirror was asked %q", got)
	}
}

// What is shared and mirrored is said before it serves.
func TestTrafficIsExplained(t *testing.T) {
	side := newSide(t, "any", nil)
	file := filepath.Join(t.TempDir(), "transom.yaml")
	write(t, file, trafficConfig(t, side, side, `
routes:
  - selector: test.v1.Shop
    split: [{name: stable, cluster: v1, weight: 19}, {name: canary, cluster: v2, weight: 1}]
    sticky: header:x-tenant
    matches: [{subset: canary, headers: [{name: x-subset, exact: canary}], scope: canary.test}]
    mirror: {cluster: v2, percent: 10}
`))
	i, err := gateway.Inspect(context.Background(), config.Source{Path: file})
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	e := i.Explain("GET", "/get")
	want := []string{"sticky by header:x-tenant", `to canary if header x-subset is "canary", the caller has scope "canary.test"`, "mirror of 10% to v2"}
	if got, _ := json.Marshal(e.Traffic); string(got) != mustJSON(t, want) || e.Route.Upstream != "v1 (stable) 95%, v2 (canary) 5%" {
		t.Errorf("explained as %s, %s", e.Route.Upstream, got)
	}
	if e := i.Explain("POST", "/put"); !strings.Contains(strings.Join(e.Traffic, "\n"), "not mirrored") {
		t.Errorf("POST is explained as %v", e.Traffic)
	}
	warning := `route "test.v1.Shop": mirror: not mirrored are test.v1.Shop.Erase, test.v1.Shop.Put, test.v1.Shop.Send`
	if got := strings.Join(i.Warnings(), "\n"); !strings.Contains(got, warning) {
		t.Errorf("warnings:\n%s", got)
	}
}

func mustJSON(t *testing.T, v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Testers make calls wait and fail, behind every door; nobody else does.
func TestFaults(t *testing.T) {
	p := newIdentityProvider(t)
	s := twoSides(t, users(p)+`
routes: [{selector: "*", cluster: v1}]
policies:
  - selectors: [test.v1.Shop]
    policy: {faults: {scope: chaos, header: x-fault, delay: {duration: 10ms}, abort: {code: UNAVAILABLE, message: "out of stock"}}}
  - selectors: [test.v1.Shop.Get]
    policy: {faults: {scope: chaos, delay: {duration: 1m}}}
`)
	tester, other := "Bearer "+p.token(map[string]any{"scope": "chaos"}), "Bearer "+p.token(nil)
	for name, c := range map[string]struct {
		token, header string
		fails         bool
	}{"a tester": {tester, "1", true}, "a tester without the header": {tester, "", false}, "somebody else": {other, "1", false}} {
		headers := []string{"Authorization", c.token}
		if c.header != "" {
			headers = append(headers, "X-Fault", c.header)
		}
		resp, body := s.rest("DELETE", "/erase", headers...)
		if failed := resp.StatusCode == 503 && strings.Contains(body, "out of stock") && strings.Contains(body, "FAULT_INJECTED"); failed != c.fails {
			t.Errorf("%s: REST: %d %s", name, resp.StatusCode, body)
		}
		resp, body = s.rest("GET", "/watch", append(headers, "Accept", "text/event-stream")...)
		if failed := strings.Contains(body, "out of stock"); failed != c.fails {
			t.Errorf("%s: SSE: %d %s", name, resp.StatusCode, body)
		}
		if _, err := s.grpc("Put", headers...); (status.Code(err) == codes.Unavailable) != c.fails {
			t.Errorf("%s: gRPC: %v", name, err)
		}
		ctx := metadata.AppendToOutgoingContext(t.Context(), headers...)
		if err := watchOnce(ctx, s.conn); (status.Code(err) == codes.Unavailable) != c.fails {
			t.Errorf("%s: gRPC stream: %v", name, err)
		}
	}
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "authorization", tester), 50*time.Millisecond)
	defer cancel()
	if err := s.conn.Invoke(ctx, "/test.v1.Shop/Get", &structpb.Struct{}, &structpb.Value{}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a call that waits longer than its deadline: %v", err)
	}
	if s.stable.saw("Get") > 0 {
		t.Error("a call that was delayed past its end reached the backend")
	}
	if metrics := s.operators("/metrics"); !strings.Contains(metrics, `transom_faults_injected_total{kind="abort",method="/test.v1.Shop/Erase"} 1`) {
		t.Error("the metrics say nothing of faults")
	}
	if !strings.Contains(s.logs.String(), "fault=abort") {
		t.Error("the log says nothing of faults")
	}
}

// watchOnce makes a server stream and returns how it ended.
func watchOnce(ctx context.Context, conn *grpc.ClientConn) error {
	ss, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/test.v1.Shop/Watch")
	if err != nil {
		return err
	}
	if err := ss.SendMsg(&structpb.Struct{}); err != nil {
		return err
	}
	_ = ss.CloseSend()
	for err == nil {
		err = ss.RecvMsg(new(structpb.Value))
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// What the gateway itself fails, it says in Proxy-Status, behind every door.
func TestProxyStatusOfEachDoor(t *testing.T) {
	refusing, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing.Close()
	s := startShaped(t, &side{addr: refusing.Addr().String()}, newSide(t, "canary", nil), `
routes: [{selector: "*", cluster: v1}]
`)
	const want = `transom; error=connection_refused; details="test.v1.Shop cannot be reached; try again later"; rpc=UNAVAILABLE`
	if resp, body := s.rest("GET", "/get"); resp.StatusCode != 503 || resp.Header.Get("Proxy-Status") != want {
		t.Errorf("REST: %d %q %s", resp.StatusCode, resp.Header["Proxy-Status"], body)
	}
	if resp, body := s.rest("GET", "/watch"); resp.StatusCode != 503 || resp.Header.Get("Proxy-Status") != want {
		t.Errorf("NDJSON: %d %q %s", resp.StatusCode, resp.Header["Proxy-Status"], body)
	}
	var trailer metadata.MD
	err = s.conn.Invoke(t.Context(), "/test.v1.Shop/Get", &structpb.Struct{}, &structpb.Value{}, grpc.Trailer(&trailer))
	if status.Code(err) != codes.Unavailable || len(trailer["proxy-status"]) != 1 || trailer["proxy-status"][0] != want {
		t.Errorf("gRPC: %v %v", err, trailer)
	}
	for kind, body := range map[string]string{"application/grpc-web+proto": "\x00\x00\x00\x00\x00", "application/json": "{}"} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/test.v1.Shop/Get", strings.NewReader(body))
		req.Header.Set("Content-Type", kind)
		req.Header.Set("Connect-Protocol-Version", "1")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.Header.Get("Proxy-Status") != want && !strings.Contains(string(text), "proxy-status: "+want+"\r\n") {
			t.Errorf("%s: %d %v %q", kind, resp.StatusCode, resp.Header, text)
		}
	}
}

// A team cannot declare faults for everybody by forgetting the scope.
func TestFaultsOfTeamsAreChecked(t *testing.T) {
	schema := func(faults string) string {
		text := strings.Replace(trafficSchema, `import "google/protobuf/struct.proto";`, "import \"google/protobuf/struct.proto\";\nimport \"transom/policy/v1/policy.proto\";", 1)
		return strings.Replace(text, "service Shop {", "service Shop {\n  option (transom.policy.v1.service) = {faults: {"+faults+"}};", 1)
	}
	for faults, want := range map[string]string{
		`abort: {code: "ABORTED"}`:                      "policy faults of test.v1.Shop.Get: it would touch everybody's calls",
		`scope: "s" abort: {code: "OK"}`:                `abort.code: "OK" is not the name`,
		`scope: "s" delay: {duration: {seconds: 3600}}`: "delay.duration: want more than 0s and at most 5m",
		`scope: "s"`: "it does nothing",
	} {
		dir := folder(t, map[string]string{"shop.proto": schema(faults)})
		if _, err := gateway.New(t.Context(), flags(dir, "127.0.0.1:1")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", faults, err)
		}
	}
}
