package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	ordersv1 "github.com/transomhq/transom/gen/shop/orders/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// orders answers every order with its id.
type orders struct {
	ordersv1.UnimplementedOrdersServiceServer
}

func (orders) GetOrder(_ context.Context, req *ordersv1.GetOrderRequest) (*ordersv1.GetOrderResponse, error) {
	return &ordersv1.GetOrderResponse{Order: &ordersv1.Order{Id: req.GetOrderId()}}, nil
}

// start runs the service and the gateway before it, and returns its address.
func start(t *testing.T) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	ordersv1.RegisterOrdersServiceServer(server, orders{})
	reflection.Register(server)
	go server.Serve(lis) // ends with Stop
	t.Cleanup(server.Stop)

	ctx, cancel := context.WithCancel(context.Background())
	g, err := newGateway(ctx, lis.Addr().String(), "127.0.0.1:0", "tea")
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return g.Addrs()[0].String()
}

// The interceptor gives the same verdict through REST and native gRPC.
func TestInterceptorGuardsEveryDoor(t *testing.T) {
	address := start(t)
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, test := range []struct {
		authorization string
		status        int
		code          codes.Code
		body          string
	}{
		{"", http.StatusUnauthorized, codes.Unauthenticated, `"code":16`},
		{"Bearer coffee", http.StatusUnauthorized, codes.Unauthenticated, "this token is not known"},
		{"Bearer tea", http.StatusOK, codes.OK, `{"id":"o-1"}`},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/v1/orders/o-1", nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		if test.authorization != "" {
			req.Header.Set("Authorization", test.authorization)
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", test.authorization)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != test.status || !strings.Contains(string(body), test.body) {
			t.Errorf("REST with %q: %d %s", test.authorization, resp.StatusCode, body)
		}
		_, err = ordersv1.NewOrdersServiceClient(conn).GetOrder(ctx, &ordersv1.GetOrderRequest{OrderId: "o-1"})
		if status.Code(err) != test.code {
			t.Errorf("gRPC with %q: %v, want %s", test.authorization, err, test.code)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
