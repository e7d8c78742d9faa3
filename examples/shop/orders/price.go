package main

import (
	"encoding/binary"
	"hash/fnv"

	ordersv1 "github.com/transomhq/transom/gen/shop/orders/v1"
)

// deliveryMinor is what each carrier costs, in minor units.
func deliveryMinor(carrier ordersv1.Carrier) int64 {
	switch carrier {
	case ordersv1.Carrier_CARRIER_BICYCLE:
		return 795
	case ordersv1.Carrier_CARRIER_PICKUP:
		return 0
	default:
		return 495
	}
}

// itemsMinor is the sum of the lines, in minor units.
func itemsMinor(items []*ordersv1.Item) int64 {
	var sum int64
	for _, item := range items {
		sum += int64(item.GetQuantity()) * item.GetUnitPriceMinor()
	}
	return sum
}

// discountMinor is what a share of a sum is, in minor units, rounded down.
func discountMinor(sum int64, share float64) int64 { return int64(float64(sum) * share) }

// total is what an order costs, in minor units.
func total(order *ordersv1.Order) int64 {
	sum := itemsMinor(order.GetItems())
	return sum - discountMinor(sum, order.GetDiscount()) + deliveryMinor(order.GetDelivery().GetCarrier())
}

// checksum tells whether two orders ask for the same.
func checksum(order *ordersv1.Order) uint64 {
	h := fnv.New64a()
	for _, item := range order.GetItems() {
		_, _ = h.Write([]byte(item.GetSku())) // a hash never fails
		_ = binary.Write(h, binary.LittleEndian, item.GetQuantity())
	}
	return h.Sum64()
}
