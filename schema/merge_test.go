package schema

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/transomhq/transom/schema/builtin"
)

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
