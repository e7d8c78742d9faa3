package rpc_test

import (
	"testing"

	"github.com/transomhq/transom/rpc"
)

func TestSelectorMatches(t *testing.T) {
	for _, tt := range []struct {
		selector, method string
		want             bool
	}{
		{"*", "shop.v1.Orders.Get", true},
		{"shop.*", "shop.v1.Orders.Get", true},
		{"shop.v1.*", "shop.v10.Orders.Get", false},
		{"shop.v1.Orders", "shop.v1.Orders.Get", true},
		{"shop.v1.Orders.*", "shop.v1.Orders.Get", true},
		{"shop.v1.Orders.Get", "shop.v1.Orders.Get", true},
		{"shop.v1.Orders.Get", "shop.v1.Orders.GetAll", false},
		{"shop.v1", "shop.v1.Orders.Get", false}, // a package is written with ".*"
		{"shop.v1.Order", "shop.v1.Orders.Get", false},
	} {
		s, err := rpc.ParseSelector(tt.selector)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Matches(tt.method); got != tt.want {
			t.Errorf("%s matches %s = %v, want %v", tt.selector, tt.method, got, tt.want)
		}
	}
}

func TestParseSelectorRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":           `empty selector: write a method, a service, a package followed by ".*", or "*"`,
		"shop*":      `selector "shop*": "*" stands alone or as the last part, as in "shop.orders.v1.*"`,
		"*.Orders":   `selector "*.Orders": "*" stands alone or as the last part, as in "shop.orders.v1.*"`,
		"shop..v1":   `selector "shop..v1": "" is not a name`,
		"shop.v1/Or": `selector "shop.v1/Or": "v1/Or" is not a name`,
		"/shop.v1.O": `selector "/shop.v1.O": "/shop" is not a name`,
	} {
		if _, err := rpc.ParseSelector(in); err == nil || err.Error() != want {
			t.Errorf("ParseSelector(%q) = %v, want %s", in, err, want)
		}
	}
}
