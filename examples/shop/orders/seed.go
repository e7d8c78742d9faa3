package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	ordersv1 "github.com/transomhq/transom/gen/shop/orders/v1"
)

const (
	firstOrder   = 1001
	seededOrders = 24
)

// opened is when the first order came in.
var opened = time.Date(2026, time.January, 5, 9, 30, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant

// customers are who orders at the start.
var customers = []*ordersv1.Customer{ //nolint:gochecknoglobals // a table of constants, cloned on use
	{Id: "c-1", Name: "Ada Vermeer", Email: "ada@example.com", Address: &ordersv1.Address{Lines: []string{"Singel 4"}, City: "Amsterdam", PostalCode: "1012 VD", CountryCode: "NL", Point: &ordersv1.Point{Latitude: 52.378, Longitude: 4.892}}},
	{Id: "c-2", Name: "Jürgen Groß", Email: "juergen@example.com", Address: &ordersv1.Address{Lines: []string{"Lange Straße 12", "Hinterhaus"}, City: "Bremen", PostalCode: "28195", CountryCode: "DE"}},
	{Id: "c-3", Name: "Inês Távora", Email: "ines@example.com", Address: &ordersv1.Address{Lines: []string{"Rua Áurea 88"}, City: "Lisboa", PostalCode: "1100-063", CountryCode: "PT"}},
	{Id: "c-4", Name: "森 美咲", Email: "misaki@example.com", Address: &ordersv1.Address{Lines: []string{"千代田1-1"}, City: "東京", PostalCode: "100-0001", CountryCode: "JP"}},
}

// skus are what is ordered at the start, with their prices.
var skus = []struct { //nolint:gochecknoglobals // a table of constants
	sku   string
	price int64
}{{"teapot-1", 3490}, {"claw-hammer-1", 2250}, {"watering-can-2", 1890}, {"fountain-pen-1", 12900}, {"enamel-mug-2", 890}}

// seedOrders makes the orders that the shop starts with.
func seedOrders(seed uint64) []*ordersv1.Order {
	random := rand.New(rand.NewPCG(seed, 2))
	orders := make([]*ordersv1.Order, 0, seededOrders)
	for n := range seededOrders {
		orders = append(orders, seedOrder(random, n))
	}
	return orders
}

func seedOrder(random *rand.Rand, n int) *ordersv1.Order {
	placed := opened.Add(time.Duration(n) * 7 * time.Hour)
	order := &ordersv1.Order{
		Id:           fmt.Sprintf("o-%d", firstOrder+n),
		Customer:     proto.CloneOf(customers[n%len(customers)]),
		State:        ordersv1.OrderState(1 + n%5), //nolint:gosec // 1 to 5
		CurrencyCode: "EUR",
		Delivery:     &ordersv1.Delivery{Carrier: ordersv1.Carrier(1 + n%3)}, //nolint:gosec // 1 to 3
		CreateTime:   timestamppb.New(placed),
		PromisedTime: timestamppb.New(placed.Add(72*time.Hour + 500*time.Millisecond)),
		Revision:     1,
		InternalNote: "score " + fmt.Sprint(random.IntN(100)),
	}
	for i := range 1 + random.IntN(3) {
		choice := skus[(n+i)%len(skus)]
		order.Items = append(order.Items, &ordersv1.Item{
			Sku: choice.sku, Quantity: 1 + random.Uint32N(4), UnitPriceMinor: choice.price, Options: map[string]string{"gift-wrap": "no"},
		})
	}
	seedRest(order, n)
	order.TotalMinor = total(order)
	order.Checksum = checksum(order)
	return order
}

// seedRest sets what orders have in different ways.
func seedRest(order *ordersv1.Order, n int) {
	switch n % 4 {
	case 0:
		order.Payment = &ordersv1.Order_Card{Card: &ordersv1.Card{Token: []byte{0xfb, 0xff, byte(n)}, LastFour: "4242", ExpiryMonth: 12, ExpiryYear: 2031}} //nolint:gosec // small
	case 1:
		order.Payment = &ordersv1.Order_InvoiceWithin{InvoiceWithin: durationpb.New(30 * 24 * time.Hour)}
	case 2:
		order.Payment = &ordersv1.Order_VoucherCode{VoucherCode: "SPRING"}
		order.Discount = 0.1
	}
	if n%3 == 2 {
		order.Delivery.Destination = &ordersv1.Delivery_PickupPoint{PickupPoint: int32(n)} //nolint:gosec // small
	} else {
		order.Delivery.Destination = &ordersv1.Delivery_Address{Address: proto.CloneOf(order.GetCustomer().GetAddress())}
	}
	if n%2 == 0 {
		order.Note = proto.String([]string{"", "ring twice", "leave it at “Groß & Söhne”"}[n/2%3])
		order.Gift = wrapperspb.Bool(n%4 == 0)
		order.PartnerData, _ = structpb.NewStruct(map[string]any{"campaign": "spring", "clicks": 3, "path": []any{"home", "tea"}}) // cannot fail: all values are JSON
		order.Experiment = structpb.NewNumberValue(float64(n) / 8)
	}
	if order.GetState() == ordersv1.OrderState_ORDER_STATE_SHIPPED || order.GetState() == ordersv1.OrderState_ORDER_STATE_DELIVERED {
		id := fmt.Sprintf("3S%07d", 41*n)
		order.Shipments = map[string]*ordersv1.Shipment{id: {
			Id: id, Carrier: order.GetDelivery().GetCarrier(), DispatchTime: order.GetCreateTime(), WeightKg: wrapperspb.Float(0.5),
			Contents: map[string]uint32{order.GetItems()[0].GetSku(): order.GetItems()[0].GetQuantity()},
		}}
	}
}
