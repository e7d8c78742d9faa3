package oracle

import (
	"context"
	"net/http"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"

	catalogv1 "github.com/transomhq/transom/internal/oracle/gen/shop/catalog/v1"
	ordersv1 "github.com/transomhq/transom/internal/oracle/gen/shop/orders/v1"
	trackingv1 "github.com/transomhq/transom/internal/oracle/gen/shop/tracking/v1"
)

// NewMux returns grpc-gateway with its default options before the shop's
// services, all of them at conn. ctx bounds its life.
func NewMux(ctx context.Context, conn *grpc.ClientConn) (http.Handler, error) {
	mux := runtime.NewServeMux()
	for _, register := range []func(context.Context, *runtime.ServeMux, *grpc.ClientConn) error{
		catalogv1.RegisterCatalogServiceHandler,
		ordersv1.RegisterOrdersServiceHandler,
		trackingv1.RegisterTrackingServiceHandler,
	} {
		if err := register(ctx, mux, conn); err != nil {
			return nil, err
		}
	}
	return mux, nil
}
