package builtin

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/descriptorpb"
)

// TestSourcesAreTheDescriptors compiles the text of every built-in file: it
// must give the descriptor that is linked.
func TestSourcesAreTheDescriptors(t *testing.T) {
	dir := t.TempDir()
	if err := Export(dir); err != nil {
		t.Fatal(err)
	}
	exported := filesIn(t, dir)
	c := protocompile.Compiler{Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{dir}})}
	same := []cmp.Option{ // what the printer may change
		protocmp.Transform(), protocmp.IgnoreEmptyMessages(),
		protocmp.SortRepeated(func(a, b *descriptorpb.DescriptorProto) bool { return a.GetName() < b.GetName() }),
	}
	for _, path := range exported {
		got, err := c.Compile(t.Context(), path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if diff := cmp.Diff(plain(t, protodesc.ToFileDescriptorProto(Find(path))), plain(t, protodesc.ToFileDescriptorProto(got[0])), same...); diff != "" {
			t.Errorf("%s (-linked +text):\n%s", path, diff)
		}
	}
	for _, path := range Paths() {
		if !strings.HasPrefix(path, "google/protobuf/") && !slices.Contains(exported, path) {
			t.Errorf("%s was not exported", path)
		}
	}
	for _, path := range []string{
		"google/api/annotations.proto", "google/api/httpbody.proto", "google/api/service.proto", "google/rpc/error_details.proto",
		"google/type/money.proto", "google/longrunning/operations.proto", "buf/validate/validate.proto", "validate/validate.proto",
		"protoc-gen-openapiv2/options/annotations.proto", "transom/policy/v1/policy.proto",
	} {
		if !slices.Contains(exported, path) {
			t.Errorf("%s is missing", path)
		}
	}
}

// plain reads a file with linked types, without what only sources keep.
func plain(t *testing.T, fd *descriptorpb.FileDescriptorProto) *descriptorpb.FileDescriptorProto {
	b, err := proto.Marshal(fd)
	if err != nil {
		t.Fatal(err)
	}
	out := &descriptorpb.FileDescriptorProto{}
	if err := proto.Unmarshal(b, out); err != nil {
		t.Fatal(err)
	}
	out.SourceCodeInfo = nil
	for _, m := range out.MessageType {
		for _, r := range m.ExtensionRange {
			r.Options = nil
		}
	}
	return out
}

func filesIn(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestExportPackages(t *testing.T) {
	dir := t.TempDir()
	if err := Export(dir, "transom"); err != nil {
		t.Fatal(err)
	}
	files := filesIn(t, dir)
	if !slices.Contains(files, "transom/policy/v1/policy.proto") || slices.ContainsFunc(files, func(f string) bool { return !strings.HasPrefix(f, "transom/") }) {
		t.Errorf("exported %v", files)
	}
	text, err := os.ReadFile(filepath.Join(dir, "transom/policy/v1/policy.proto"))
	if err != nil || !strings.Contains(string(text), "// Policy is everything") {
		t.Errorf("the options lost their comments: %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, files[0]))
	if err != nil {
		t.Fatal(err)
	}
	if err := Export(dir, "transom.policy.v1"); err != nil {
		t.Fatal(err)
	}
	if again, err := os.Stat(filepath.Join(dir, files[0])); err != nil || again.ModTime() != info.ModTime() {
		t.Error("a file that was as it should be was written again")
	}
	if err := Export(dir, "google.rpc"); err != nil {
		t.Fatal(err)
	}
	if got := Export(dir, "shop"); got == nil || got.Error() != "no built-in package shop" {
		t.Errorf("unknown package: %v", got)
	}
}

func TestFind(t *testing.T) {
	if Find("google/api/http.proto") == nil || Find("google/protobuf/any.proto") == nil {
		t.Error("a built-in file is missing")
	}
	for _, path := range []string{"", "google/api/none.proto", "grpc/reflection/v1/reflection.proto", "envoy/config/core/v3/base.proto"} {
		if Find(path) != nil {
			t.Errorf("%q is built in", path)
		}
	}
}
