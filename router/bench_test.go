package router_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"

	"github.com/transomhq/transom/router"
	"github.com/transomhq/transom/rpc"
)

// corpus returns n routes in the manner of large public APIs, five HTTP
// methods, verbs and "**" among them, and for each a request that means it.
func corpus(n int) (routes, requests []string) {
	shapes := []struct{ route, request string }{
		{"GET /v1/{name=projects/*/resource%d/*}", "GET /v1/projects/my-project/resource%d/my-id-123"},
		{"GET /v1/{parent=projects/*/locations/*}/resource%d", "GET /v1/projects/my-project/locations/eu-west1/resource%d"},
		{"POST /v1/{name=projects/*/resource%d/*}:cancel", "POST /v1/projects/my-project/resource%d/my-id-123:cancel"},
		{"DELETE /v1/resource%d/{id}", "DELETE /v1/resource%d/4711"},
		{"PATCH /v1/{item.name=organizations/*/resource%d/*}", "PATCH /v1/organizations/42/resource%d/x"},
		{"PUT /v1/resource%d/{id}/parts/{part}", "PUT /v1/resource%d/4711/parts/7"},
		{"GET /v1/files%d/{path=**}", "GET /v1/files%d/a/b/c.txt"},
		{"POST /shop.service%d.v1.Service/Method", "POST /shop.service%d.v1.Service/Method"},
	}
	for i := range n {
		s := shapes[i%len(shapes)]
		routes = append(routes, fmt.Sprintf(s.route, i))
		requests = append(requests, fmt.Sprintf(s.request, i))
	}
	return routes, requests
}

var sizes = []int{10, 100, 1_000, 10_000}

func BenchmarkMatch(b *testing.B) {
	for _, n := range sizes {
		routes, requests := corpus(n)
		rand.New(rand.NewPCG(1, 2)).Shuffle(n, func(i, j int) { requests[i], requests[j] = requests[j], requests[i] })
		b.Run(fmt.Sprintf("transom/hit/%d", n), func(b *testing.B) {
			tab := table(b, routes...)
			methods, paths := split(requests)
			var m rpc.Match
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := tab.Match(methods[i%n], paths[i%n], &m); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("transom/miss/%d", n), func(b *testing.B) {
			tab := table(b, routes...)
			var m rpc.Match
			b.ReportAllocs()
			for b.Loop() {
				if err := tab.Match("GET", "/v1/projects/my-project/nothing/my-id", &m); err == nil {
					b.Fatal("found")
				}
			}
		})
		b.Run(fmt.Sprintf("grpc-gateway/hit/%d", n), func(b *testing.B) {
			mux := gatewayMux(b, routes)
			var asked []*http.Request
			for _, r := range requests {
				method, path, _ := strings.Cut(r, " ")
				asked = append(asked, httptest.NewRequest(method, path, nil))
			}
			w := httptest.NewRecorder()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				mux.ServeHTTP(w, asked[i%n])
			}
			if w.Code != http.StatusOK {
				b.Fatal(w.Code)
			}
		})
	}
}

// gatewayMux returns grpc-gateway's mux with handlers that do nothing.
func gatewayMux(b *testing.B, routes []string) *runtime.ServeMux {
	mux := runtime.NewServeMux()
	for _, r := range routes {
		method, template, _ := strings.Cut(r, " ")
		if err := mux.HandlePath(method, template, func(http.ResponseWriter, *http.Request, map[string]string) {}); err != nil {
			b.Fatal(err)
		}
	}
	return mux
}

func split(requests []string) (methods, paths []string) {
	for _, r := range requests {
		method, path, _ := strings.Cut(r, " ")
		methods, paths = append(methods, method), append(paths, path)
	}
	return methods, paths
}

// BenchmarkHostile asks for a path that fits as many nodes as can be, and ends
// nowhere: templates are every word of "a" and "*" with 12 letters.
func BenchmarkHostile(b *testing.B) {
	var routes []string
	for i := range 1 << 12 {
		var t strings.Builder
		for bit := range 12 {
			t.WriteString([]string{"/a", "/*"}[i>>bit&1])
		}
		routes = append(routes, "GET "+t.String()+"/end")
	}
	tab := table(b, routes...)
	path := strings.Repeat("/a", 12) + "/miss"
	var m rpc.Match
	for b.Loop() {
		if err := tab.Match("GET", path, &m); err == nil {
			b.Fatal("found")
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 50_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			routes, _ := corpus(n)
			all := bindings(routes...)
			for b.Loop() {
				if _, err := router.New(all, router.Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
