package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/transomhq/transom/examples/shop/internal/serve"
	ordersv1 "github.com/transomhq/transom/gen/shop/orders/v1"
)

const (
	defaultPage = 50
	keptChanges = 1000
	quoteHolds  = 15 * time.Minute
)

// service takes orders, in memory.
type service struct {
	ordersv1.UnimplementedOrdersServiceServer
	env  serve.Env
	feed *serve.Feed[*ordersv1.WatchOrdersResponse]

	mu       sync.Mutex
	orders   map[string]*ordersv1.Order // by id; never changed in place
	requests map[string]string          // request ids, with the order that each placed
	next     int                        // the number of the next order
}

func newService(env serve.Env) *service {
	s := &service{
		env:      env,
		feed:     serve.NewFeed[*ordersv1.WatchOrdersResponse](keptChanges),
		orders:   map[string]*ordersv1.Order{},
		requests: map[string]string{},
		next:     firstOrder + seededOrders,
	}
	for _, order := range seedOrders(env.Seed) {
		s.orders[order.GetId()] = order
	}
	return s
}

func (s *service) find(id string) (*ordersv1.Order, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.findLocked(id)
}

func (s *service) findLocked(id string) (*ordersv1.Order, error) {
	order, ok := s.orders[id]
	if !ok {
		return nil, serve.NotFound("order", id)
	}
	return order, nil
}

// change replaces an order by what edit makes of a copy of it, and tells the watchers.
func (s *service) change(id string, edit func(*ordersv1.Order) error) (*ordersv1.Order, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, err := s.findLocked(id)
	if err != nil {
		return nil, err
	}
	order := proto.CloneOf(old)
	if err := edit(order); err != nil {
		return nil, err
	}
	s.storeLocked(order)
	return order, nil
}

func (s *service) storeLocked(order *ordersv1.Order) {
	order.Revision++
	s.orders[order.GetId()] = order
	s.feed.Add(func(n uint64) *ordersv1.WatchOrdersResponse {
		return &ordersv1.WatchOrdersResponse{Sequence: n, Time: timestamppb.Now(), Order: order}
	})
}

func viewed(order *ordersv1.Order, view ordersv1.OrderView) *ordersv1.Order {
	if view != ordersv1.OrderView_ORDER_VIEW_SUMMARY {
		return order
	}
	order = proto.CloneOf(order)
	order.Items, order.Shipments = nil, nil
	return order
}

func (s *service) GetOrder(_ context.Context, req *ordersv1.GetOrderRequest) (*ordersv1.GetOrderResponse, error) {
	order, err := s.find(req.GetOrderId())
	if err != nil {
		return nil, err
	}
	if id := req.GetCustomerId(); id != "" && order.GetCustomer().GetId() != id {
		return nil, serve.NotFound("order", req.GetOrderId()) // whose order it is, is nobody's business
	}
	return &ordersv1.GetOrderResponse{Order: viewed(order, req.GetView())}, nil
}

// passes reports whether order is one of those asked for.
func passes(order *ordersv1.Order, req *ordersv1.ListOrdersRequest) bool {
	placed := order.GetCreateTime().AsTime()
	c := req.GetCustomer()
	return (c.GetId() == "" || c.GetId() == order.GetCustomer().GetId()) &&
		(c.GetName() == "" || c.GetName() == order.GetCustomer().GetName()) &&
		(c.GetAddress().GetCity() == "" || c.GetAddress().GetCity() == order.GetCustomer().GetAddress().GetCity()) &&
		(req.GetState() == 0 || req.GetState() == order.GetState()) &&
		(req.GetPlaced().GetStart() == nil || !placed.Before(req.GetPlaced().GetStart().AsTime())) &&
		(req.GetPlaced().GetEnd() == nil || placed.Before(req.GetPlaced().GetEnd().AsTime())) &&
		order.GetTotalMinor() >= req.GetMinTotalMinor() &&
		(len(req.GetCarriers()) == 0 || slices.Contains(req.GetCarriers(), order.GetDelivery().GetCarrier()))
}

// filtered returns the orders that pass, by id.
func (s *service) filtered(pass func(*ordersv1.Order) bool) []*ordersv1.Order {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*ordersv1.Order
	for _, order := range s.orders {
		if pass(order) {
			found = append(found, order)
		}
	}
	slices.SortFunc(found, func(a, b *ordersv1.Order) int { return cmp.Compare(a.GetId(), b.GetId()) })
	return found
}

func (s *service) ListOrders(_ context.Context, req *ordersv1.ListOrdersRequest) (*ordersv1.ListOrdersResponse, error) {
	found := s.filtered(func(order *ordersv1.Order) bool { return passes(order, req) })
	start := 0
	if req.GetPageToken() != "" {
		var err error
		if start, err = strconv.Atoi(req.GetPageToken()); err != nil || start < 0 || start > len(found) {
			return nil, serve.Invalid("page_token", "use the next_page_token of the page before")
		}
	}
	size := cmp.Or(int(req.GetPageSize()), defaultPage)
	end := min(start+size, len(found))
	answer := &ordersv1.ListOrdersResponse{}
	if end < len(found) {
		answer.NextPageToken = strconv.Itoa(end)
	}
	for _, order := range found[start:end] {
		answer.Orders = append(answer.Orders, viewed(order, req.GetView()))
	}
	return answer, nil
}

func (s *service) PlaceOrder(_ context.Context, req *ordersv1.PlaceOrderRequest) (*ordersv1.PlaceOrderResponse, error) {
	if len(req.GetOrder().GetItems()) == 0 {
		return nil, serve.Invalid("order.items", "an order needs at least one item")
	}
	order := proto.CloneOf(req.GetOrder())
	s.mu.Lock()
	defer s.mu.Unlock()
	if id, ok := s.requests[req.GetRequestId()]; ok {
		return &ordersv1.PlaceOrderResponse{Order: s.orders[id]}, nil
	}
	order.Id = fmt.Sprintf("o-%d", s.next)
	s.next++
	order.State, order.Revision = ordersv1.OrderState_ORDER_STATE_PLACED, 0
	order.CreateTime = timestamppb.Now()
	order.CurrencyCode = cmp.Or(order.GetCurrencyCode(), "EUR")
	order.TotalMinor, order.Checksum = total(order), checksum(order)
	s.storeLocked(order)
	if req.GetRequestId() != "" {
		s.requests[req.GetRequestId()] = order.GetId()
	}
	return &ordersv1.PlaceOrderResponse{Order: order}, nil
}

func (s *service) QuoteOrder(_ context.Context, req *ordersv1.QuoteOrderRequest) (*ordersv1.QuoteOrderResponse, error) {
	items := itemsMinor(req.GetItems())
	parts := map[string]int64{"items": items, "delivery": deliveryMinor(req.GetDelivery().GetCarrier())}
	if req.GetVoucherCode() == "SPRING" {
		parts["discount"] = -discountMinor(items, 0.1)
	}
	answer := &ordersv1.QuoteOrderResponse{Parts: parts, ValidUntil: timestamppb.New(time.Now().Add(quoteHolds))}
	for _, part := range parts {
		answer.TotalMinor += part
	}
	return answer, nil
}

func (s *service) UpdateOrder(_ context.Context, req *ordersv1.UpdateOrderRequest) (*ordersv1.UpdateOrderResponse, error) {
	sent := req.GetOrder()
	order, err := s.change(sent.GetId(), func(order *ordersv1.Order) error {
		if have, want := order.GetRevision(), sent.GetRevision(); want != 0 && have != want {
			return serve.Conflict("order", order.GetId(), have, want)
		}
		for _, path := range req.GetUpdateMask().GetPaths() {
			if err := set(order, sent, path); err != nil {
				return err
			}
		}
		order.TotalMinor, order.Checksum = total(order), checksum(order)
		return nil
	})
	return &ordersv1.UpdateOrderResponse{Order: order}, err
}

// set copies the field of path, of those that may be changed, to order.
func set(order, sent *ordersv1.Order, path string) error {
	switch path {
	case "id", "revision":
	case "note":
		order.Note = sent.Note
	case "gift":
		order.Gift = sent.GetGift()
	case "delivery":
		order.Delivery = sent.GetDelivery()
	case "delivery.carrier":
		order.Delivery = cmp.Or(order.GetDelivery(), &ordersv1.Delivery{})
		order.Delivery.Carrier = sent.GetDelivery().GetCarrier()
	case "customer.email":
		order.Customer = cmp.Or(order.GetCustomer(), &ordersv1.Customer{})
		order.Customer.Email = sent.GetCustomer().GetEmail()
	case "partner_data":
		order.PartnerData = sent.GetPartnerData()
	default:
		return serve.Invalid("update_mask", fmt.Sprintf("%q cannot be changed: note, gift, delivery, delivery.carrier, customer.email and partner_data can", path))
	}
	return nil
}

func (s *service) CancelOrder(_ context.Context, req *ordersv1.CancelOrderRequest) (*ordersv1.CancelOrderResponse, error) {
	order, err := s.change(req.GetOrderId(), func(order *ordersv1.Order) error {
		switch order.GetState() {
		case ordersv1.OrderState_ORDER_STATE_SHIPPED, ordersv1.OrderState_ORDER_STATE_DELIVERED:
			return serve.FailedPrecondition("ORDER_SHIPPED", order.GetId(), "the order has shipped: send it back when it arrives")
		}
		order.State = ordersv1.OrderState_ORDER_STATE_CANCELLED
		return nil
	})
	return &ordersv1.CancelOrderResponse{Order: order}, err
}

func (s *service) AddShipment(_ context.Context, req *ordersv1.AddShipmentRequest) (*ordersv1.AddShipmentResponse, error) {
	shipment := proto.CloneOf(req.GetShipment())
	_, err := s.change(req.GetOrderId(), func(order *ordersv1.Order) error {
		if order.GetState() == ordersv1.OrderState_ORDER_STATE_CANCELLED {
			return serve.FailedPrecondition("ORDER_CANCELLED", order.GetId(), "the order was called off")
		}
		if order.Shipments == nil {
			order.Shipments = map[string]*ordersv1.Shipment{}
		}
		shipment.DispatchTime = cmp.Or(shipment.GetDispatchTime(), timestamppb.Now())
		order.Shipments[shipment.GetId()] = shipment
		order.State = ordersv1.OrderState_ORDER_STATE_SHIPPED
		return nil
	})
	return &ordersv1.AddShipmentResponse{Shipment: shipment}, err
}

func (s *service) ListItems(_ context.Context, req *ordersv1.ListItemsRequest) (*ordersv1.ListItemsResponse, error) {
	order, err := s.find(req.GetOrderId())
	return &ordersv1.ListItemsResponse{Items: order.GetItems()}, err
}

func (s *service) ReplaceItems(_ context.Context, req *ordersv1.ReplaceItemsRequest) (*ordersv1.ReplaceItemsResponse, error) {
	order, err := s.change(req.GetOrderId(), func(order *ordersv1.Order) error {
		order.Items = req.GetItems()
		order.TotalMinor, order.Checksum = total(order), checksum(order)
		return nil
	})
	return &ordersv1.ReplaceItemsResponse{Items: order.GetItems()}, err
}

func (s *service) GetItem(_ context.Context, req *ordersv1.GetItemRequest) (*ordersv1.GetItemResponse, error) {
	order, err := s.find(req.GetOrderId())
	if err != nil {
		return nil, err
	}
	if req.GetLine() < 1 || req.GetLine() > min(math.MaxInt32, uint32(len(order.GetItems()))) { //nolint:gosec // at most 200 items
		return nil, serve.NotFound("item", fmt.Sprintf("%s/%d", order.GetId(), req.GetLine()))
	}
	return &ordersv1.GetItemResponse{Item: order.GetItems()[req.GetLine()-1]}, nil
}
