package schema

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
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
