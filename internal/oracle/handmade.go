package oracle

import (
	"net/http"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// handmade are requests that random ones seldom hit on: known corners, kept.
func handmade() []*Case {
	request := func(kind, method, path, query, body string) *Case {
		c := &Case{
			Binding: "handmade", Kind: "handmade: " + kind, Method: method, Path: path, Query: query, Header: http.Header{},
			Reply: Reply{Messages: []proto.Message{&emptypb.Empty{}}}, // upstream makes it an empty message of the method's type
		}
		if body != "" {
			c.Body = []byte(body)
			c.Header.Set("Content-Type", "application/json")
		}
		return c
	}
	upload := request("raw upload", "PUT", "/v1/products/globe/images/note.txt", "", "plain text")
	upload.Header.Set("Content-Type", "text/plain")
	return []*Case{
		upload,
		request("no segments for **", "PUT", "/v1/products/globe/images", "", `{"data":"eA=="}`),
		request("escaped slash", "GET", "/v1/orders/a%2Fb", "", ""),
		request("escaped escape", "GET", "/v1/orders/a%252Fb", "", ""),
		request("verb of another method", "PATCH", "/v1/orders/o-1001:cancel", "", `{"note":"x"}`),
		request("bytes without padding", "GET", "/v1/products", "filter.image_digest=YQ", ""),
		request("bytes of the URL alphabet", "GET", "/v1/products", "filter.image_digest=-_8%3D", ""),
		request("two spellings", "GET", "/v1/orders", "pageToken=a&page_token=b", ""),
		request("whole mask and parts", "GET", "/v1/products/globe", "read_mask=title&read_mask.paths=name", ""),
		request("not UTF-8 in the query", "GET", "/v1/products:search", "query=%ff", ""),
		request("below a list that is the body", "PUT", "/v1/orders/o-1001/items", "items.options[a.b]=1", `[]`),
		request("mask by its paths", "PATCH", "/v1/orders/o-1001", "update_mask.paths=gift", `{"note":"x"}`),
		request("mask in the query", "PATCH", "/v1/orders/o-1001", "updateMask=gift", `{"note":"x"}`),
		request("nested PATCH", "PATCH", "/v1/orders/o-1001", "", `{"customer":{"address":{"city":"Delft"}},"items":[{"sku":"x"}]}`),
		request("key twice in a map", "PUT", "/v1/products/globe/labels", "", `{"a":"1","a":"2"}`),
		request("null in a map", "PUT", "/v1/products/globe/labels", "", `{"a":null}`),
		request("null in a list", "PUT", "/v1/products/globe/tags", "", `["a",null]`),
		request("number for a string", "PUT", "/v1/products/globe/title", "", `7`),
		request("int64 at its ends", "GET", "/v1/orders", "min_total_minor=-9223372036854775808", ""),
		request("uint64 over its end", "GET", "/v1/orders/o-1001/positions", "after_sequence=18446744073709551616", ""),
		request("wrapper in the query", "GET", "/v1/products", "filter.inStock=false", ""),
		request("boolean as 1", "PUT", "/v1/orders/o-1001/shipments/s", "notify=1", `{}`),
		request("enum by number in the path", "GET", "/v1/states/2/orders", "", ""),
		request("unknown enum in the path", "GET", "/v1/states/PAID/orders", "", ""),
		request("duration of Go", "GET", "/v1/orders/o-1001/positions", "every=1h30m", ""),
		request("line break in a key", "GET", "/v1/products", "filter.labels%5Ba%0Ab%5D=x", ""),
		request("long duration", "GET", "/v1/orders/o-1001/positions", "every=315576000000s", ""),
	}
}
