package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/transomhq/transom/config"
	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
)

// write puts files into a new folder and returns it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const whole = `
listeners:
  - address: ":${PORT:-8443}"
schema:
  sources: [protos, grpc://orders:50051]
  httpRules: [rules.yaml]
  implicit_bindings: false
clusters:
  - &orders
    name: orders
    targets: ["dns:///${ORDERS_HOST}:50051"]
    health_service: ""
    keepalive: 1m30s
    max_receive_bytes: 8 MiB
  - name: catalog
    targets: ["10.0.0.1:1", "10.0.0.2:1"]
routes:
  - {selector: shop.orders.v1.*, cluster: orders}
  - {selector: "*", cluster: catalog}
rest: {profile: PROFILE_GRPC_GATEWAY, challenge: "$${literal}"}
policies:
  - selectors: [shop.orders.v1.*]
    policy:
      deadline: {default: 500ms, max: 0.5s}
      rest: {unknown_fields: ignore, indent: "2", max_body_bytes: 1MB}
      version: {name: 2026-10-01, sunset_at: 2026-10-01, deprecated_at: 2026-09-01T12:00:00+02:00}
      streams: {slow_consumer: drop_oldest}
logging: {access: "${ACCESS:-false}"}
drain:
`

func loadWhole(t *testing.T) *configv1.Config {
	t.Helper()
	dir := write(t, map[string]string{"etc/transom.yaml": whole, "etc/protos/a.proto": "", "etc/rules.yaml": ""})
	cfg, err := config.Load(filepath.Join(dir, "etc/transom.yaml"), lookup(map[string]string{"ORDERS_HOST": "orders", "ACCESS": ""}))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestLoadReadsEveryForm(t *testing.T) {
	cfg := loadWhole(t)
	orders, policy := cfg.GetClusters()[0], cfg.GetPolicies()[0].GetPolicy()
	for name, ok := range map[string]bool{
		"default of a variable":       cfg.GetListeners()[0].GetAddress() == ":8443",
		"relative folder":             strings.HasSuffix(cfg.GetSchema().GetSources()[0], "/etc/protos"),
		"server as it is":             cfg.GetSchema().GetSources()[1] == "grpc://orders:50051",
		"JSON name":                   strings.HasSuffix(cfg.GetSchema().GetHttpRules()[0], "/etc/rules.yaml"),
		"false is not the default":    !cfg.GetSchema().GetImplicitBindings(),
		"variable":                    orders.GetTargets()[0] == "dns:///orders:50051",
		"empty is not unset":          orders.HealthService != nil && cfg.GetClusters()[1].HealthService == nil,
		"duration":                    orders.GetKeepalive().AsDuration() == 90*time.Second,
		"size":                        orders.GetMaxReceiveBytes() == 8<<20,
		"enum by its proto name":      cfg.GetRest().GetProfile() == configv1.Profile_PROFILE_GRPC_GATEWAY,
		"literal ${":                  cfg.GetRest().GetChallenge() == "${literal}",
		"enum of a policy":            policy.GetRest().GetUnknownFields() == policyv1.Unknown_UNKNOWN_IGNORE,
		"enum with an underscore":     policy.GetStreams().GetSlowConsumer() == policyv1.SlowConsumer_SLOW_CONSUMER_DROP_OLDEST,
		"quoted number":               policy.GetRest().GetIndent() == 2,
		"decimal unit":                policy.GetRest().GetMaxBodyBytes() == 1_000_000,
		"fraction of a second":        policy.GetDeadline().GetMax().AsDuration() == 500*time.Millisecond,
		"date as a text":              policy.GetVersion().GetName() == "2026-10-01",
		"date as a time":              policy.GetVersion().GetSunsetAt().AsTime().Equal(time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)),
		"time with an offset":         policy.GetVersion().GetDeprecatedAt().AsTime().Hour() == 10,
		"empty variable, its default": !cfg.GetLogging().GetAccess(),
		"nothing is the default":      cfg.GetDrain().GetTimeout().AsDuration() == 30*time.Second,
		"default of an element":       orders.GetConnections() == 1,
		"switch stays off":            orders.GetTls() == nil && cfg.GetListeners()[0].GetTls() == nil,
	} {
		if !ok {
			t.Errorf("%s: not so", name)
		}
	}
}

func TestLoadRefusesWhatItCannotRead(t *testing.T) {
	if _, err := config.Load("nowhere.yaml", nil); err == nil || err.Error() != "configuration: open nowhere.yaml: no such file or directory" {
		t.Error(err)
	}
	if _, err := config.Load(t.TempDir(), nil); err == nil {
		t.Error("a folder was read")
	}
}

func TestMarshalIsReadBack(t *testing.T) {
	cfg := loadWhole(t)
	cfg.Rest.SystemQuery = []string{"true", "1.0", "null", "a: b", "# no", "", "${X}", "$${", "line\nline", "~", "é", "\t"}
	text, err := config.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	f, err := config.Parse("marshaled", text, nil)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if !proto.Equal(f.Config, cfg) {
		t.Errorf("read back:\n%v\nwas:\n%v\nfrom:\n%s", f.Config, cfg, text)
	}
}

func TestPositions(t *testing.T) {
	f, err := config.Parse("transom.yaml", []byte(whole), lookup(map[string]string{"ORDERS_HOST": "orders"}))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"policies[0]":                         "transom.yaml:22:5",
		"policies[0].policy":                  "transom.yaml:23:5",
		"policies[0].policy.deadline.default": "transom.yaml:24:27",
		"policies[0].policy.authz":            "transom.yaml:23:5", // not written: what it is in
		"clusters[1].targets[1]":              "transom.yaml:16:29",
		"grpc":                                "transom.yaml:1:1",
	} {
		if got := f.Position(path).String(); got != want {
			t.Errorf("%s is at %s, want %s", path, got, want)
		}
	}
}
