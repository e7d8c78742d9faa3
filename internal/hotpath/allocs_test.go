//go:build !race

package hotpath

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/transomhq/transom/gen/shop/catalog/v1"
	ordersv1 "github.com/transomhq/transom/gen/shop/orders/v1"
	"github.com/transomhq/transom/interceptors"
	"github.com/transomhq/transom/interceptors/deadline"
	"github.com/transomhq/transom/interceptors/recovery"
	"github.com/transomhq/transom/interceptors/telemetry"
	"github.com/transomhq/transom/router"
	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/schema"
	"github.com/transomhq/transom/transcoder/codec/direct"
	"github.com/transomhq/transom/transcoder/rest"
	"github.com/transomhq/transom/upstream"
)

var update = flag.Bool("update", false, "write testdata/allocs.txt anew")

// answers is a backend that answers each method with the same bytes.
type answers map[string][]byte

func (a answers) Invoke(_ context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	if _, err := args.(*rpc.Message).Buffers(); err != nil {
		return err
	}
	reply.(*rpc.Message).SetBytes(a[method])
	return nil
}

func (answers) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, io.EOF
}

// house is the way of a REST call without its two ends.
type house struct {
	table *router.Table
	door  *rest.Door
	tele  *telemetry.Telemetry
	match rpc.Match
}

func newHouse(t testing.TB, backend answers) *house {
	snapshot, err := schema.Load(t.Context(), schema.Options{Sources: []string{"../../proto"}, Include: []string{"shop.orders.v1.*", "shop.catalog.v1.*"}})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{tele: telemetry.New(telemetry.Options{Registerer: prometheus.NewRegistry(), Lines: &telemetry.Lines{W: io.Discard}})}
	bounds := deadline.Options{Bounds: func(string) deadline.Bounds { return deadline.Bounds{Default: time.Second, Max: time.Minute} }}
	relay := &upstream.Relay{Backend: func(*rpc.Method) (upstream.Backend, bool) { return upstream.Backend{Name: "shop", Conn: backend}, true }}
	chain := interceptors.NewChain(snapshot.Methods, []interceptors.Interceptor{
		{Unary: h.tele.Unary()}, {Unary: recovery.Unary()}, {Unary: deadline.Unary(bounds)},
	}, relay)
	if h.table, err = router.New(snapshot.Bindings, router.Options{}); err != nil {
		t.Fatal(err)
	}
	if h.door, err = rest.New(snapshot.Bindings, rest.Options{Handler: chain, Codec: direct.New(), Resolver: snapshot.Types}); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *house) serve(w http.ResponseWriter, r *http.Request) {
	call := rpc.NewCall(h.tele.Finish)
	defer call.Finish()
	call.HTTPMethod, call.Path, call.Host, call.RequestID = r.Method, r.URL.Path, r.Host, "0190-1"
	call.Client = netip.AddrFrom4([4]byte{192, 0, 2, 1})
	h.match.Reset()
	if err := h.table.Match(r.Method, call.Path, &h.match); err != nil {
		h.door.Refuse(w, r, call, err)
		return
	}
	h.door.Serve(w, r, call, &h.match)
}

// sink is a response that nobody reads.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }

func TestAllocations(t *testing.T) {
	product := &catalogv1.Product{
		Name: "products/chair", Title: "Chair", Labels: map[string]string{"wood": "oak"}, Tags: []string{"a", "b"}, PriceMinor: 12900,
		Variants: []*catalogv1.Variant{{Sku: "one", Available: true}, {Sku: "two"}}, CreateTime: &timestamppb.Timestamp{Seconds: 1790000000},
	}
	list := &catalogv1.ListProductsResponse{}
	for range 400 {
		list.Products = append(list.Products, product)
	}
	h := newHouse(t, answers{
		"/shop.orders.v1.OrdersService/GetOrder":        wire(t, &ordersv1.GetOrderResponse{Order: &ordersv1.Order{Id: "4711", TotalMinor: 12900}}),
		"/shop.catalog.v1.CatalogService/CreateProduct": wire(t, &catalogv1.CreateProductResponse{Product: product}),
		"/shop.catalog.v1.CatalogService/ListProducts":  wire(t, list),
	})
	text, err := protojson.Marshal(product)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{
		"get":  h.count(t, "GET", "/v1/orders/4711", "", nil),
		"post": h.count(t, "POST", "/v1/products", "", text),
		"list": h.count(t, "GET", "/v1/products", "pageSize=400", nil),
		"404":  h.count(t, "GET", "/v1/nothing", "", nil),
	}
	compare(t, got)
}

func wire(t *testing.T, m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// count returns how many allocations one such call has. The collector rests,
// for it would empty the pools at moments of its own.
func (h *house) count(t *testing.T, method, path, query string, body []byte) int {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	reader := bytes.NewReader(body)
	r := &http.Request{
		Method: method, URL: &url.URL{Path: path, RawQuery: query}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Host: "shop.example",
		RemoteAddr: "192.0.2.1:1234", RequestURI: path, Body: http.NoBody, Header: http.Header{"Accept": {"application/json"}, "User-Agent": {"test"}},
	}
	if body != nil {
		r.Body, r.ContentLength = io.NopCloser(reader), int64(len(body))
		r.Header["Content-Type"] = []string{"application/json"}
	}
	out := &sink{header: http.Header{}}
	n := testing.AllocsPerRun(200, func() {
		clear(out.header)
		reader.Reset(body)
		h.serve(out, r)
	})
	if want := map[bool]int{true: 404, false: 200}[path == "/v1/nothing"]; out.status != want {
		t.Errorf("%s %s: status %d", method, path, out.status)
	}
	return int(n)
}

const file = "testdata/allocs.txt"

func compare(t *testing.T, got map[string]int) {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(got)) {
		fmt.Fprintf(&b, "%s %d\n", name, got[name])
	}
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var name string
		var want int
		if _, err := fmt.Sscan(line, &name, &want); err != nil {
			t.Fatalf("%s: %q: %v", file, line, err)
		}
		switch n := got[name]; {
		case n > want:
			t.Errorf("a %q call allocates %d times, was %d: find out why, or accept it with go test ./internal/hotpath -update", name, n, want)
		case n < want:
			t.Logf("a %q call allocates %d times, was %d: keep what was won with go test ./internal/hotpath -update", name, n, want)
		}
	}
}
