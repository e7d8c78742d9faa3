package fieldrules

import (
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
	"github.com/transomhq/transom/rpc"
)

// side is one direction of messages.
type side int

const (
	reading side = iota // responses
	writing             // requests
)

// shape is what is guarded in messages of one type, at any depth. Shapes form
// a graph, as their types do.
type shape struct {
	desc   protoreflect.MessageDescriptor
	fields map[protoreflect.FieldNumber]*field
	// any says that the message is a google.protobuf.Any.
	any bool
	// masks are the fields of type google.protobuf.FieldMask.
	masks []protoreflect.FieldNumber
}

// field is a field that is guarded, or that holds messages in which something is.
type field struct {
	name   string
	scopes []string // of which one is needed; empty: everybody
	inner  *shape   // nil: nothing is guarded within
	group  bool     // its messages are delimited, not counted
	many   bool     // list or map
}

// Types finds message types by the URLs of google.protobuf.Any, and extensions.
type Types interface {
	FindMessageByURL(url string) (protoreflect.MessageType, error)
	RangeExtensionsByMessage(message protoreflect.FullName, f func(protoreflect.ExtensionType) bool)
}

// shapes works out the shape of each type once.
type shapes struct {
	side  side
	types Types // nil: no Any is looked into, and there are no extensions
}

// of returns the shape of messages of type md, nil where nothing is guarded.
func (s *shapes) of(md protoreflect.MessageDescriptor) *shape {
	all := map[protoreflect.MessageDescriptor]*shape{}
	sketch := s.sketch(md, all)
	kept := matter(all)
	for _, sh := range all {
		for n, f := range sh.fields {
			if f.inner != nil && !kept[f.inner] {
				f.inner = nil
			}
			if f.inner == nil && len(f.scopes) == 0 {
				delete(sh.fields, n)
			}
		}
	}
	if !kept[sketch] {
		return nil
	}
	return sketch
}

// sketch draws the shape of md with every field that holds messages.
func (s *shapes) sketch(md protoreflect.MessageDescriptor, all map[protoreflect.MessageDescriptor]*shape) *shape {
	if sh := all[md]; sh != nil {
		return sh
	}
	sh := &shape{desc: md, fields: map[protoreflect.FieldNumber]*field{}, any: s.types != nil && md.FullName() == "google.protobuf.Any"}
	all[md] = sh
	add := func(fd protoreflect.FieldDescriptor) {
		f := &field{name: string(fd.Name()), scopes: s.scopes(fd), group: fd.Kind() == protoreflect.GroupKind, many: fd.Cardinality() == protoreflect.Repeated}
		if inner := fd.Message(); inner != nil {
			f.inner = s.sketch(inner, all)
			if inner.FullName() == "google.protobuf.FieldMask" && !f.many {
				sh.masks = append(sh.masks, fd.Number())
			}
		}
		if f.inner != nil || len(f.scopes) > 0 {
			sh.fields[fd.Number()] = f
		}
	}
	for i := range md.Fields().Len() {
		add(md.Fields().Get(i))
	}
	if s.types != nil {
		s.types.RangeExtensionsByMessage(md.FullName(), func(xt protoreflect.ExtensionType) bool {
			add(xt.TypeDescriptor())
			return true
		})
	}
	return sh
}

// matter returns the shapes in which something is guarded, at any depth. What
// an Any holds is not known before it comes.
func matter(all map[protoreflect.MessageDescriptor]*shape) map[*shape]bool {
	holders := map[*shape][]*shape{}
	kept := map[*shape]bool{}
	var queue []*shape
	keep := func(sh *shape) {
		if !kept[sh] {
			kept[sh] = true
			queue = append(queue, sh)
		}
	}
	for _, sh := range all {
		if sh.any {
			keep(sh)
		}
		for _, f := range sh.fields {
			if len(f.scopes) > 0 {
				keep(sh)
			}
			if f.inner != nil {
				holders[f.inner] = append(holders[f.inner], sh)
			}
		}
	}
	for len(queue) > 0 {
		sh := queue[0]
		queue = queue[1:]
		for _, holder := range holders[sh] {
			keep(holder)
		}
	}
	return kept
}

// scopes returns the scopes of which one is needed for a field.
func (s *shapes) scopes(fd protoreflect.FieldDescriptor) []string {
	p := policyOf(fd)
	if s.side == reading {
		return p.GetReadScopes()
	}
	return p.GetWriteScopes()
}

// policyOf returns a field's policy, nil for none. Compilers leave options as
// messages of other types, or as unknown fields: those are read anew.
func policyOf(fd protoreflect.FieldDescriptor) *policyv1.FieldPolicy {
	opts, ok := fd.Options().(*descriptorpb.FieldOptions)
	if !ok || opts == nil {
		return nil
	}
	option := policyv1.E_Field.TypeDescriptor()
	if !opts.ProtoReflect().Has(option) && len(opts.ProtoReflect().GetUnknown()) == 0 {
		return nil
	}
	if p, ok := opts.ProtoReflect().Get(option).Message().Interface().(*policyv1.FieldPolicy); ok && p.ProtoReflect().IsValid() {
		return p
	}
	wire, err := proto.Marshal(opts)
	own := new(descriptorpb.FieldOptions)
	if err != nil || proto.Unmarshal(wire, own) != nil || !proto.HasExtension(own, policyv1.E_Field) {
		return nil
	}
	p, _ := proto.GetExtension(own, policyv1.E_Field).(*policyv1.FieldPolicy)
	return p
}

// admits reports whether a caller may read, or set, the field itself.
func (f *field) admits(who *rpc.Principal) bool {
	return len(f.scopes) == 0 || slices.ContainsFunc(f.scopes, who.HasScope)
}

// Declared reports whether a field of any type in files is guarded. Where none
// is, there is nothing to build.
func Declared(files *protoregistry.Files) bool {
	found := false
	files.RangeFiles(func(fd protoreflect.FileDescriptor) bool {
		found = extensionsGuarded(fd.Extensions()) || messagesGuarded(fd.Messages())
		return !found
	})
	return found
}

func messagesGuarded(list protoreflect.MessageDescriptors) bool {
	for i := range list.Len() {
		md := list.Get(i)
		for j := range md.Fields().Len() {
			if policyOf(md.Fields().Get(j)) != nil {
				return true
			}
		}
		if extensionsGuarded(md.Extensions()) || messagesGuarded(md.Messages()) {
			return true
		}
	}
	return false
}

func extensionsGuarded(list protoreflect.ExtensionDescriptors) bool {
	for i := range list.Len() {
		if policyOf(list.Get(i)) != nil {
			return true
		}
	}
	return false
}
