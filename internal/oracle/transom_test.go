package oracle

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/transomhq/transom/config"
	"github.com/transomhq/transom/gateway"
	catalogv1 "github.com/transomhq/transom/gen/shop/catalog/v1"
	ordersv1 "github.com/transomhq/transom/gen/shop/orders/v1"
	trackingv1 "github.com/transomhq/transom/gen/shop/tracking/v1"
)

// startTransom serves the gateway before upstream in the grpc-gateway profile
// and returns its URL.
func startTransom(t *testing.T, upstream *Upstream) string {
	t.Helper()
	// What the shop's rules refuse is the same message for both: they are off.
	file := filepath.Join(t.TempDir(), "transom.yaml")
	if err := os.WriteFile(file, []byte(`policies: [{selectors: ["*"], policy: {validation: {mode: OFF}, upstream: {retry: {max_attempts: 1}}}}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	g, err := gateway.New(ctx, config.Source{Path: file, Overrides: config.Overrides{
		Schema: []string{image(t)}, Upstreams: []string{upstream.Addr}, Listen: "127.0.0.1:0", Admin: "off", Profile: "grpc-gateway",
	}}, gateway.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("gateway: %v", err)
		}
	})
	return "http://" + g.Addrs()[0].String()
}

// image writes the shop's descriptors to a file and returns its path.
func image(t *testing.T) string {
	t.Helper()
	set, seen := &descriptorpb.FileDescriptorSet{}, map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if seen[file.Path()] {
			return
		}
		seen[file.Path()] = true
		for i := range file.Imports().Len() {
			add(file.Imports().Get(i).FileDescriptor)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(file))
	}
	add(catalogv1.File_shop_catalog_v1_catalog_proto)
	add(ordersv1.File_shop_orders_v1_orders_proto)
	add(trackingv1.File_shop_tracking_v1_tracking_proto)
	text, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "shop.binpb")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
