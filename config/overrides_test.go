package config_test

import (
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/transomhq/transom/config"
	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
)

func TestFlagsAloneSuffice(t *testing.T) {
	dir := write(t, map[string]string{"shop.binpb": ""})
	image := filepath.Join(dir, "shop.binpb")
	f, err := config.Source{Overrides: config.Overrides{
		Schema:    []string{image},
		Upstreams: []string{"shop.orders.v1.*=orders:50051", "shop.orders.v1.*=orders:50052", "dns:///shop.example.com:50051", "shop.tracking.v1.TrackingService=unix:/run/t=1.sock"},
		Listen:    "127.0.0.1:0",
		Admin:     "off",
		Profile:   "grpc-gateway",
		LogFormat: "json",
		LogLevel:  "debug",
	}}.Load()
	if err != nil {
		t.Fatal(err)
	}
	want := config.Defaults()
	want.Listeners[0].Address = "127.0.0.1:0"
	want.Admin.Disabled = true
	want.Schema.Sources = []string{image}
	want.Rest.Profile = configv1.Profile_PROFILE_GRPC_GATEWAY.Enum()
	want.Logging.Format = configv1.Format_FORMAT_JSON.Enum()
	want.Logging.Level = configv1.Level_LEVEL_DEBUG.Enum()
	want.Clusters = []*configv1.Cluster{
		{Name: "shop.orders.v1", Targets: []string{"orders:50051", "orders:50052"}},
		{Name: "shop.example.com", Targets: []string{"dns:///shop.example.com:50051"}},
		{Name: "shop.tracking.v1.TrackingService", Targets: []string{"unix:/run/t=1.sock"}},
	}
	want.Routes = []*configv1.Route{
		{Selector: "shop.orders.v1.*", Cluster: "shop.orders.v1"},
		{Selector: "*", Cluster: "shop.example.com"},
		{Selector: "shop.tracking.v1.TrackingService", Cluster: "shop.tracking.v1.TrackingService"},
	}
	config.Complete(want)
	if !proto.Equal(f.Config, want) {
		t.Errorf("got  %v\nwant %v", f.Config, want)
	}
	if p := f.Position("clusters[0]").String(); p != "" {
		t.Errorf("position %q without a file", p)
	}
}

func TestFlagsWinOverTheFile(t *testing.T) {
	dir := write(t, map[string]string{"other.binpb": "", "transom.yaml": `
listeners: [{address: nonsense}]
schema: {sources: [gone.binpb]}
clusters: [{name: shop, targets: ["shop:1"]}]
routes: [{selector: shop.*, cluster: shop}, {selector: "*", cluster: shop}]
`})
	f, err := config.Source{Path: filepath.Join(dir, "transom.yaml"), Overrides: config.Overrides{
		Schema:      []string{filepath.Join(dir, "other.binpb")},
		SkipInvalid: true,
		Listen:      ":9000",
		Admin:       "127.0.0.1:9001",
		Upstreams:   []string{"shop:2"},
	}}.Load()
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Config.GetListeners()[0].GetAddress(); got != ":9000" {
		t.Errorf("listens on %s", got)
	}
	if got := f.Config.GetAdmin().GetAddress(); got != "127.0.0.1:9001" {
		t.Errorf("admin on %s", got)
	}
	if !f.Config.GetSchema().GetSkipInvalid() {
		t.Error("invalid services are not skipped")
	}
	var routes []string
	for _, r := range f.Config.GetRoutes() {
		routes = append(routes, r.GetSelector()+"="+r.GetCluster())
	}
	if got := strings.Join(routes, " "); got != "*=shop-2 shop.*=shop" {
		t.Errorf("routes %s", got)
	}
}

func TestMistakesOfFlags(t *testing.T) {
	err := config.Overrides{
		Upstreams: []string{"shop.*=", "shop*=a:1", "=a:1"},
		Profile:   "grpcgateway",
		LogFormat: "xml",
		Listen:    ":1",
	}.Apply(&configv1.Config{Listeners: []*configv1.Listener{{}, {}}})
	want := `--listen: the file has 2 listeners: change them there
--profile: want one of strict, grpc-gateway, envoy, not "grpcgateway"; did you mean "grpc-gateway"?
--log-format: want one of text, json, not "xml"
--upstream: "shop.*=" names no target: write [SELECTOR=]TARGET, as in shop.orders.v1.*=orders:50051
--upstream: selector "shop*": "*" stands alone or as the last part, as in "shop.orders.v1.*"
--upstream: empty selector: write a method, a service, a package followed by ".*", or "*"`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	_, err = config.Source{Overrides: config.Overrides{Schema: []string{"grpc://x"}, Upstreams: []string{"shop"}}}.Load()
	want = `schema.sources[0]: want grpc://host:port, not "grpc://x"
clusters[0].targets[0]: want "host:port" or a gRPC target such as "dns:///host:port", not "shop"`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}
