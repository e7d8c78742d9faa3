package rest

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// hasRequired reports whether a message of type md can lack a required field.
func hasRequired(md protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool) bool {
	if seen[md.FullName()] {
		return false
	}
	seen[md.FullName()] = true
	if md.RequiredNumbers().Len() > 0 {
		return true
	}
	for i := range md.Fields().Len() {
		if inner := md.Fields().Get(i).Message(); inner != nil && hasRequired(inner, seen) {
			return true
		}
	}
	return false
}

// missing refuses a whole request that lacks required fields: backends refuse
// them as well, but as a failure of the transport. Few schemas have any, so the
// message is simply decoded.
func (p *plan) missing(wire []byte) error {
	if !p.required {
		return nil
	}
	m := dynamicpb.NewMessage(p.input)
	if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(wire, m); err != nil {
		return violation("", "request: not a valid %s", p.input.FullName())
	}
	var bad violations
	bad.required(m, "")
	return bad.err()
}

// required notes the required fields that m, at prefix, lacks.
func (v *violations) required(m protoreflect.Message, prefix string) {
	needed := m.Descriptor().RequiredNumbers()
	for i := range needed.Len() {
		if fd := m.Descriptor().Fields().ByNumber(needed.Get(i)); !m.Has(fd) {
			path := prefix + string(fd.Name())
			v.add(path, fmt.Sprintf("field %q is required", path))
		}
	}
	m.Range(func(fd protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		path := prefix + string(fd.Name())
		switch {
		case fd.IsMap() && fd.MapValue().Message() != nil:
			value.Map().Range(func(k protoreflect.MapKey, v2 protoreflect.Value) bool {
				v.required(v2.Message(), path+"["+k.String()+"].")
				return !v.full()
			})
		case fd.IsList() && fd.Message() != nil:
			for i := range value.List().Len() {
				v.required(value.List().Get(i).Message(), fmt.Sprintf("%s[%d].", path, i))
			}
		case fd.Message() != nil && !fd.IsMap():
			v.required(value.Message(), path+".")
		}
		return !v.full()
	})
}
