package schema

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/transomhq/transom/schema/builtin"
)

// merge makes one set of the files of all sources. Files that agree are one,
// preferably one with comments. Where copies of a built-in file disagree, as
// different ages of google/api do, the linked one takes their place.
func merge(all []*file) (map[string]*file, []Problem, []Problem) {
	set := make(map[string]*file, len(all))
	var problems, warnings []Problem
	for _, f := range all {
		path := f.proto.GetName()
		old := set[path]
		switch {
		case old == nil:
			set[path] = f
		case sameDefinitions(old.proto, f.proto):
			set[path] = better(old, f)
		case builtin.Find(path) != nil:
			set[path] = builtinFile(path)
			warnings = append(warnings, Problem{path, fmt.Sprintf(
				"%s and %s bring different versions; the built-in one is used", old.source, f.source)})
		default:
			problems = append(problems, Problem{path, fmt.Sprintf("defined differently in %s and in %s: %s",
				old.source, f.source, difference(old, f))})
		}
	}
	return set, problems, warnings
}

// better returns, of two files that declare the same, the one to keep.
func better(a, b *file) *file {
	keep := *a
	if a.proto.SourceCodeInfo == nil && b.proto.SourceCodeInfo != nil {
		keep = *b
	}
	keep.imported = a.imported && b.imported
	return &keep
}

func builtinFile(path string) *file {
	return &file{proto: protodesc.ToFileDescriptorProto(builtin.Find(path)), source: builtinSource, imported: true}
}

const builtinSource = "the built-in imports"

// linkage makes descriptors of files.
type linkage struct {
	files    map[string]*file
	registry *protoregistry.Files
	done     map[string]bool // true: linked, false: being linked or failed
	linked   []protoreflect.FileDescriptor
	problems []Problem
}

// link links all files and those built-in ones that they import. Files that
// fail, and those that need them, are left out.
func link(files map[string]*file) *linkage {
	l := &linkage{files: files, registry: &protoregistry.Files{}, done: map[string]bool{}}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		l.add(path, nil)
	}
	slices.SortFunc(l.linked, func(a, b protoreflect.FileDescriptor) int { return cmp.Compare(a.Path(), b.Path()) })
	return l
}

// add links the file of that path after what it imports; false if that fails
// or there is none. importers is the way to it.
func (l *linkage) add(path string, importers []string) bool {
	if ok, seen := l.done[path]; seen {
		if i := slices.Index(importers, path); i >= 0 {
			l.problem(path, fmt.Sprintf("imports itself by way of %q", slices.Concat(importers[i:], []string{path})))
		}
		return ok
	}
	f := l.files[path]
	if f == nil && builtin.Find(path) == nil {
		return false
	}
	l.done[path] = false
	var deps []string
	if f != nil {
		deps = f.proto.GetDependency()
	} else {
		deps = importPaths(builtin.Find(path))
	}
	importers = append(importers, path)
	missing := ""
	for _, dep := range deps {
		if l.add(dep, importers) {
			continue
		}
		if l.files[dep] != nil { // it has failed, and its problem is reported
			return false
		}
		missing = dep
	}
	fd := l.build(path, f, missing)
	if fd == nil {
		return false
	}
	if err := l.registry.RegisterFile(fd); err != nil {
		l.conflict(fd, err)
		return false
	}
	l.done[path] = true
	l.linked = append(l.linked, fd)
	return true
}

func importPaths(fd protoreflect.FileDescriptor) []string {
	paths := make([]string, fd.Imports().Len())
	for i := range paths {
		paths[i] = fd.Imports().Get(i).Path()
	}
	return paths
}

// build returns the linked descriptor of one file, whose imports are linked
// but for missing.
func (l *linkage) build(path string, f *file, missing string) protoreflect.FileDescriptor {
	if f == nil {
		fd := builtin.Find(path)
		if l.isAsLinked(fd) {
			return fd
		}
		f = builtinFile(path)
	}
	fd, err := l.newFile(f, missing != "")
	if err == nil && missing != "" {
		if name := unresolved(fd); name != "" {
			err = fmt.Errorf("import %q: no source has this file, and it is not one of the built-in imports; %s needs it", missing, name)
		}
	}
	if err != nil {
		l.problem(path, plainError(err, ""))
		return nil
	}
	return fd
}

// isAsLinked reports whether all that fd imports are the built-in files
// themselves, so that fd can be used as it is.
func (l *linkage) isAsLinked(fd protoreflect.FileDescriptor) bool {
	for i := range fd.Imports().Len() {
		dep := fd.Imports().Get(i).FileDescriptor
		if got, err := l.registry.FindFileByPath(dep.Path()); err != nil || got != dep {
			return false
		}
	}
	return true
}

func (l *linkage) newFile(f *file, lenient bool) (fd protoreflect.FileDescriptor, err error) {
	defer recoverAs(&err)
	// An import that is missing harms nobody when only options came from it.
	return protodesc.FileOptions{AllowUnresolvable: lenient}.New(f.proto, l.registry)
}

func (l *linkage) problem(path, text string) {
	l.problems = append(l.problems, Problem{path, text})
}

func (l *linkage) source(path string) string {
	if f := l.files[path]; f != nil {
		return f.source
	}
	return builtinSource
}

// conflict says which name of fd another file has declared already.
func (l *linkage) conflict(fd protoreflect.FileDescriptor, err error) {
	name, other := firstTaken(l.registry, fd)
	if other == "" {
		l.problem(fd.Path(), plainError(err, ""))
		return
	}
	l.problem(fd.Path(), fmt.Sprintf("%s is declared here (%s) and in %s (%s): keep one, or give both the same import path",
		name, l.source(fd.Path()), other, l.source(other)))
}

func firstTaken(reg *protoregistry.Files, fd protoreflect.FileDescriptor) (name protoreflect.FullName, other string) {
	try := func(d protoreflect.Descriptor) bool {
		if got, err := reg.FindDescriptorByName(d.FullName()); err == nil && other == "" {
			name, other = d.FullName(), got.ParentFile().Path()
		}
		return other != ""
	}
	for i := range fd.Services().Len() {
		if try(fd.Services().Get(i)) {
			return name, other
		}
	}
	for i := range fd.Messages().Len() {
		if try(fd.Messages().Get(i)) {
			return name, other
		}
	}
	for i := range fd.Enums().Len() {
		e := fd.Enums().Get(i)
		if try(e) {
			return name, other
		}
		for j := range e.Values().Len() {
			if try(e.Values().Get(j)) {
				return name, other
			}
		}
	}
	for i := range fd.Extensions().Len() {
		if try(fd.Extensions().Get(i)) {
			return name, other
		}
	}
	return "", ""
}

// unresolved returns the name of a declaration in fd whose type is missing, "" if none.
func unresolved(fd protoreflect.FileDescriptor) protoreflect.FullName {
	for i := range fd.Services().Len() {
		methods := fd.Services().Get(i).Methods()
		for j := range methods.Len() {
			if m := methods.Get(j); m.Input().IsPlaceholder() || m.Output().IsPlaceholder() {
				return m.FullName()
			}
		}
	}
	if name := unresolvedFields(fd.Extensions()); name != "" {
		return name
	}
	return unresolvedMessages(fd.Messages())
}

func unresolvedMessages(ms protoreflect.MessageDescriptors) protoreflect.FullName {
	for i := range ms.Len() {
		m := ms.Get(i)
		for _, name := range []protoreflect.FullName{
			unresolvedFields(m.Fields()), unresolvedFields(m.Extensions()), unresolvedMessages(m.Messages()),
		} {
			if name != "" {
				return name
			}
		}
	}
	return ""
}

// unresolvedFields looks at fields or extensions.
func unresolvedFields(fields interface {
	Len() int
	Get(int) protoreflect.FieldDescriptor
},
) protoreflect.FullName {
	for i := range fields.Len() {
		f := fields.Get(i)
		if m := f.Message(); m != nil && m.IsPlaceholder() {
			return f.FullName()
		}
		if e := f.Enum(); e != nil && e.IsPlaceholder() {
			return f.FullName()
		}
		if f.IsExtension() && f.ContainingMessage().IsPlaceholder() {
			return f.FullName()
		}
	}
	return ""
}
