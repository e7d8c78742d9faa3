package rest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/rest"
)

// cause is in every private error of the handler, and in no response.
const cause = "dial 10.0.0.1: secret cause"

// trial sends one request and checks what holds for every one of them: the
// answer is a success, or an error in its form, without private text. It
// returns what the backend saw, nil when nothing reached it.
func trial(t *testing.T, w *world, r *http.Request) (*httptest.ResponseRecorder, protoreflect.Message) {
	t.Helper()
	var got protoreflect.Message
	w.handle = func(_ *rpc.Call, req *rpc.Message) (*rpc.Message, error) {
		var err error
		if got, err = decode(req); err != nil {
			t.Fatalf("the backend cannot read the request: %v", err)
		}
		return nil, errors.New(cause)
	}
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	var st struct {
		Code    int
		Message string
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &st); err != nil || st.Code == 0 || st.Message == "" || !utf8.Valid(rec.Body.Bytes()) {
		t.Fatalf("%d with a body that is no error: %q", rec.Code, rec.Body)
	}
	if strings.Contains(rec.Body.String(), "secret") && !strings.Contains(r.URL.String(), "secret") {
		t.Fatalf("a private cause in %s", rec.Body)
	}
	if want := rec.Code == http.StatusInternalServerError; want != (got != nil) {
		t.Fatalf("status %d, and the backend saw %v: %s", rec.Code, got, rec.Body)
	}
	return rec, got
}

// request makes a request whose target is not put right by anybody.
func request(method, path, query, contentType string, body []byte) *http.Request {
	r := &http.Request{
		Method: method, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Host: "api.test", Header: http.Header{}, Body: http.NoBody,
		URL: &url.URL{Path: "/", RawPath: path, RawQuery: query}, RequestURI: path,
	}
	// EscapedPath trusts RawPath only when it is an encoding of Path.
	if p, err := url.PathUnescape(path); err == nil {
		r.URL.Path = p
	}
	if body != nil {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}

// field returns a field's value by its path.
func field(m protoreflect.Message, path ...string) string {
	for i, name := range path {
		fd := m.Descriptor().Fields().ByName(protoreflect.Name(name))
		if i == len(path)-1 {
			return m.Get(fd).String()
		}
		m = m.Get(fd).Message()
	}
	return ""
}

// A path variable is bound to the one decoding of its text, or the path is refused.
func FuzzPathValue(f *testing.F) {
	for _, s := range []string{"a", "a%2Fb", "%252F", "100%25", "%zz", "%FF", "%", "a%0", ".", "%2e%2e", "a:b", "~%7e", "%00", "é", "a+b", "a;b"} {
		f.Add(s)
	}
	for _, profile := range []rest.Profile{rest.Strict} {
		w := newWorld(f, rest.Options{Profile: profile})
		f.Fuzz(func(t *testing.T, text string) {
			if strings.ContainsAny(text, "/?#") {
				return
			}
			_, got := trial(t, w, request("GET", "/v1/x/"+text, "", "", nil))
			if got == nil {
				return
			}
			want, err := url.PathUnescape(text)
			if id := field(got, "id"); err != nil || id != want {
				t.Errorf("%q is bound as %q, want %q (%v)", text, id, want, err)
			}
		})
	}
}

// Whatever the query says, what the path binds stays.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{
		"name=a+b%2Bc", "sub.a=two", "sub.a=one", "sub={}", "sub%2Ea=two", "sub.n=1&sub.sub.a=x", "sub.left=a&sub.right=b", "tag=A&tag=B", "m[a]=1", "m%5Ba%5D=1&m[a]=2",
		"modes[-1]=FAST", "rev=1e3", "rev=9223372036854775808", "ts=2026-01-02T03:04:05Z", "wait=1.5s", "mask=a,bC", "extra=%7B%7D", "any_value=[1,null]", "count=5&text=x",
		"b=_-8", "f", "f=true", "x=a&y.a=b", "ratio=NaN", "small=1e39", "%zz=1", "name=%FF", ";", "&&", "=", ".", "[", "m[]", "subs.a=1", "blob.data=AA", "num=1&num=2&num=1e0",
	} {
		f.Add(s, "one")
	}
	strict, lax := newWorld(f, rest.Options{}), newWorld(f, rest.Options{Profile: rest.GRPCGateway})
	f.Fuzz(func(t *testing.T, query, value string) {
		if value == "" || value == "." || value == ".." {
			return
		}
		for _, w := range []*world{strict, lax} {
			_, got := trial(t, w, request("GET", "/v1/sub/"+url.PathEscape(value), query, "", nil))
			if got != nil && field(got, "sub", "a") != value {
				t.Errorf("?%s makes %q of sub.a, which the path binds to %q", query, field(got, "sub", "a"), value)
			}
			_, got = trial(t, w, request("GET", "/v1/kind/"+url.PathEscape(value), query, "", nil))
			if got != nil && field(got, "x") != value {
				t.Errorf("?%s makes %q of x, which the path binds to %q", query, field(got, "x"), value)
			}
		}
	})
}

// Whatever the body says, what the path binds stays.
func FuzzBody(f *testing.F) {
	types := []string{"application/json", "application/x-protobuf", "application/x-www-form-urlencoded", ""}
	for _, s := range []string{
		"", "null", "{}", `{"id": "one"}`, `{"sub": {"a": "two"}}`, `{"sub": {"a": "one", "n": 1}}`, `{"sub": {"left": "a"}}`, `{"y": {}}`, `{"x": "two"}`, `{"\u0073ub": {"a": "x"}}`,
		`{"name": "n"} x`, `{"name": "\ud800"}`, `[1]`, `{"anyValue": [[[]]]}`, `{"m": {"a": "b"}, "modes": {"1": "FAST"}}`, `{"thing": {"name": "things/2"}}`, `{"displayName": "d", "sub": {}}`,
	} {
		f.Add([]byte(s), "one", byte(0))
		f.Add([]byte(s), "one", byte(3))
	}
	for _, s := range []string{"\x32\x05\x0a\x03two", "\x32\x05\x0a\x03one", "\x32\x02\x10\x03\x32\x05\x0a\x03two", "\x0a\x03two\x0a\x03one", "\x6a\x00", "\x62\x03two", "\x0a\x7f", "\x33\x0a\x01a\x34", "\xa2\x06\x01a"} {
		f.Add([]byte(s), "one", byte(1))
	}
	for _, s := range []string{"sub.a=two", "a=two", "name=n&tag=a", "x=two", "y.a=b", "%zz"} {
		f.Add([]byte(s), "one", byte(2))
	}
	strict, lax := newWorld(f, rest.Options{}), newWorld(f, rest.Options{Profile: rest.GRPCGateway})
	f.Fuzz(func(t *testing.T, body []byte, value string, kind byte) {
		if value == "" || value == "." || value == ".." {
			return
		}
		media := types[int(kind)%len(types)]
		for _, c := range []struct {
			method, path string
			bound        []string
		}{
			{"POST", "/v1/x/", []string{"id"}},
			{"POST", "/v1/sub/", []string{"sub", "a"}},
			{"POST", "/v1/kind/", []string{"x"}},
			{"POST", "/v1/pick/", []string{"sub", "left"}},
			{"POST", "/v1/s/", []string{"id"}},
			{"POST", "/v1/y/", []string{"id"}},
			{"POST", "/v1/t/", []string{"id"}},
			{"POST", "/v1/m/", []string{"id"}},
			{"POST", "/v1/r/", []string{"id"}},
			{"PATCH", "/v1/by/", []string{"thing", "display_name"}},
		} {
			for _, w := range []*world{strict, lax} {
				_, got := trial(t, w, request(c.method, c.path+url.PathEscape(value), "", media, body))
				if got != nil && field(got, c.bound...) != value {
					t.Errorf("%s %s with %q makes %q of %v, which the path binds to %q", c.method, c.path, body, field(got, c.bound...), c.bound, value)
				}
			}
		}
	})
}
