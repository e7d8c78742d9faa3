package schema

import (
	"bytes"
	"cmp"
	"os"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// file is one .proto file as a source gave it, not yet linked.
type file struct {
	proto *descriptorpb.FileDescriptorProto
	// source is where it came from, as configured.
	source string
	// imported marks a file that its source carries only because others import it.
	imported bool
}

// kind is how a source is read.
type kind int

const (
	imageSource kind = iota
	folderSource
	reflectionSource
)

func kindOf(source string) kind {
	for _, scheme := range []string{"grpc://", "grpcs://", "grpc:unix:"} {
		if strings.HasPrefix(source, scheme) {
			return reflectionSource
		}
	}
	if strings.HasSuffix(source, ".proto") {
		return folderSource
	}
	if info, err := os.Stat(source); err == nil && info.IsDir() {
		return folderSource
	}
	return imageSource
}

// sameDefinitions reports whether two files declare the same, whatever their
// comments, and whatever they say to generators of code.
func sameDefinitions(a, b *descriptorpb.FileDescriptorProto) bool {
	opts := proto.MarshalOptions{Deterministic: true, AllowPartial: true}
	ab, errA := opts.Marshal(definitions(a))
	bb, errB := opts.Marshal(definitions(b))
	return errA == nil && errB == nil && bytes.Equal(ab, bb)
}

// definitions returns a copy of f without what compilers and runtimes write
// differently for the same source.
func definitions(f *descriptorpb.FileDescriptorProto) *descriptorpb.FileDescriptorProto {
	info := f.SourceCodeInfo
	f.SourceCodeInfo = nil // too large to copy for nothing
	c := proto.Clone(f).(*descriptorpb.FileDescriptorProto)
	f.SourceCodeInfo = info
	if c.GetSyntax() == "proto2" {
		c.Syntax = nil
	}
	c.OptionDependency = nil
	if o := c.Options; o != nil {
		o.JavaPackage, o.JavaOuterClassname, o.JavaMultipleFiles, o.JavaStringCheckUtf8 = nil, nil, nil, nil
		o.OptimizeFor, o.GoPackage, o.CcEnableArenas, o.CcGenericServices = nil, nil, nil, nil
		o.JavaGenericServices, o.PyGenericServices, o.ObjcClassPrefix, o.CsharpNamespace = nil, nil, nil, nil
		o.SwiftPrefix, o.PhpClassPrefix, o.PhpNamespace, o.PhpMetadataNamespace, o.RubyPackage = nil, nil, nil, nil, nil
		if proto.Size(o) == 0 {
			c.Options = nil
		}
	}
	for _, x := range c.Extension {
		plainField(x)
	}
	for _, m := range c.MessageType {
		plainMessage(m)
	}
	for _, sd := range c.Service {
		for _, md := range sd.Method {
			if md.Options != nil && proto.Size(md.Options) == 0 {
				md.Options = nil
			}
		}
	}
	return c
}

func plainMessage(m *descriptorpb.DescriptorProto) {
	for _, f := range m.Field {
		plainField(f)
	}
	for _, x := range m.Extension {
		plainField(x)
	}
	for _, r := range m.ExtensionRange { // declarations are kept in sources only
		r.Options = nil
	}
	for _, n := range m.NestedType {
		plainMessage(n)
	}
	// Map entries stand where a compiler likes.
	slices.SortFunc(m.NestedType, func(a, b *descriptorpb.DescriptorProto) int { return cmp.Compare(a.GetName(), b.GetName()) })
}

func plainField(f *descriptorpb.FieldDescriptorProto) {
	if f.GetJsonName() == jsonName(f.GetName()) {
		f.JsonName = nil
	}
}

// jsonName is protoc's lowerCamelCase of a field's name.
func jsonName(name string) string {
	out := make([]byte, 0, len(name))
	up := false
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '_':
			up = true
			continue
		case up && c >= 'a' && c <= 'z':
			c -= 'a' - 'A'
		}
		up = false
		out = append(out, c)
	}
	return string(out)
}
