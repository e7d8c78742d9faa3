package main

import (
	"context"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// entry is the file that the others are reachable from.
const entry = "transom/config/v1/config.proto"

// comments are the comments of descriptors. Generated code has the
// descriptors without them, so they are read from the sources.
type comments struct {
	pkg  string
	text map[protoreflect.FullName]string
}

// of returns the comment of d on one line.
func (c *comments) of(d protoreflect.Descriptor) string {
	return strings.Join(strings.Fields(c.text[d.FullName()]), " ")
}

func readComments(ctx context.Context, dir string) (*comments, error) {
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{dir}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(ctx, entry)
	if err != nil {
		return nil, err
	}
	c := &comments{text: map[protoreflect.FullName]string{}}
	const packageField = 2 // of FileDescriptorProto
	c.pkg = files[0].SourceLocations().ByPath(protoreflect.SourcePath{packageField}).LeadingComments
	c.read(files[0], map[string]bool{})
	return c, nil
}

func (c *comments) read(file linker.File, seen map[string]bool) {
	if seen[file.Path()] || strings.HasPrefix(file.Path(), "google/") {
		return
	}
	seen[file.Path()] = true
	c.messages(file, file.Messages())
	c.enums(file, file.Enums())
	for i := range file.Imports().Len() {
		if dep := file.FindImportByPath(file.Imports().Get(i).Path()); dep != nil {
			c.read(dep, seen)
		}
	}
}

func (c *comments) messages(file protoreflect.FileDescriptor, all protoreflect.MessageDescriptors) {
	for i := range all.Len() {
		m := all.Get(i)
		c.note(file, m)
		for j := range m.Fields().Len() {
			c.note(file, m.Fields().Get(j))
		}
		c.messages(file, m.Messages())
		c.enums(file, m.Enums())
	}
}

func (c *comments) enums(file protoreflect.FileDescriptor, all protoreflect.EnumDescriptors) {
	for i := range all.Len() {
		e := all.Get(i)
		c.note(file, e)
		for j := range e.Values().Len() {
			c.note(file, e.Values().Get(j))
		}
	}
}

func (c *comments) note(file protoreflect.FileDescriptor, d protoreflect.Descriptor) {
	loc := file.SourceLocations().ByDescriptor(d)
	if c.text[d.FullName()] = loc.LeadingComments; loc.LeadingComments == "" {
		c.text[d.FullName()] = loc.TrailingComments
	}
}
