package cors_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/transomhq/transom/edge/cors"
)

func policy(t testing.TB, opts cors.Options) *cors.Policy {
	t.Helper()
	p, err := cors.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAllows(t *testing.T) {
	p := policy(t, cors.Options{Origins: []string{"https://app.example.com", "https://*.shop.example", "http://*.dev.example:3000"}})
	for origin, want := range map[string]bool{
		"https://app.example.com":                  true,
		"http://app.example.com":                   false,
		"https://app.example.com:8443":             false,
		"https://app.example.com.evil.example":     false,
		"https://a.shop.example":                   true,
		"https://a.b.shop.example":                 true,
		"https://shop.example":                     false,
		"https://.shop.example":                    false,
		"https://evil.example/.shop.example":       false,
		"https://evil.example?.shop.example":       false,
		"https://user@evil.example:x.shop.example": false,
		"https://evilshop.example":                 false,
		"https://a.shop.example:443":               false,
		"http://a.dev.example:3000":                true,
		"http://a.dev.example":                     false,
		"null":                                     false,
		"":                                         false,
	} {
		if got := p.Allows(origin); got != want {
			t.Errorf("%q: %v, want %v", origin, got, want)
		}
	}
}

func TestRefusesWhatWouldBeUnsafe(t *testing.T) {
	for _, opts := range []cors.Options{
		{Origins: []string{"*"}, Credentials: true},
		{Origins: []string{"https://a.example", "*"}, Credentials: true},
		{Origins: []string{"a.example"}},
		{Origins: []string{"https://a.example/"}},
		{Origins: []string{"https://A.example"}},
		{Origins: []string{"https://*evil.example"}},
		{Origins: []string{"https://*.*.example"}},
		{Origins: []string{"https://*"}},
		{Origins: []string{"null"}},
	} {
		if _, err := cors.New(opts); err == nil {
			t.Errorf("%v was taken", opts)
		}
	}
}

func TestPreflight(t *testing.T) {
	p := policy(t, cors.Options{Origins: []string{"https://a.example"}, Credentials: true, RequestHeaders: []string{"X-Tenant", "X-App-*"}, MaxAge: 10 * time.Minute})
	for _, tt := range []struct{ origin, headers, refused string }{
		{"https://a.example", "", ""},
		{"https://a.example", "content-type,x-grpc-web,grpc-timeout,authorization", ""},
		{"https://a.example", "X-Tenant, x-app-version", ""},
		{"https://a.example", "x-other", `web pages may not send the header field "x-other" to this method`},
		{"https://b.example", "", `web pages from "https://b.example" may not call this method`},
	} {
		r := httptest.NewRequest(http.MethodOptions, "/v1/x", nil)
		r.Header.Set("Origin", tt.origin)
		r.Header.Set("Access-Control-Request-Method", "PATCH")
		if tt.headers != "" {
			r.Header.Set("Access-Control-Request-Headers", tt.headers)
		}
		if !cors.IsPreflight(r) {
			t.Fatal("not a preflight")
		}
		h := http.Header{}
		err := p.Preflight(h, r)
		switch {
		case tt.refused != "":
			if err == nil || err.Error() != tt.refused || h.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%+v: got %v %v", tt, err, h)
			}
		case err != nil || h.Get("Access-Control-Allow-Origin") != tt.origin || h.Get("Access-Control-Allow-Methods") != "PATCH" ||
			h.Get("Access-Control-Allow-Credentials") != "true" || h.Get("Access-Control-Max-Age") != "600" ||
			h.Get("Access-Control-Allow-Headers") != strings.ToLower(tt.headers):
			t.Errorf("%+v: got %v %v", tt, err, h)
		}
		if !strings.HasPrefix(h.Get("Vary"), "Origin, ") {
			t.Errorf("Vary: %q", h.Get("Vary"))
		}
	}
}

func TestAnswer(t *testing.T) {
	h := http.Header{}
	policy(t, cors.Options{Origins: []string{"*"}, ResponseHeaders: []string{"x-total"}}).Answer(h, "https://any.example")
	if h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Access-Control-Allow-Credentials") != "" ||
		!strings.Contains(h.Get("Access-Control-Expose-Headers"), "Grpc-Status, ") || !strings.HasSuffix(h.Get("Access-Control-Expose-Headers"), ", X-Total") {
		t.Errorf("got %v", h)
	}
	h = http.Header{}
	policy(t, cors.Options{Origins: []string{"https://a.example"}, Credentials: true}).Answer(h, "https://b.example")
	if len(h) != 0 {
		t.Errorf("got %v", h)
	}
}

// No origin is allowed by a pattern unless a name below its host is.
func FuzzAllows(f *testing.F) {
	for _, s := range []string{"https://a.shop.example", "https://evil.example/.shop.example", "https://shop.example", "null"} {
		f.Add(s)
	}
	p := policy(f, cors.Options{Origins: []string{"https://*.shop.example"}})
	f.Fuzz(func(t *testing.T, origin string) {
		if !p.Allows(origin) {
			return
		}
		r, err := http.NewRequest(http.MethodGet, origin, nil) //nolint:noctx // parsed only
		if err != nil || !strings.HasSuffix(r.URL.Host, ".shop.example") || r.URL.Scheme != "https" || r.URL.User != nil || r.URL.Path != "" {
			t.Errorf("%q is allowed: %v", origin, err)
		}
	})
}

func BenchmarkAnswer(b *testing.B) {
	p := policy(b, cors.Options{Origins: []string{"https://a.example"}, Credentials: true})
	b.ReportAllocs()
	for b.Loop() {
		p.Answer(http.Header{}, "https://a.example")
	}
}
