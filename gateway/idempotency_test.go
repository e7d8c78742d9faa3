package gateway_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/transomhq/transom/config"
)

const onceSchema = `
syntax = "proto3";
package test.v1;
import "google/api/annotations.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/wrappers.proto";
service Once {
  rpc Pay(google.protobuf.StringValue) returns (google.protobuf.StringValue) { option (google.api.http) = {post: "/pay" body: "*"}; }
  rpc Must(google.protobuf.StringValue) returns (google.protobuf.StringValue) { option (google.api.http) = {post: "/must" body: "*"}; }
}
`

// countingBackend answers with the number of the call; the request "down" with UNAVAILABLE.
func countingBackend(t *testing.T, hold <-chan struct{}) (string, *atomic.Int64) {
	var calls atomic.Int64
	srv := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, ss grpc.ServerStream) error {
		var in structpb.Value // field 1 of both is not looked at
		if err := ss.RecvMsg(&in); err != nil {
			return err
		}
		n := calls.Add(1)
		if hold != nil {
			<-hold
		}
		_ = ss.SetHeader(metadata.Pairs("x-answer", fmt.Sprint(n)))
		if n == 1 && hold == nil {
			return status.Error(codes.Unavailable, "not now")
		}
		return ss.SendMsg(&structpb.Struct{})
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

func onceGateway(t *testing.T, addr string) *running {
	dir := folder(t, map[string]string{"once.proto": onceSchema, "transom.yaml": fmt.Sprintf(`
schema: {sources: [once.proto]}
listeners: [{address: "127.0.0.1:0"}]
admin: {disabled: true}
headers: {response: [x-answer]}
clusters: [{name: once, targets: [%q]}]
policies:
  - selectors: [test.v1.Once.Pay]
    policy: {upstream: {idempotency_key: {ttl: 1h}}}
  - selectors: [test.v1.Once.Must]
    policy: {upstream: {idempotency_key: {required: true}}}
`, addr)})
	return start(t, config.Source{Path: dir + "/transom.yaml"})
}

// post returns the status, the backend's header and whether the answer was replayed.
func post(t *testing.T, url, key, body string) string {
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return strings.TrimSpace(fmt.Sprintf("%d %s %s", resp.StatusCode, resp.Header.Get("X-Answer"), resp.Header.Get("Idempotency-Replayed")))
}

func TestIdempotencyKey(t *testing.T) {
	addr, _ := countingBackend(t, nil)
	g := onceGateway(t, addr)
	for i, c := range []struct{ path, key, body, want string }{
		{"/pay", "k1", `"a"`, "503 1"},      // nothing is kept of what says: again
		{"/pay", "k1", `"a"`, "200 2"},      // so the next one is made
		{"/pay", "k1", `"a"`, "200 2 true"}, // and answers for good
		{"/pay", "k1", `"b"`, "422"},        // a key is for one request
		{"/pay", "k2", `"a"`, "200 3"},      // another key, another call
		{"/pay", "", `"a"`, "200 4"},        // no key
		{"/must", "k1", `"a"`, "200 5"},     // another method
		{"/must", "", `"a"`, "400"},         // required
		{"/must", strings.Repeat("k", 256), `"a"`, "400"},
	} {
		if got := post(t, g.url+c.path, c.key, c.body); got != c.want {
			t.Errorf("%d: POST %s with %q: got %q, want %q", i, c.path, c.key, got, c.want)
		}
	}
	conn, err := grpc.NewClient(g.Addrs()[0].String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var header metadata.MD
	ctx := metadata.AppendToOutgoingContext(t.Context(), "idempotency-key", "k1")
	if err := conn.Invoke(ctx, "/test.v1.Once/Pay", structpb.NewStringValue("x"), &structpb.Struct{}, grpc.Header(&header)); status.Code(err) != codes.InvalidArgument {
		t.Errorf("native, another request: %v", err)
	}
}

// Those who ask while the first is being answered wait, and get its answer.
func TestIdempotencyKeyConcurrent(t *testing.T) {
	hold := make(chan struct{})
	addr, calls := countingBackend(t, hold)
	g := onceGateway(t, addr)
	var all sync.WaitGroup
	answers := make(chan string, 8)
	for range 8 {
		all.Go(func() { answers <- post(t, g.url+"/pay", "same", `"a"`) })
	}
	for calls.Load() == 0 {
		select {
		case got := <-answers:
			t.Fatal("answered too soon: ", got)
		default:
		}
	}
	close(hold)
	all.Wait()
	close(answers)
	counts := map[string]int{}
	for a := range answers {
		counts[a]++
	}
	if calls.Load() != 1 || counts["200 1"] != 1 || counts["200 1 true"] != 7 {
		t.Errorf("%d calls, answers %v", calls.Load(), counts)
	}
}
