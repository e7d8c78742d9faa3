package main

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// types are the messages and enums that can be written in a file, each once,
// in the order in which a reader meets them.
type types struct {
	messages []protoreflect.MessageDescriptor
	enums    []protoreflect.EnumDescriptor
	seen     map[protoreflect.FullName]bool
}

func typesOf(root protoreflect.MessageDescriptor) *types {
	t := &types{seen: map[protoreflect.FullName]bool{}}
	t.message(root)
	return t
}

func (t *types) message(m protoreflect.MessageDescriptor) {
	if m.IsMapEntry() {
		t.field(m.Fields().ByNumber(2))
		return
	}
	if t.seen[m.FullName()] || wellKnown(m) {
		return
	}
	t.seen[m.FullName()] = true
	t.messages = append(t.messages, m)
	for i := range m.Fields().Len() {
		t.field(m.Fields().Get(i))
	}
}

func (t *types) field(fd protoreflect.FieldDescriptor) {
	if m := fd.Message(); m != nil {
		t.message(m)
	}
	if e := fd.Enum(); e != nil && !t.seen[e.FullName()] {
		t.seen[e.FullName()] = true
		t.enums = append(t.enums, e)
	}
}

// wellKnown reports whether a message is written as a text.
func wellKnown(m protoreflect.MessageDescriptor) bool {
	return m.ParentFile().Package() == "google.protobuf"
}

// title is a type's name in the reference: "Rest" of the configuration,
// "policy.Rest" of policies, "policy.Validation.Mode" within another type.
func title(d protoreflect.Descriptor) string {
	if p, ok := d.Parent().(protoreflect.MessageDescriptor); ok {
		return title(p) + "." + string(d.Name())
	}
	if pkg := string(d.ParentFile().Package()); pkg != "transom.config.v1" {
		return strings.TrimSuffix(strings.TrimPrefix(pkg, "transom."), ".v1") + "." + string(d.Name())
	}
	return string(d.Name())
}
