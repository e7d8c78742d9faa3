package builtin

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jhump/protoreflect/v2/protoprint"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/transomhq/transom/proto"
)

// dirs are the import folders whose linked files users may import. Other files
// that happen to be linked (envoy's API, grpc's own services) are not theirs.
func dirs() []string {
	return []string{
		"buf/validate/", "google/api/", "google/longrunning/", "google/protobuf/", "google/rpc/", "google/type/",
		"protoc-gen-openapiv2/options/", "transom/policy/", "validate/",
	}
}

// Paths returns the import paths of all built-in files, sorted.
func Paths() []string {
	var paths []string
	protoregistry.GlobalFiles.RangeFiles(func(fd protoreflect.FileDescriptor) bool {
		if has(fd.Path()) {
			paths = append(paths, fd.Path())
		}
		return true
	})
	slices.Sort(paths)
	return paths
}

// Find returns the built-in file of that import path, nil if there is none.
func Find(path string) protoreflect.FileDescriptor {
	if !has(path) {
		return nil
	}
	fd, err := protoregistry.GlobalFiles.FindFileByPath(path)
	if err != nil {
		return nil
	}
	return fd
}

func has(path string) bool {
	return slices.ContainsFunc(dirs(), func(dir string) bool { return strings.HasPrefix(path, dir) })
}

// Source returns the .proto text of a built-in file: the original for the
// house's own options, printed from the descriptor (without comments) for others.
func Source(path string) ([]byte, error) {
	if text, err := proto.Policy.ReadFile(path); err == nil {
		return text, nil
	}
	fd := Find(path)
	if fd == nil {
		return nil, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	}
	var buf bytes.Buffer
	if err := (&protoprint.Printer{}).PrintProtoFile(fd, &buf); err != nil {
		return nil, fmt.Errorf("print %s: %w", path, err)
	}
	return buf.Bytes(), nil
}

// Export writes the built-in files of the named protobuf packages, and what
// they import, below dir, each at its import path: "transom.policy.v1" becomes
// dir/transom/policy/v1/*.proto. A package's children come with it. No packages
// means all. google/protobuf files, which every compiler has, are written only
// when asked for by name. Files that are as they should be are not touched.
func Export(dir string, packages ...string) error {
	paths := selectPaths(packages)
	if len(paths) == 0 {
		return fmt.Errorf("no built-in package %s", strings.Join(packages, ", "))
	}
	var errs []error
	for _, path := range paths {
		text, err := Source(path)
		if err == nil {
			err = write(filepath.Join(dir, filepath.FromSlash(path)), text)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// selectPaths returns the files of packages with their imports, sorted.
func selectPaths(packages []string) []string {
	seen := map[string]bool{}
	var add func(protoreflect.FileDescriptor, bool)
	add = func(fd protoreflect.FileDescriptor, named bool) {
		if seen[fd.Path()] || !named && strings.HasPrefix(fd.Path(), "google/protobuf/") {
			return
		}
		seen[fd.Path()] = true
		for i := range fd.Imports().Len() {
			add(fd.Imports().Get(i).FileDescriptor, false)
		}
	}
	for _, path := range Paths() {
		if fd := Find(path); len(packages) == 0 {
			add(fd, false)
		} else if slices.ContainsFunc(packages, func(p string) bool { return within(string(fd.Package()), p) }) {
			add(fd, true)
		}
	}
	paths := make([]string, 0, len(seen))
	for path := range seen {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return paths
}

func within(pkg, parent string) bool {
	return pkg == parent || strings.HasPrefix(pkg, parent+".")
}

func write(name string, text []byte) error {
	if old, err := os.ReadFile(name); err == nil && bytes.Equal(old, text) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, text, 0o644)
}
