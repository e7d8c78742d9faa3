package schema

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
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

// image compiles a folder as protoc does: with source info and every import.
func image(t testing.TB, dir string) *descriptorpb.FileDescriptorSet {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
		if rel, _ := filepath.Rel(dir, p); filepath.Ext(p) == ".proto" {
			names = append(names, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	c := protocompile.Compiler{
		SourceInfoMode: protocompile.SourceInfoStandard,
		Resolver: protocompile.CompositeResolver{
			&protocompile.SourceResolver{ImportPaths: []string{dir}},
			protocompile.ResolverFunc(func(path string) (protocompile.SearchResult, error) {
				if fd := builtin.Find(path); fd != nil {
					return protocompile.SearchResult{Desc: fd}, nil
				}
				return protocompile.SearchResult{}, os.ErrNotExist
			}),
		},
	}
	files, err := c.Compile(t.Context(), names...)
	if err != nil {
		t.Fatal(err)
	}
	set := &descriptorpb.FileDescriptorSet{}
	seen := map[string]bool{}
	var add func(fd protoreflect.FileDescriptor)
	add = func(fd protoreflect.FileDescriptor) {
		if seen[fd.Path()] {
			return
		}
		seen[fd.Path()] = true
		for i := range fd.Imports().Len() {
			add(fd.Imports().Get(i).FileDescriptor)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(fd))
	}
	for _, f := range files {
		add(f)
	}
	return set
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// without returns the set without the files of those paths.
func without(set *descriptorpb.FileDescriptorSet, prefixes ...string) *descriptorpb.FileDescriptorSet {
	out := proto.Clone(set).(*descriptorpb.FileDescriptorSet)
	out.File = slices.DeleteFunc(out.File, func(f *descriptorpb.FileDescriptorProto) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(f.GetName(), p) })
	})
	return out
}

func TestImageForms(t *testing.T) {
	set := image(t, folder(t, shop))
	binary := marshal(t, set)
	text, err := protojson.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	txt, err := prototext.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write(binary)
	_ = z.Close()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	dir := t.TempDir()
	for name, data := range map[string][]byte{
		"shop.binpb": binary, "shop.pb": binary, "shop.bin": binary, "shop": binary,
		"shop.json": text, "shop.txtpb": txt, "shop.binpb.gz": zipped.Bytes(), "zipped.binpb": zipped.Bytes(),
		"shop.binpb.zst": enc.EncodeAll(binary, nil), "bare.binpb": marshal(t, without(set, "google/", "transom/")),
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, name)
			write(t, file, string(data))
			s := load(t, Options{Sources: []string{file}})
			same(t, routes(s), shopRoutes)
			if got := s.Bindings[1].Origin; got != "shop/v1/shop.proto:12:5" { // protoc has no places inside options
				t.Errorf("origin %s", got)
			}
			m := s.Method("/shop.v1.Orders/Get").Desc
			if !proto.HasExtension(m.Options(), policyv1.E_Method) {
				t.Error("the policy option is unknown")
			}
			if len(s.Warnings) > 0 {
				t.Errorf("warnings: %v", s.Warnings)
			}
		})
	}
}

func TestImageWithoutSourceInfo(t *testing.T) {
	set := image(t, folder(t, shop))
	for _, f := range set.File {
		f.SourceCodeInfo = nil
	}
	file := filepath.Join(t.TempDir(), "x.binpb")
	write(t, file, string(marshal(t, set)))
	s := load(t, Options{Sources: []string{file}})
	same(t, s.Bindings[0].Origin, "shop/v1/shop.proto: shop.v1.Orders.Get")
}

func TestImageOwnOptions(t *testing.T) {
	dir := folder(t, `
-- own.proto --
syntax = "proto3";
package own;
import "google/protobuf/descriptor.proto";
extend google.protobuf.MethodOptions { string note = 50001; }
service S { rpc M(R) returns (R) { option (note) = "kept"; } }
message R {}
`)
	text, err := protojson.MarshalOptions{Resolver: load(t, Options{Sources: []string{dir}}).Types}.Marshal(image(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte("[own.note]")) {
		t.Fatalf("the image does not name its own option: %s", text)
	}
	file := filepath.Join(t.TempDir(), "own.json")
	write(t, file, string(text))
	s := load(t, Options{Sources: []string{dir, file}})
	unknown := s.Method("/own.S/M").Desc.Options().ProtoReflect().GetUnknown()
	num, _, n := protowire.ConsumeTag(unknown)
	if v, _ := protowire.ConsumeString(unknown[max(n, 0):]); num != 50001 || v != "kept" {
		t.Errorf("option %d = %q", num, v)
	}
}

func TestMissingImports(t *testing.T) {
	dir := folder(t, `
-- a.proto --
syntax = "proto3";
package a;
import "other/options.proto";
import "other/types.proto";
service S { rpc M(R) returns (R) { option (other.note) = "x"; } }
message R { other.T t = 1; }
-- other/options.proto --
syntax = "proto3";
package other;
import "google/protobuf/descriptor.proto";
extend google.protobuf.MethodOptions { string note = 50001; }
-- other/types.proto --
syntax = "proto3";
package other;
message T {}
`)
	set := image(t, dir)
	file := filepath.Join(t.TempDir(), "a.binpb")
	write(t, file, string(marshal(t, without(set, "other/options"))))
	same(t, routes(load(t, Options{Sources: []string{file}})), "POST /a.S/M *> a.S.M")

	write(t, file, string(marshal(t, without(set, "other/types"))))
	same(t, loadError(t, Options{Sources: []string{file}}),
		`a.proto: import "other/types.proto": no source has this file, and it is not one of the built-in imports; a.R.t needs it`)
	// Another source may have it.
	same(t, routes(load(t, Options{Sources: []string{file, dir}})), "POST /a.S/M *> a.S.M")
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

func TestMerge(t *testing.T) {
	dir := folder(t, shop)
	file := filepath.Join(t.TempDir(), "shop.binpb")
	set := image(t, dir)
	for _, f := range set.File {
		f.SourceCodeInfo = nil
		if f.GetName() == "shop/v1/shop.proto" {
			f.Options = &descriptorpb.FileOptions{GoPackage: proto.String("example.com/shop")} // as buf's managed mode does
		}
	}
	write(t, file, string(marshal(t, set)))
	s := load(t, Options{Sources: []string{file, dir}})
	same(t, routes(s), shopRoutes)
	same(t, s.Bindings[0].Origin, "shop/v1/shop.proto:12:5") // the copy with places was kept
	if len(s.Warnings) > 0 {
		t.Errorf("warnings: %v", s.Warnings)
	}

	item := set.File[slices.IndexFunc(set.File, func(f *descriptorpb.FileDescriptorProto) bool { return f.GetName() == "shop/v1/item.proto" })]
	item.MessageType[0].Field[0].Type = descriptorpb.FieldDescriptorProto_TYPE_INT32.Enum()
	write(t, file, string(marshal(t, set)))
	same(t, loadError(t, Options{Sources: []string{file, dir}}),
		"shop/v1/item.proto: defined differently in "+file+" and in "+dir+": message Item")

	other := folder(t, "-- other.proto --\nsyntax = \"proto3\"; package shop.v1; service Orders {}\n")
	same(t, loadError(t, Options{Sources: []string{dir, other}}),
		"shop/v1/shop.proto: shop.v1.Orders is declared here ("+dir+") and in other.proto ("+other+"): keep one, or give both the same import path")
}

func TestMergeBuiltin(t *testing.T) {
	dir := folder(t, shop)
	set := image(t, dir)
	for _, f := range set.File {
		if f.GetName() == "google/api/http.proto" {
			f.MessageType[1].Field = f.MessageType[1].Field[:4] // an old one
			f.MessageType[1].OneofDecl = nil
			for _, field := range f.MessageType[1].Field {
				field.OneofIndex = nil
			}
		}
	}
	old, now := filepath.Join(t.TempDir(), "old.binpb"), filepath.Join(t.TempDir(), "now.binpb")
	write(t, old, string(marshal(t, set)))
	write(t, now, string(marshal(t, image(t, dir))))
	s := load(t, Options{Sources: []string{old, now}})
	same(t, routes(s), shopRoutes)
	same(t, fmt.Sprint(s.Warnings), "[google/api/http.proto: "+old+" and "+now+" bring different versions; the built-in one is used]")
}

// TestOwnCopies has all of googleapis in the folder, beside an image with the
// same files as their modules link them.
func TestOwnCopies(t *testing.T) {
	dir := folder(t, shop)
	file := filepath.Join(t.TempDir(), "shop.binpb")
	write(t, file, string(marshal(t, image(t, dir))))
	if err := builtin.Export(filepath.Join(dir, "third_party")); err != nil {
		t.Fatal(err)
	}
	s := load(t, Options{Sources: []string{file, dir}})
	same(t, routes(s), shopRoutes)
	same(t, Problems(s.Warnings).Error(), "")
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

// large is the text of a set with that many methods in 100 files.
func large(methods int) map[string]string {
	files := map[string]string{}
	for i := range 100 {
		var b strings.Builder
		fmt.Fprintf(&b, "syntax = \"proto3\";\npackage p%d.v1;\nimport \"google/api/annotations.proto\";\nimport \"google/protobuf/timestamp.proto\";\n", i)
		for m := range methods / 100 {
			if m%20 == 0 {
				if m > 0 {
					b.WriteString("}\n")
				}
				fmt.Fprintf(&b, "// A service.\nservice S%d {\n", m/20)
			}
			fmt.Fprintf(&b, "  // A method.\n  rpc M%d(R) returns (R) { option (google.api.http) = {get: \"/v1/p%d/{name=s%d/*}\" additional_bindings {post: \"/v1/p%d/{sub.id}:m%d\" body: \"*\"}}; }\n", m, i, m, i, m)
		}
		b.WriteString("}\nmessage R { string name = 1; Sub sub = 2; google.protobuf.Timestamp at = 3; repeated string tags = 4; map<string, Sub> m = 5; }\nmessage Sub { string id = 1; int64 n = 2; }\n")
		files[fmt.Sprintf("p%d/v1/p.proto", i)] = b.String()
	}
	return files
}

func BenchmarkLoad10000Methods(b *testing.B) {
	dir := b.TempDir()
	for name, text := range large(10_000) {
		write(b, filepath.Join(dir, name), text)
	}
	file := filepath.Join(b.TempDir(), "large.binpb")
	write(b, file, string(marshal(b, image(b, dir))))
	for _, source := range []string{dir, file} {
		b.Run(filepath.Ext(source), func(b *testing.B) {
			for b.Loop() {
				before := heap()
				s, err := Load(context.Background(), Options{Sources: []string{source}})
				if err != nil || len(s.Methods) != 10_000 || len(s.Bindings) != 20_000 {
					b.Fatal(err)
				}
				b.StopTimer()
				b.ReportMetric(float64(heap()-before)/(1<<20), "MiB/snapshot")
				b.StartTimer()
				runtime.KeepAlive(s)
			}
		})
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
