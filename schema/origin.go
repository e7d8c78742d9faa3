package schema

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Numbers of google/protobuf/descriptor.proto, of which source paths consist.
const (
	fileMessage, fileEnum, fileService, fileExtension                = 4, 5, 6, 7
	messageField, messageNested, messageEnum, messageExtension       = 2, 3, 4, 6
	messageOneof                                                     = 8
	enumValue, serviceMethod, methodOptions                          = 2, 2, 4
	httpOption, additionalBindings                             int32 = 72295728, 11
)

// place is a position in a source, from 1; line 0 is unknown.
type place struct{ line, column int32 }

func (p place) in(path string) string {
	return fmt.Sprintf("%s:%d:%d", path, p.line, p.column)
}

// origins are the places of one file's methods and their HTTP rules.
type origins struct {
	methods map[[2]int32]place // by service and method
	rules   map[[2]int32]place // the google.api.http option
	more    map[[3]int32]place // by service, method and additional binding
}

// takeOrigins reads the places that bindings need, and then leaves in the
// file's source info only what documentation needs: the comments of
// declarations and their places. Most of source info is places of names and
// numbers, which nobody asks for, and it is most of a descriptor.
func takeOrigins(fd *descriptorpb.FileDescriptorProto) *origins {
	o := &origins{methods: map[[2]int32]place{}, rules: map[[2]int32]place{}, more: map[[3]int32]place{}}
	info := fd.GetSourceCodeInfo()
	if info == nil {
		return o
	}
	kept := make([]*descriptorpb.SourceCodeInfo_Location, 0, len(info.Location)/4)
	for _, loc := range info.Location {
		if len(loc.Span) != 3 && len(loc.Span) != 4 {
			continue
		}
		o.take(loc.Path, place{loc.Span[0] + 1, loc.Span[1] + 1})
		if isDeclaration(loc.Path) || loc.LeadingComments != nil || loc.TrailingComments != nil || len(loc.LeadingDetachedComments) > 0 {
			kept = append(kept, loc)
		}
	}
	fd.SourceCodeInfo = &descriptorpb.SourceCodeInfo{Location: slices.Clip(kept)}
	return o
}

func (o *origins) take(path []int32, at place) {
	if len(path) < 4 || path[0] != fileService || path[2] != serviceMethod {
		return
	}
	method := [2]int32{path[1], path[3]}
	if len(path) == 4 {
		o.methods[method] = at
		return
	}
	if len(path) < 6 || path[4] != methodOptions || path[5] != httpOption {
		return
	}
	if _, seen := o.rules[method]; !seen || len(path) == 6 {
		o.rules[method] = at
	}
	if len(path) == 8 && path[6] == additionalBindings {
		o.more[[3]int32{path[1], path[3], path[7]}] = at
	}
}

// isDeclaration reports whether path is that of a message, field, enum, enum
// value, oneof, extension, service or method.
func isDeclaration(path []int32) bool {
	if len(path) == 0 || len(path)%2 != 0 {
		return false
	}
	in := int32(0) // the kind of the declaration so far, as a number in a file
	for i := 0; i < len(path); i += 2 {
		next, ok := declared(in, path[i])
		if !ok {
			return false
		}
		in = next
	}
	return true
}

// leaf is a declaration in which nothing is declared.
const leaf = -1

func declared(in, number int32) (int32, bool) {
	switch in {
	case 0:
		switch number {
		case fileMessage, fileEnum, fileService:
			return number, true
		case fileExtension:
			return leaf, true
		}
	case fileMessage:
		switch number {
		case messageNested:
			return fileMessage, true
		case messageEnum:
			return fileEnum, true
		case messageField, messageExtension, messageOneof:
			return leaf, true
		}
	case fileEnum:
		return leaf, number == enumValue
	case fileService:
		return leaf, number == serviceMethod
	}
	return 0, false
}

// method returns the place of a method: where its HTTP rule is, if it has one
// and rule is set, else its declaration.
func (o *origins) method(m protoreflect.MethodDescriptor, rule bool) string {
	path := m.ParentFile().Path()
	key := [2]int32{int32(m.Parent().Index()), int32(m.Index())}
	if o != nil {
		if at, ok := o.rules[key]; ok && rule {
			return at.in(path)
		}
		if at, ok := o.methods[key]; ok {
			return at.in(path)
		}
	}
	return path + ": " + string(m.FullName())
}

// additional returns the place of a method's additional binding i.
func (o *origins) additional(m protoreflect.MethodDescriptor, i int) string {
	if o != nil {
		if at, ok := o.more[[3]int32{int32(m.Parent().Index()), int32(m.Index()), int32(i)}]; ok {
			return at.in(m.ParentFile().Path())
		}
	}
	return o.method(m, true)
}
