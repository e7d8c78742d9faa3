package schema

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
	"github.com/transomhq/transom/schema/builtin"
)

const shopRoutes = `
GET /v1/{name=orders/*} shop.v1.Orders.Get
GET /v1/at/{since} shop.v1.Orders.Get
POST /v1/{item.id}:get item>name shop.v1.Orders.Get
POST /shop.v1.Orders/Watch *> shop.v1.Orders.Watch
`

func TestFolder(t *testing.T) {
	s := load(t, Options{Sources: []string{folder(t, shop)}})
	same(t, routes(s), shopRoutes)
	var origins []string
	for i, b := range s.Bindings {
		if b.ID != i {
			t.Errorf("binding %d has ID %d", i, b.ID)
		}
		origins = append(origins, b.Origin)
	}
	same(t, strings.Join(origins, " "), "shop/v1/shop.proto:12:5 shop/v1/shop.proto:14:7 shop/v1/shop.proto:17:7 shop/v1/shop.proto:25:3")

	m := s.Method("/shop.v1.Orders/Get")
	if m == nil || s.Method("/shop.v1.Orders/None") != nil {
		t.Fatal("Method does not find exactly what is there")
	}
	v := m.Bindings[0].Variables[0]
	if v.Path != "name" || !v.Multi || v.Fields[0].FullName() != "shop.v1.GetRequest.name" {
		t.Errorf("variable %+v", v)
	}
	if v := m.Bindings[2].Variables[0]; v.Multi || len(v.Fields) != 2 || v.Fields[1].FullName() != "shop.v1.Item.id" {
		t.Errorf("nested variable %+v", v)
	}
	if !s.Method("/shop.v1.Orders/Watch").Bindings[0].Implicit || m.Bindings[0].Implicit {
		t.Error("only the method without a rule has an implicit binding")
	}
	policy := proto.GetExtension(m.Desc.Options(), policyv1.E_Method).(*policyv1.Policy)
	if got := policy.GetAuthz().GetScopes(); !slices.Equal(got, []string{"orders.read"}) {
		t.Errorf("scopes %q", got)
	}
	for d, want := range map[protoreflect.Descriptor]string{
		m.Desc:                         " Get finds one.\n",
		m.Desc.Parent():                " Orders takes orders.\n",
		m.Desc.Input().Fields().Get(0): " The order's name.\n",
	} {
		if got := d.ParentFile().SourceLocations().ByDescriptor(d).LeadingComments; got != want {
			t.Errorf("comment of %s: %q, want %q", d.FullName(), got, want)
		}
	}
	same(t, fmt.Sprint(s.Advice()), "[shop/v1/shop.proto:25:3: shop.v1.Orders.Watch: a streaming method without an HTTP binding]")
}

func TestSingleProtoFile(t *testing.T) {
	dir := folder(t, "-- a.proto --\nsyntax = \"proto3\"; package a; service S { rpc M(R) returns (R); } message R {}\n-- b.proto --\nbroken")
	same(t, routes(load(t, Options{Sources: []string{filepath.Join(dir, "a.proto")}})), "POST /a.S/M *> a.S.M")
}

func TestSingleProtoFileImports(t *testing.T) {
	dir := folder(t, shop+"-- shop/v1/broken.proto --\nbroken\n")
	s := load(t, Options{Sources: []string{filepath.Join(dir, "shop/v1/shop.proto")}})
	same(t, routes(s), shopRoutes)
	same(t, s.Bindings[0].Origin, "shop/v1/shop.proto:12:5")

	dir = folder(t, "-- a.proto --\nsyntax = \"proto3\"; import \"b.proto\"; service S { rpc M(R) returns (R); }\n-- b.proto --\nsyntax = \"proto3\"; message R {} service T { rpc M(R) returns (R); }\n")
	same(t, routes(load(t, Options{Sources: []string{filepath.Join(dir, "a.proto")}})), "POST /S/M *> S.M")
}

func TestSyntaxes(t *testing.T) {
	dir := folder(t, `
-- two.proto --
syntax = "proto2";
package two;
import "google/api/annotations.proto";
message R { required string id = 1; optional group G = 2 { optional int32 n = 3; } extensions 100 to 200; }
extend R { optional string more = 100; }
service S { rpc M(R) returns (R) { option (google.api.http).get = "/two/{id}/{g.n}"; } }
-- three.proto --
syntax = "proto3";
package three;
import "google/api/annotations.proto";
message R { optional string id = 1; map<string, int32> m = 2; oneof o { int32 a = 3; string b = 4; } }
service S { rpc M(R) returns (R) { option (google.api.http).get = "/three/{id}/{a}"; } }
-- editions.proto --
edition = "2023";
package editions;
import "google/api/annotations.proto";
import "buf/validate/validate.proto";
import "google/protobuf/cpp_features.proto";
option features.field_presence = IMPLICIT;
message R { string id = 1 [(buf.validate.field).string.min_len = 1]; R r = 2 [features.message_encoding = DELIMITED]; }
service S { rpc M(R) returns (R) { option (google.api.http).get = "/editions/{id}/{r.id}"; } }
`)
	same(t, routes(load(t, Options{Sources: []string{dir}})), `
GET /editions/{id}/{r.id} editions.S.M
GET /three/{id}/{a} three.S.M
GET /two/{id}/{g.n} two.S.M`)
}

// TestEdition2024 is read from images; the compiler here does not know it yet.
func TestEdition2024(t *testing.T) {
	dir := folder(t, "-- a.proto --\nedition = \"2023\"; package a; import \"google/api/annotations.proto\"; service S { rpc M(R) returns (R) { option (google.api.http).get = \"/{id}\"; } } message R { string id = 1; }")
	set := without(image(t, dir), "google/")
	set.File[0].Edition = descriptorpb.Edition_EDITION_2024.Enum()
	set.File[0].OptionDependency = []string{"no/such/options.proto"}
	file := filepath.Join(dir, "a.binpb")
	write(t, file, string(marshal(t, set)))
	same(t, routes(load(t, Options{Sources: []string{file}})), "GET /{id} a.S.M")

	write(t, filepath.Join(dir, "a.proto"), "edition = \"2024\";")
	same(t, loadError(t, Options{Sources: []string{dir}}),
		`a.proto:1:11: edition value "2024" not recognized; should be one of ["2023"]; an image of it, made with buf or protoc, can be read`)
}

// TestLayouts names folders that are not import roots themselves.
func TestLayouts(t *testing.T) {
	const api = `syntax = "proto3"; package shop.v1; import "google/api/annotations.proto"; import "shop/v1/b.proto";
service S { rpc M(B) returns (B) { option (google.api.http).get = "/x"; } }`
	const b = `syntax = "proto3"; package shop.v1; message B {}`
	http, err := builtin.Source("google/api/http.proto")
	if err != nil {
		t.Fatal(err)
	}
	annotations, err := builtin.Source("google/api/annotations.proto")
	if err != nil {
		t.Fatal(err)
	}
	for name, files := range map[string]map[string]string{
		"the root itself": {"shop/v1/a.proto": api, "shop/v1/b.proto": b},
		"a folder below":  {"proto/shop/v1/a.proto": api, "proto/shop/v1/b.proto": b},
		"own copies of googleapis": {
			"proto/shop/v1/a.proto": api, "proto/shop/v1/b.proto": b,
			"third_party/google/api/annotations.proto": string(annotations), "third_party/google/api/http.proto": string(http),
		},
		"half a copy of googleapis": {"shop/v1/a.proto": api, "shop/v1/b.proto": b, "google/api/http.proto": string(http)},
		"folders that do not count": {"shop/v1/a.proto": api, "shop/v1/b.proto": b, ".git/x.proto": "broken", "node_modules/x.proto": "broken"},
		"two import roots":          {"one/shop/v1/a.proto": api, "two/shop/v1/b.proto": b},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range files {
				write(t, filepath.Join(dir, name), text)
			}
			s := load(t, Options{Sources: []string{dir}})
			same(t, routes(s), "GET /x shop.v1.S.M")
			if _, err := s.Files.FindFileByPath("shop/v1/b.proto"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFolderWithSymlinks(t *testing.T) {
	dir := folder(t, "-- ..2026/shop/v1/a.proto --\nsyntax = \"proto3\"; package shop.v1; service S { rpc M(R) returns (R); } message R {}\n")
	for link, to := range map[string]string{"..data": "..2026", "shop": "..data/shop", "..2026/shop/loop": ".."} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	same(t, routes(load(t, Options{Sources: []string{dir}})), "POST /shop.v1.S/M *> shop.v1.S.M")
}

func TestSelection(t *testing.T) {
	dir := folder(t, `
-- a.proto --
syntax = "proto3";
package shop.v1;
import "google/longrunning/operations.proto";
service A { rpc M(R) returns (R); rpc N(R) returns (google.longrunning.Operation); }
service B { rpc M(R) returns (R); }
message R {}
-- health.proto --
syntax = "proto3";
package grpc.health.v1;
service Health { rpc Check(R) returns (R); }
message R {}
-- reflection.proto --
syntax = "proto3";
package grpc.reflection.v1;
service ServerReflection { rpc Ask(R) returns (R); }
message R {}
`)
	for _, test := range []struct {
		include, exclude, want, warn string
	}{
		{want: "shop.v1.A.M shop.v1.A.N shop.v1.B.M"},
		{include: "*", want: "shop.v1.A.M shop.v1.A.N shop.v1.B.M"},
		{include: "shop.v1.A", want: "shop.v1.A.M shop.v1.A.N"},
		{include: "shop.*", exclude: "shop.v1.A.N", want: "shop.v1.A.M shop.v1.B.M"},
		{exclude: "shop.v1.*"},
		{include: "google.longrunning.Operations.GetOperation", want: "google.longrunning.Operations.GetOperation"},
		{include: "grpc.*", warn: ""},
		{include: "shop.v2.*", warn: `include: selector "shop.v2.*" names no method of any source`},
	} {
		opts := Options{Sources: []string{dir}}
		if test.include != "" {
			opts.Include = []string{test.include}
		}
		if test.exclude != "" {
			opts.Exclude = []string{test.exclude}
		}
		s := load(t, opts)
		var got []string
		for _, m := range s.Methods {
			got = append(got, m.Selector())
		}
		same(t, strings.Join(got, " "), test.want)
		same(t, Problems(s.Warnings).Error(), test.warn)
	}
	same(t, loadError(t, Options{Sources: []string{dir}, Include: []string{"shop.*.A"}, Exclude: []string{""}}),
		"exclude: empty selector: write a method, a service, a package followed by \".*\", or \"*\"\n"+
			`include: selector "shop.*.A": "*" stands alone or as the last part, as in "shop.orders.v1.*"`)
}

func TestBufImports(t *testing.T) {
	set := image(t, folder(t, `
-- a.proto --
syntax = "proto3";
package a;
import "b.proto";
service S { rpc M(b.R) returns (b.R); }
-- b.proto --
syntax = "proto3";
package b;
service S { rpc M(R) returns (R); }
message R {}
`))
	for _, f := range set.File {
		if f.GetName() == "b.proto" { // buf_extension {is_import: true}
			f.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 8042, protowire.BytesType), []byte{1 << 3, 1}))
		}
	}
	file := filepath.Join(t.TempDir(), "a.binpb")
	write(t, file, string(marshal(t, set)))
	same(t, routes(load(t, Options{Sources: []string{file}})), "POST /a.S/M *> a.S.M")
	same(t, routes(load(t, Options{Sources: []string{file}, Include: []string{"b.S"}})), "POST /b.S/M *> b.S.M")

	text := `{"file": [` +
		`{"name": "b.proto", "package": "b", "syntax": "proto3", "messageType": [{"name": "R"}], "service": [{"name": "S", "method": [{"name": "M", "inputType": ".b.R", "outputType": ".b.R"}]}], "bufExtension": {"isImport": true}},` +
		`{"name": "a.proto", "package": "a", "syntax": "proto3", "dependency": ["b.proto"], "service": [{"name": "S", "method": [{"name": "M", "inputType": ".b.R", "outputType": ".b.R"}]}], "bufExtension": {"isImport": false}}]}`
	file = filepath.Join(t.TempDir(), "a.json")
	write(t, file, text)
	same(t, routes(load(t, Options{Sources: []string{file}})), "POST /a.S/M *> a.S.M")
}

func TestLinkedFiles(t *testing.T) {
	opts := Options{Files: []protoreflect.FileDescriptor{builtin.Find("google/longrunning/operations.proto")}, Include: []string{"google.longrunning.Operations.GetOperation"}}
	same(t, routes(load(t, opts)), "GET /v1/{name=operations/**} google.longrunning.Operations.GetOperation")
}

func TestTypes(t *testing.T) {
	s := load(t, Options{Sources: []string{folder(t, shop)}})
	for _, name := range []protoreflect.FullName{"shop.v1.Item", "google.rpc.ErrorInfo", "google.protobuf.Timestamp", "google.type.Money"} {
		if mt, err := s.Types.FindMessageByName(name); err != nil || mt.Descriptor().FullName() != name {
			t.Errorf("%s: %v", name, err)
		}
		if mt, err := s.Types.FindMessageByURL("type.googleapis.com/" + string(name)); err != nil || mt.Descriptor().FullName() != name {
			t.Errorf("URL of %s: %v", name, err)
		}
	}
	if _, err := s.Types.FindMessageByName("grpc.reflection.v1.ServerReflectionRequest"); err == nil {
		t.Error("a type that only our libraries use is found")
	}
	if _, err := s.Types.FindExtensionByName("google.api.http"); err != nil {
		t.Error(err)
	}
	var options []protoreflect.FullName
	s.Types.RangeExtensionsByMessage("google.protobuf.MethodOptions", func(xt protoreflect.ExtensionType) bool {
		options = append(options, xt.TypeDescriptor().FullName())
		return true
	})
	if slices.Sort(options); !slices.Equal(options, []protoreflect.FullName{"google.api.http", "transom.policy.v1.method"}) {
		t.Errorf("method options: %v", options)
	}
	if _, err := s.Types.FindExtensionByNumber("google.protobuf.MethodOptions", 72295728); err != nil {
		t.Error(err)
	}
}

func TestIDFollowsContents(t *testing.T) {
	dir := folder(t, shop)
	opts := Options{Sources: []string{dir}}
	first := load(t, opts).ID
	if again := load(t, opts).ID; again != first {
		t.Error("the ID of the same contents differs")
	}
	opts.NoImplicit = true
	if load(t, opts).ID == first {
		t.Error("the ID does not tell bindings")
	}
	text, err := os.ReadFile(filepath.Join(dir, "shop/v1/shop.proto"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "shop/v1/shop.proto"), strings.Replace(string(text), "Get finds one", "Get finds it", 1))
	opts.NoImplicit = false
	if load(t, opts).ID == first {
		t.Error("the ID does not tell comments")
	}
}
