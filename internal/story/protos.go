package story

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	_ "google.golang.org/genproto/googleapis/api/annotations" // for stories that import it
	_ "google.golang.org/genproto/googleapis/api/httpbody"    // likewise
	_ "google.golang.org/genproto/googleapis/rpc/errdetails"  // likewise
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Schema is a story's protos, compiled, with what they import.
type Schema struct {
	// Dir holds the .proto files themselves.
	Dir   string
	Files *protoregistry.Files
	Types *dynamicpb.Types
	// Own are the story's own files.
	Own []protoreflect.FileDescriptor
}

// Compile writes the sources, texts by file name, to a folder of t's and compiles them.
func Compile(t testing.TB, sources map[string]string) *Schema {
	t.Helper()
	s := &Schema{Dir: t.TempDir()}
	var names []string
	for name, text := range sources {
		names = append(names, name)
		file := filepath.Join(s.Dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sort.Strings(names)
	c := protocompile.Compiler{Resolver: protocompile.WithStandardImports(protocompile.CompositeResolver{
		&protocompile.SourceResolver{Accessor: protocompile.SourceAccessorFromMap(sources)},
		protocompile.ResolverFunc(func(path string) (protocompile.SearchResult, error) {
			fd, err := protoregistry.GlobalFiles.FindFileByPath(path)
			return protocompile.SearchResult{Desc: fd}, err
		}),
	})}
	compiled, err := c.Compile(t.Context(), names...)
	if err != nil {
		t.Fatal("protos: ", err)
	}
	set := &descriptorpb.FileDescriptorSet{}
	seen := map[string]bool{}
	for _, f := range compiled {
		collect(set, seen, f)
	}
	if s.Files, err = relink(set); err != nil {
		t.Fatal("protos: ", err)
	}
	s.Types = dynamicpb.NewTypes(s.Files)
	for _, name := range names {
		fd, err := s.Files.FindFileByPath(name)
		if err != nil {
			t.Fatal("protos: ", err)
		}
		s.Own = append(s.Own, fd)
	}
	return s
}

// collect appends f to set, after what it imports.
func collect(set *descriptorpb.FileDescriptorSet, seen map[string]bool, f protoreflect.FileDescriptor) {
	if seen[f.Path()] {
		return
	}
	seen[f.Path()] = true
	for i := range f.Imports().Len() {
		collect(set, seen, f.Imports().Get(i).FileDescriptor)
	}
	set.File = append(set.File, protodesc.ToFileDescriptorProto(f))
}

// relink reads the files again, so that options are of the linked types.
func relink(set *descriptorpb.FileDescriptorSet) (*protoregistry.Files, error) {
	b, err := proto.Marshal(set)
	if err != nil {
		return nil, err
	}
	again := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(b, again); err != nil {
		return nil, err
	}
	return protodesc.NewFiles(again)
}

// Methods returns every method of the story's own services.
func (s *Schema) Methods() []protoreflect.MethodDescriptor {
	var all []protoreflect.MethodDescriptor
	for _, f := range s.Own {
		for i := range f.Services().Len() {
			methods := f.Services().Get(i).Methods()
			for j := range methods.Len() {
				all = append(all, methods.Get(j))
			}
		}
	}
	return all
}

// method returns the method of a full name, "/pkg.Service/Method".
func (s *Schema) method(name string) (protoreflect.MethodDescriptor, error) {
	full := strings.ReplaceAll(strings.TrimPrefix(name, "/"), "/", ".")
	d, err := s.Files.FindDescriptorByName(protoreflect.FullName(full))
	if err != nil {
		return nil, err
	}
	m, ok := d.(protoreflect.MethodDescriptor)
	if !ok {
		return nil, fmt.Errorf("%s is not a method", name)
	}
	return m, nil
}
