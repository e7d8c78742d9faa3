package schema

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/genproto/googleapis/api/serviceconfig"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

const ruledProto = `
-- a.proto --
syntax = "proto3";
package shop.v1;
import "google/api/annotations.proto";
service A {
  rpc Get(R) returns (R) { option (google.api.http).get = "/option/{id}"; }
  rpc Put(R) returns (R) { option (google.api.http).get = "/other/{id}"; }
}
service B { rpc Get(R) returns (R); }
message R { string id = 1; R r = 2; }
`

// withRules loads ruledProto with one rules file.
func withRules(t *testing.T, name, text string) (Options, string) {
	dir := folder(t, ruledProto)
	file := filepath.Join(dir, name)
	write(t, file, text)
	return Options{Sources: []string{dir}, Rules: []string{file}}, dir
}

func TestRules(t *testing.T) {
	for name, test := range map[string]struct{ file, text, want, warn string }{
		"a rule replaces the option": {"r.yaml", `
type: google.api.Service
config_version: 3
name: shop.example.com
title: Shop
apis: [{name: shop.v1.A}]
backend: {rules: [{selector: "*", deadline: 10}]}
http:
  fully_decode_reserved_expansion: true
  rules:
  - selector: shop.v1.A.Get
    post: /config/{id}
    body: r
    response_body: r
    additional_bindings:
    - custom: {kind: head, path: "/config/{r.id}:peek"}
    - get: /more/{id=x/**}
`, `
POST /config/{id} r>r shop.v1.A.Get
HEAD /config/{r.id}:peek shop.v1.A.Get
GET /more/{id=x/**} shop.v1.A.Get
GET /other/{id} shop.v1.A.Put
POST /shop.v1.B/Get *> shop.v1.B.Get`, ""},
		"JSON with tabs and camelCase": {"r.json", "{\n\t\"type\": \"google.api.Service\",\n\t\"http\": {\"rules\": [\n\t\t{\"selector\": \"shop.v1.B.Get\", \"get\": \"/b\", \"responseBody\": \"r\", \"additionalBindings\": [{\"get\": \"/c\"}]}]}\n}", `
GET /option/{id} shop.v1.A.Get
GET /other/{id} shop.v1.A.Put
GET /b >r shop.v1.B.Get
GET /c shop.v1.B.Get`, ""},
		"the last rule wins": {"r.yaml", `
http:
  rules:
  - {selector: shop.v1.A.Get, get: /one}
  - {selector: "shop.v1.A.*", get: "/wild"}
  - {selector: "shop.v1.A.Put, shop.v1.B.Get", get: /two}
  - {selector: shop.v1.B.Get, get: /three}
  - {selector: shop.v9.B.Get, get: /four}
`, `
GET /wild shop.v1.A.Get
GET /two shop.v1.A.Put
GET /three shop.v1.B.Get`, `
DIR/r.yaml:4:5: selector "shop.v1.A.Get" has no effect: it names no method, or a later rule is for the same ones
DIR/r.yaml:8:5: selector "shop.v9.B.Get" has no effect: it names no method, or a later rule is for the same ones`},
		"a rule without an HTTP method takes bindings away": {"r.yaml", "http: {rules: [{selector: shop.v1.A.Get}]}", `
POST /shop.v1.A/Get *> shop.v1.A.Get
GET /other/{id} shop.v1.A.Put
POST /shop.v1.B/Get *> shop.v1.B.Get`, ""},
		"aliases": {"r.yaml", `
http:
  rules:
  - &rule {selector: shop.v1.A.Get, get: &path /alias}
  - {selector: shop.v1.B.Get, put: *path}
  - *rule
`, `
GET /alias shop.v1.A.Get
GET /other/{id} shop.v1.A.Put
PUT /alias shop.v1.B.Get`, `
DIR/r.yaml:4:5: selector "shop.v1.A.Get" has no effect: it names no method, or a later rule is for the same ones`},
		"nothing":  {"r.yaml", "", "GET /option/{id} shop.v1.A.Get\nGET /other/{id} shop.v1.A.Put\nPOST /shop.v1.B/Get *> shop.v1.B.Get", ""},
		"no rules": {"r.yaml", "http:\n", "GET /option/{id} shop.v1.A.Get\nGET /other/{id} shop.v1.A.Put\nPOST /shop.v1.B/Get *> shop.v1.B.Get", ""},
	} {
		t.Run(name, func(t *testing.T) {
			opts, dir := withRules(t, test.file, test.text)
			s := load(t, opts)
			same(t, routes(s), test.want)
			same(t, strings.ReplaceAll(Problems(s.Warnings).Error(), dir, "DIR"), test.warn)
			if s.FullyDecodeReserved != (name == "a rule replaces the option") {
				t.Errorf("FullyDecodeReserved = %v", s.FullyDecodeReserved)
			}
		})
	}
}

func TestRuleOrigins(t *testing.T) {
	opts, dir := withRules(t, "r.yaml", "http:\n  rules:\n  - selector: shop.v1.A.Get\n    get: /a/{no}\n    additional_bindings:\n    - get: /b/{no}\n")
	same(t, strings.ReplaceAll(loadError(t, opts), dir, "DIR"), `
DIR/r.yaml:3:5: shop.v1.A.Get: path template "/a/{no}", variable "no": shop.v1.R has no field "no"
DIR/r.yaml:6:7: shop.v1.A.Get: path template "/b/{no}", variable "no": shop.v1.R has no field "no"`)
}

func TestBadRules(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"http: [", `r.yaml:1: did not find expected node content`},
		{"- a", `r.yaml:1:1: google.api.Service is a mapping of fields`},
		{"type: google.api.Servise", `r.yaml:1:7: type "google.api.Servise": write google.api.Service`},
		{"http: []", `r.yaml:1:7: http is a mapping of fields`},
		{"http: {rules: {}}", `r.yaml:1:15: rules is a list`},
		{"http: {rules: [1]}", "r.yaml:1:16: a rule is a mapping of fields\nr.yaml:1:16: a rule without selector: name the methods that it is for"},
		{"http: {rules: [~]}", "r.yaml:1:16: an empty rule"},
		{"http: {rulez: []}", `r.yaml:1:8: unknown field "rulez": http has rules and fully_decode_reserved_expansion`},
		{"http: {fully_decode_reserved_expansion: maybe}", `r.yaml:1:41: fully_decode_reserved_expansion is true or false`},
		{"http: {rules: [{get: /a}]}", `r.yaml:1:16: a rule without selector: name the methods that it is for`},
		{"http: {rules: [{selector: 'a.b*', get: /a}]}", `r.yaml:1:27: selector "a.b*": "*" stands alone or as the last part, as in "shop.orders.v1.*"`},
		{"http: {rules: [{selector: '*', get: /a, put: /b}]}", `r.yaml:1:41: a second HTTP method in one rule: write it under additional_bindings`},
		{"http: {rules: [{selector: '*', get: /a, get: /b}]}", "r.yaml:1:41: \"get\" is set twice\nr.yaml:1:41: a second HTTP method in one rule: write it under additional_bindings"},
		{"http: {rules: [{selector: '*', get: 5}]}", `r.yaml:1:37: get is a text`},
		{"http: {rules: [{selector: '*', custom: {kind: A, pth: /}}]}", `r.yaml:1:50: unknown field "pth": custom has kind and path`},
		{"http: {rules: [{selector: '*', get: /a, additional_bindings: [{get: /b, selector: a.B}]}]}", `r.yaml:1:83: selector "a.B": an additional binding has its rule's selector`},
		{"http: {rules: [{selector: '*', get: /a, additional_bindings: [{get: /b, additional_bindings: []}]}]}", `r.yaml:1:73: additional_bindings inside additional_bindings: list them side by side`},
		{"http: {}\n---\nhttp: {}", `r.yaml:2:1: a second document: one file is one google.api.Service`},
	} {
		opts, dir := withRules(t, "r.yaml", test.text)
		same(t, strings.ReplaceAll(loadError(t, opts), dir+"/", ""), test.want)
	}
}

// FuzzRules compares with the reference: what protojson reads as a
// google.api.Service gives the same HTTP rules here.
func FuzzRules(f *testing.F) {
	f.Add([]byte("http:\n  rules:\n  - selector: a.B.C\n    get: /x\n    additional_bindings: [{custom: {kind: X, path: /y}}]\n"))
	f.Add([]byte(`{"http": {"rules": [{"selector": "a.B.C", "post": "/x", "body": "*", "responseBody": "r"}], "fullyDecodeReservedExpansion": true}}`))
	f.Add([]byte("http: &a {rules: [*a]}"))
	f.Add([]byte("a: &a [*a]\nhttp: *a"))
	f.Fuzz(func(t *testing.T, data []byte) {
		const name = "r.yaml"
		set := &ruleSet{exact: map[string]int{}}
		problems := set.parse(name, data)
		set.index()
		set.find("a.B.C")
		for _, p := range problems {
			if !strings.HasPrefix(p.Origin, name) || p.Text == "" {
				t.Errorf("problem without place or text: %v", p)
			}
		}
		var want serviceconfig.Service
		if len(problems) > 0 || protojson.Unmarshal(data, &want) != nil {
			return
		}
		got := &annotations.Http{FullyDecodeReservedExpansion: set.decodeReserved}
		for _, r := range set.rules {
			r.http.Selector = joinSelectors(r.selectors)
			got.Rules = append(got.Rules, r.http)
		}
		for _, r := range want.GetHttp().GetRules() {
			r.Selector = strings.ReplaceAll(strings.ReplaceAll(r.Selector, " ", ""), ",", ", ")
		}
		if want.Http == nil {
			want.Http = &annotations.Http{}
		}
		if !proto.Equal(got, want.Http) {
			t.Errorf("got %v\nwant %v", got, want.Http)
		}
	})
}

// naiveFind is find without an index.
func naiveFind(s *ruleSet, method string) int {
	for i := len(s.rules) - 1; i >= 0; i-- {
		for _, sel := range s.rules[i].selectors {
			if sel.Matches(method) {
				return i
			}
		}
	}
	return -1
}

func TestFindAgreesWithNaive(t *testing.T) {
	sels := []string{"*", "a.*", "a.B", "a.B.*", "a.B.C", "a.B.D", "b.*", "b.B.C"}
	for i := range 1 << len(sels) {
		var text strings.Builder
		text.WriteString("http:\n  rules: \n")
		for j := range sels {
			if k := (j*5 + i) % len(sels); i>>k&1 == 1 {
				fmt.Fprintf(&text, "  - {selector: '%s', get: /x}\n", sels[k])
			}
		}
		set := &ruleSet{exact: map[string]int{}}
		if ps := set.parse("x", []byte(text.String())); len(ps) > 0 {
			t.Fatal(ps)
		}
		set.index()
		for _, m := range []string{"a.B.C", "a.B.D", "a.C.C", "b.B.C", "b.B.D", "c.B.C", "x"} {
			if got, want := set.find(m), naiveFind(set, m); got != want {
				t.Fatalf("%s with\n%s: %d, want %d", m, text.String(), got, want)
			}
		}
	}
}
