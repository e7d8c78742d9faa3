package oracle

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	catalogv1 "github.com/transomhq/transom/gen/shop/catalog/v1"
	ordersv1 "github.com/transomhq/transom/gen/shop/orders/v1"
	trackingv1 "github.com/transomhq/transom/gen/shop/tracking/v1"
	"github.com/transomhq/transom/interceptors"
	"github.com/transomhq/transom/router"
	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/schema"
	reflectcodec "github.com/transomhq/transom/transcoder/codec/reflect"
	"github.com/transomhq/transom/transcoder/rest"
	"github.com/transomhq/transom/upstream"
)

// startTransom serves the rooms between edge and upstream, in the grpc-gateway
// profile, and returns their URL.
func startTransom(t *testing.T, recorder *Upstream) string {
	t.Helper()
	shop, err := schema.Load(t.Context(), schema.Options{
		Files: []protoreflect.FileDescriptor{
			catalogv1.File_shop_catalog_v1_catalog_proto, ordersv1.File_shop_orders_v1_orders_proto, trackingv1.File_shop_tracking_v1_tracking_proto,
		},
		NestedBody: true, RepeatedPathVariables: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	cluster, err := upstream.NewCluster(upstream.Options{Name: "shop", Targets: []string{recorder.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cluster.Close() })
	relay := &upstream.Relay{Backend: func(*rpc.Method) (upstream.Backend, bool) { return upstream.Backend{Name: "shop", Conn: cluster}, true }}
	door, err := rest.New(shop.Bindings, rest.Options{
		Handler: interceptors.NewChain(shop.Methods, nil, relay), Codec: reflectcodec.New(), Resolver: shop.Types, Profile: rest.GRPCGateway,
	})
	if err != nil {
		t.Fatal(err)
	}
	table, err := router.New(shop.Bindings, router.Options{WrongMethod: http.StatusNotImplemented})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		call, match := rpc.NewCall(nil), &rpc.Match{}
		defer call.Finish()
		if err := table.Match(r.Method, r.URL.EscapedPath(), match); err != nil {
			door.Refuse(w, r, call, err)
			return
		}
		call.Binding, call.Method = match.Binding, match.Binding.Method
		door.Serve(w, r, call, match)
	}))
	t.Cleanup(server.Close)
	return server.URL
}
