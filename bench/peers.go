package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"

	"connectrpc.com/vanguard"
	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"

	catalogv1 "github.com/transomhq/transom/gen/shop/catalog/v1"
	ordersv1 "github.com/transomhq/transom/gen/shop/orders/v1"
	trackingv1 "github.com/transomhq/transom/gen/shop/tracking/v1"
	cataloggw "github.com/transomhq/transom/internal/oracle/gen/shop/catalog/v1"
	ordersgw "github.com/transomhq/transom/internal/oracle/gen/shop/orders/v1"
	trackinggw "github.com/transomhq/transom/internal/oracle/gen/shop/tracking/v1"
)

func grpcOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{}), grpc.MaxCallRecvMsgSize(64<<20)),
	}
}

func endOf(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// serveGRPCGateway is grpc-gateway with its generated handlers. Fields without
// a value are left out, as Transom does, so that all write the same JSON.
func serveGRPCGateway(addr, backend string) error {
	ctx := context.Background()
	conn, err := grpc.NewClient(backend, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	mux := runtime.NewServeMux(runtime.WithMarshalerOption(runtime.MIMEWildcard, &runtime.JSONPb{
		UnmarshalOptions: protojson.UnmarshalOptions{DiscardUnknown: true},
	}))
	err = errors.Join(
		cataloggw.RegisterCatalogServiceHandlerClient(ctx, mux, catalogv1.NewCatalogServiceClient(conn)),
		ordersgw.RegisterOrdersServiceHandlerClient(ctx, mux, ordersv1.NewOrdersServiceClient(conn)),
		trackinggw.RegisterTrackingServiceHandlerClient(ctx, mux, trackingv1.NewTrackingServiceClient(conn)),
	)
	if err != nil {
		return err
	}
	return http.ListenAndServe(addr, mux)
}

// serveVanguard is vanguard as a proxy, the way its documentation shows.
func serveVanguard(addr, backend string) error {
	target := &url.URL{Scheme: "http", Host: backend}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: &http2.Transport{
			AllowHTTP: true,
			DialTLSContext: func(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, addr)
			},
		},
		FlushInterval: -1,
	}
	var services []*vanguard.Service
	for _, s := range []string{"shop.catalog.v1.CatalogService", "shop.orders.v1.OrdersService"} {
		services = append(services, vanguard.NewService(s, proxy, vanguard.WithTargetProtocols(vanguard.ProtocolGRPC), vanguard.WithTargetCodecs(vanguard.CodecProto)))
	}
	t, err := vanguard.NewTranscoder(services, vanguard.WithCodec(func(res vanguard.TypeResolver) vanguard.Codec {
		c := vanguard.NewJSONCodec(res)
		c.MarshalOptions.EmitUnpopulated = false
		return c
	}))
	if err != nil {
		return err
	}
	return http.ListenAndServe(addr, t)
}

// serveRaw is net/http with a grpc-go call behind it, and no transcoding: the
// floor for a gateway that is built on both.
func serveRaw(addr, backend string) error {
	conn, err := dial(backend)
	if err != nil {
		return err
	}
	methods := map[string]string{pathGet: getOrder, pathPost: createProduct, pathList: listProducts}
	return http.ListenAndServe(addr, fixed(func(r *http.Request) error {
		var req, reply []byte
		if r.Body != nil {
			if req, err = io.ReadAll(r.Body); err != nil {
				return err
			}
		}
		req = []byte("\n\x044711")
		return conn.Invoke(r.Context(), methods[r.RequestURI], &req, &reply)
	}))
}

// serveFloor is net/http alone, with fixed answers.
func serveFloor(addr string) error {
	return http.ListenAndServe(addr, fixed(func(r *http.Request) error {
		_, err := io.Copy(io.Discard, r.Body)
		return err
	}))
}

// fixed answers each path with its JSON once before has succeeded.
func fixed(before func(*http.Request) error) http.Handler {
	answers := texts()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := before(r); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answers[r.RequestURI])
	})
}
