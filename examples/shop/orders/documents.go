package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"html"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/grpc"

	ordersv1 "github.com/transomhq/transom/gen/shop/orders/v1"
)

func (s *service) GetInvoice(_ context.Context, req *ordersv1.GetInvoiceRequest) (*httpbody.HttpBody, error) {
	order, err := s.find(req.GetOrderId())
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "<!doctype html>\n<meta charset=\"utf-8\">\n<title>Invoice %[1]s</title>\n<h1>Invoice %[1]s</h1>\n<p>%s\n<table>\n",
		html.EscapeString(order.GetId()), html.EscapeString(order.GetCustomer().GetName()))
	for _, item := range order.GetItems() {
		fmt.Fprintf(&b, "<tr><td>%d<td>%s<td>%d\n", item.GetQuantity(), html.EscapeString(item.GetSku()), item.GetUnitPriceMinor())
	}
	fmt.Fprintf(&b, "<tr><td><td>Total<td>%d\n</table>\n", order.GetTotalMinor())
	return &httpbody.HttpBody{ContentType: "text/html; charset=utf-8", Data: []byte(b.String())}, nil
}

// ExportOrders sends the head of the table first, then a message an order.
func (s *service) ExportOrders(req *ordersv1.ExportOrdersRequest, stream grpc.ServerStreamingServer[httpbody.HttpBody]) error {
	wanted := &ordersv1.ListOrdersRequest{Placed: req.GetPlaced()}
	orders := s.filtered(func(order *ordersv1.Order) bool { return passes(order, wanted) })
	head := &httpbody.HttpBody{ContentType: "text/csv; charset=utf-8", Data: line("id", "customer", "state", "total_minor", "currency", "placed")}
	if err := stream.Send(head); err != nil {
		return err
	}
	for _, order := range orders {
		row := line(order.GetId(), order.GetCustomer().GetName(), order.GetState().String(),
			strconv.FormatInt(order.GetTotalMinor(), 10), order.GetCurrencyCode(), order.GetCreateTime().AsTime().Format(time.RFC3339))
		if err := stream.Send(&httpbody.HttpBody{Data: row}); err != nil {
			return err
		}
	}
	return nil
}

// line is one line of a table (RFC 4180).
func line(cells ...string) []byte {
	var b strings.Builder
	w := csv.NewWriter(&b)
	_ = w.Write(cells) // a strings.Builder never fails
	w.Flush()
	return []byte(b.String())
}
