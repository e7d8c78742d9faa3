package main

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/transomhq/transom/gen/shop/catalog/v1"
	ordersv1 "github.com/transomhq/transom/gen/shop/orders/v1"
	trackingv1 "github.com/transomhq/transom/gen/shop/tracking/v1"
)

// The methods of the example shop that the loads call.
const (
	getOrder      = "/shop.orders.v1.OrdersService/GetOrder"
	createProduct = "/shop.catalog.v1.CatalogService/CreateProduct"
	listProducts  = "/shop.catalog.v1.CatalogService/ListProducts"
	trackOrder    = "/shop.tracking.v1.TrackingService/TrackOrder"
)

// streamLength is how many messages one server stream has.
const streamLength = 1000

// replies are what the backend answers, made once, by method.
func replies() map[string][]byte {
	all := map[string]proto.Message{
		getOrder:      &ordersv1.GetOrderResponse{Order: order()},
		createProduct: &catalogv1.CreateProductResponse{Product: product()},
		listProducts:  list(),
		trackOrder:    position(),
	}
	wire := map[string][]byte{}
	for name, m := range all {
		wire[name] = must(proto.Marshal(m))
	}
	return wire
}

// order is about 300 bytes of JSON.
func order() *ordersv1.Order {
	return &ordersv1.Order{
		Id:           "4711",
		Customer:     &ordersv1.Customer{Id: "c-1042", Name: "Ada Lovelace", Email: "ada@example.com"},
		Items:        []*ordersv1.Item{{Sku: "chair-oak", Quantity: 2, UnitPriceMinor: 12900}},
		State:        ordersv1.OrderState_ORDER_STATE_PAID,
		TotalMinor:   25800,
		CurrencyCode: "EUR",
		CreateTime:   &timestamppb.Timestamp{Seconds: 1790000000},
		Revision:     3,
	}
}

// product is about 1 KB of nested JSON.
func product() *catalogv1.Product {
	p := &catalogv1.Product{
		Name: "products/chair-oak", Title: "Oak chair", Category: "categories/chairs",
		Description:  strings.Repeat("Solid, oiled, made to last. ", 4),
		Status:       catalogv1.ProductStatus_PRODUCT_STATUS_ACTIVE,
		PriceMinor:   12900,
		CurrencyCode: "EUR",
		Labels:       map[string]string{"wood": "oak", "finish": "oil", "origin": "Jura"},
		Stock:        map[int32]int64{1: 12, 2: 40, 7: 3},
		Tags:         []string{"furniture", "kitchen", "handmade"},
		Dimensions:   &catalogv1.Dimensions{LengthMm: 450, WidthMm: 420.5, HeightMm: 880, WeightKg: 5.25},
		CreateTime:   &timestamppb.Timestamp{Seconds: 1780000000, Nanos: 120000000},
		LeadTime:     &durationpb.Duration{Seconds: 86400},
		ImageDigest:  []byte("0123456789abcdef0123456789abcdef"),
		Packaging:    &catalogv1.Product_Handling{Handling: &catalogv1.Handling{Upright: true}},
		Revision:     7,
	}
	for i := range 3 {
		p.Variants = append(p.Variants, &catalogv1.Variant{
			Sku: fmt.Sprintf("chair-oak-%d", i), Options: map[string]string{"seat": "leather"}, PriceDifferenceMinor: int64(i) * 500, Available: true,
		})
	}
	return p
}

// list is about 43 KB of JSON.
func list() *catalogv1.ListProductsResponse {
	m := &catalogv1.ListProductsResponse{NextPageToken: "cDI"}
	for i := range 420 {
		m.Products = append(m.Products, &catalogv1.Product{
			Name: fmt.Sprintf("products/p-%05d", i), Title: fmt.Sprintf("Garden chair %d", i),
			Status: catalogv1.ProductStatus_PRODUCT_STATUS_ACTIVE, PriceMinor: int64(1000 + i),
		})
	}
	return m
}

// position is about 200 bytes of JSON.
func position() *trackingv1.TrackOrderResponse {
	return &trackingv1.TrackOrderResponse{
		Sequence: 123456, Leg: trackingv1.Leg_LEG_LAST_MILE, RemainingM: 4200, Eta: &durationpb.Duration{Seconds: 900},
		Position: &trackingv1.Position{
			Latitude: 52.520008, Longitude: 13.404954, Speed: 8.5, AccuracyM: 12, Time: &timestamppb.Timestamp{Seconds: 1790000000},
		},
	}
}

// texts are the JSON answers of contenders that do not transcode, by path.
func texts() map[string][]byte {
	return map[string][]byte{
		pathGet:    must(protojson.Marshal(order())),
		pathPost:   must(protojson.Marshal(product())),
		pathList:   must(protojson.Marshal(list())),
		pathStream: must(protojson.Marshal(position())),
	}
}

// The paths of the loads.
const (
	pathGet    = "/v1/orders/4711"
	pathPost   = "/v1/products"
	pathList   = "/v1/products?pageSize=420"
	pathStream = "/v1/orders/4711:track"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
