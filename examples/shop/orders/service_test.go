package main

import (
	"errors"
	"io"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/transomhq/transom/examples/shop/internal/servetest"
	ordersv1 "github.com/transomhq/transom/gen/shop/orders/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T) ordersv1.OrdersServiceClient {
	t.Helper()
	conn, _ := servetest.Start(t, 1, register)
	return ordersv1.NewOrdersServiceClient(conn)
}

func TestPlaceOrder(t *testing.T) {
	client := start(t)
	req := &ordersv1.PlaceOrderRequest{
		RequestId: "7e0e4d9e-52a5-4f0c-9b1d-0e2a4b7e9c11",
		Order: &ordersv1.Order{
			Customer: &ordersv1.Customer{Id: "c-9", Email: "x@example.com"},
			Items:    []*ordersv1.Item{{Sku: "teapot-1", Quantity: 2, UnitPriceMinor: 3490}},
		},
	}
	first, err := client.PlaceOrder(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if got := first.GetOrder().GetTotalMinor(); got != 2*3490+495 {
		t.Errorf("total is %d", got)
	}
	again, err := client.PlaceOrder(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if again.GetOrder().GetId() != first.GetOrder().GetId() {
		t.Errorf("the same request placed %s and %s", first.GetOrder().GetId(), again.GetOrder().GetId())
	}
}

func TestInvalidOrderNamesEveryField(t *testing.T) {
	_, err := start(t).PlaceOrder(t.Context(), &ordersv1.PlaceOrderRequest{Order: &ordersv1.Order{
		CurrencyCode: "euro", Discount: 2, Items: []*ordersv1.Item{{Sku: "x", Quantity: 0}},
	}})
	if status.Code(err) != codes.InvalidArgument {
		t.Fatalf("got %v, want INVALID_ARGUMENT", err)
	}
	var fields []string
	for _, d := range status.Convert(err).Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok {
			for _, v := range bad.GetFieldViolations() {
				fields = append(fields, v.GetField())
			}
		}
	}
	if got, want := strings.Join(fields, " "), "order.items[0].quantity order.currency_code order.discount"; got != want {
		t.Errorf("violations of %s, want %s", got, want)
	}
}

func TestShippedOrdersCannotBeCancelled(t *testing.T) {
	client := start(t)
	shipped := "o-1003" // the seed's third order
	if _, err := client.CancelOrder(t.Context(), &ordersv1.CancelOrderRequest{OrderId: shipped}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("got %v, want FAILED_PRECONDITION", err)
	}
	if _, err := client.CancelOrder(t.Context(), &ordersv1.CancelOrderRequest{OrderId: "o-1001"}); err != nil {
		t.Error(err)
	}
}

func TestChat(t *testing.T) {
	stream, err := start(t).Chat(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, req := range []*ordersv1.ChatRequest{
		{Event: &ordersv1.ChatRequest_Hello{Hello: &ordersv1.ChatHello{Name: "Ada", OrderId: "o-1001"}}},
		{Event: &ordersv1.ChatRequest_Text{Text: "where is it?"}},
	} {
		if err := stream.Send(req); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		answer, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if answer.GetSequence() != uint64(len(got)+1) {
			t.Errorf("line %d has number %d", len(got)+1, answer.GetSequence())
		}
		got = append(got, answer.GetText()+answer.GetOrder().GetId())
	}
	if got, want := strings.Join(got, "|"), "Hello Ada.|o-1001||Ada, you said: where is it?|Good bye."; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestExportIsOneTable(t *testing.T) {
	stream, err := start(t).ExportOrders(t.Context(), &ordersv1.ExportOrdersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	for {
		body, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		table.Write(body.GetData())
	}
	if lines := strings.Count(table.String(), "\n"); lines != seededOrders+1 {
		t.Errorf("%d lines, want %d", lines, seededOrders+1)
	}
}
