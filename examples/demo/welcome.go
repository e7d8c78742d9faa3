package main

import "strings"

// sample is a request to try.
type sample struct {
	about string
	args  string // curl's, with BASE for the gateway's URL
	want  string // what the answer begins with
}

func samples() []sample {
	return []sample{
		{"a product, by its resource name", `BASE/v1/products/teapot`, `{"name":"products/teapot","title":"Teapot"`},
		{"a page of products: nested filter, order, field mask", `'BASE/v1/products?filter.tags=kitchen&order=PRODUCT_ORDER_PRICE&pageSize=2&readMask=title,priceMinor'`, `{"products":[{"title":`},
		{"all shelves, as a bare list", `BASE/v1/categories`, `[{"name":"categories/kitchen"`},
		{"add a product: a path variable, a query field and a body", `-X POST 'BASE/v1/categories/kitchen/products?productId=samovar' -d '{"title": "Samovar", "priceMinor": "24900"}'`, `{"name":"products/samovar","title":"Samovar"`},
		{"change one field: the mask is made from the body", `-X PATCH BASE/v1/products/samovar -d '{"title": "Big Samovar"}'`, `{"name":"products/samovar","title":"Big Samovar"`},
		{"a verb", `-X POST BASE/v1/products/samovar:archive -d '{"reason": "sold out"}'`, `{"name":"products/samovar"`},
		{"the body is a bare list", `-X PUT BASE/v1/products/globe/tags -d '["study", "round"]'`, `["study","round"]`},
		{"a picture, as it is", `BASE/v1/products/globe/thumbnail`, `<svg `},
		{"an order of one customer", `BASE/v1/customers/c-1/orders/o-1001`, `{"id":"o-1001"`},
		{"what an order would cost", `BASE/v1/orders:quote -d '{"items": [{"sku": "teapot-1", "quantity": 2, "unitPriceMinor": 3490}]}'`, `{"totalMinor":"7475"`},
		{"an order that is wrong in three places", `BASE/v1/orders -d '{"currencyCode": "euro", "discount": 2, "items": [{"sku": "x"}]}'`, `{"code":3`},
		{"an order that does not exist", `BASE/v1/orders/o-1`, `{"code":5`},
		{"where an order is", `BASE/v1/orders/o-1001/position`, `{"latitude":52.`},
	}
}

// line is the sample as it is pasted.
func (s sample) line(base string) string {
	args := strings.ReplaceAll(s.args, "BASE", base)
	return "curl -s " + strings.ReplaceAll(args, "-d ", "-H 'Content-Type: application/json' -d ")
}

func (d *demo) welcome(backends map[string]string) {
	base := "http://" + d.listen
	say(d.stdout, "\nThe shop is open at %s", base)
	for _, name := range services() {
		say(d.stdout, "  shop.%s.v1.*  at  %s", name, backends[name])
	}
	say(d.stdout, "\nTry (each line can be pasted; what follows # is how the answer begins):\n")
	for _, s := range samples() {
		say(d.stdout, "# %s\n%s\n#   %s\n", s.about, s.line(base), s.want)
	}
	say(d.stdout, "# the same services with native gRPC on the same port, if you have grpcurl\n"+
		"grpcurl -plaintext %[1]s list\n"+
		"grpcurl -plaintext -d '{\"orderId\": \"o-1001\"}' %[1]s shop.tracking.v1.TrackingService/TrackOrder\n", d.listen)
	say(d.stdout, "Routes: http://%[1]s/routes   metrics: http://%[1]s/metrics   health: http://%[1]s/readyz", d.admin)
	say(d.stdout, "Stop with Ctrl-C.")
}
