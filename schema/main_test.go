package schema

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/tools/txtar"

	"github.com/transomhq/transom/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// folder writes the files of a txtar archive into a new folder.
func folder(t testing.TB, archive string) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range txtar.Parse([]byte(archive)).Files {
		write(t, filepath.Join(dir, f.Name), string(f.Data))
	}
	return dir
}

func write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func load(t testing.TB, opts Options) *Snapshot {
	t.Helper()
	s, err := Load(t.Context(), opts)
	if err != nil {
		t.Fatalf("load:\n%v", err)
	}
	return s
}

// routes prints bindings, one a line, as "HTTP template body>response_body method".
func routes(s *Snapshot) string {
	var b strings.Builder
	for _, r := range s.Bindings {
		b.WriteString(route(r) + "\n")
	}
	return b.String()
}

func route(r *rpc.Binding) string {
	parts := []string{r.HTTPMethod, r.Template}
	if r.Body != "" || r.ResponseBody != "" {
		parts = append(parts, r.Body+">"+r.ResponseBody)
	}
	return strings.Join(append(parts, r.Method.Selector()), " ")
}

func same(t testing.TB, got, want string) {
	t.Helper()
	got, want = strings.TrimSpace(got), strings.TrimSpace(want)
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// loadError returns the text of the error that a load must end with.
func loadError(t testing.TB, opts Options) string {
	t.Helper()
	s, err := Load(t.Context(), opts)
	if err == nil {
		t.Fatalf("load gave %d bindings, want an error", len(s.Bindings))
	}
	if s != nil {
		t.Error("load gave a snapshot beside its error")
	}
	return err.Error()
}

const shop = `
-- shop/v1/shop.proto --
syntax = "proto3";
package shop.v1;
import "google/api/annotations.proto";
import "google/protobuf/timestamp.proto";
import "transom/policy/v1/policy.proto";
import "shop/v1/item.proto";

// Orders takes orders.
service Orders {
  // Get finds one.
  rpc Get(GetRequest) returns (Item) {
    option (google.api.http) = {
      get: "/v1/{name=orders/*}"
      additional_bindings {
        get: "/v1/at/{since}"
      }
      additional_bindings {
        post: "/v1/{item.id}:get"
        body: "item"
        response_body: "name"
      }
    };
    option (transom.policy.v1.method).authz.scopes = "orders.read";
  }
  rpc Watch(GetRequest) returns (stream Item);
}

message GetRequest {
  // The order's name.
  string name = 1;
  google.protobuf.Timestamp since = 2;
  Item item = 3;
  repeated string tags = 4;
}
-- shop/v1/item.proto --
syntax = "proto3";
package shop.v1;
message Item { string id = 1; string name = 2; }
`
