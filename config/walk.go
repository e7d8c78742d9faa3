package config

import (
	"strconv"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// walk calls visit for m and every message in it, outermost first. Values like
// durations are values, not messages.
func walk(m protoreflect.Message, path string, visit func(m protoreflect.Message, path string)) {
	visit(m, path)
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if !m.Has(fd) {
			continue
		}
		at := join(path, string(fd.Name()))
		each(m, fd, at, func(v protoreflect.Value, value protoreflect.FieldDescriptor, at string) {
			if value.Message() != nil && !isScalar(value.Message()) {
				walk(v.Message(), at, visit)
			}
		})
	}
}

// each calls visit for the value of a field that is set, or for each element of it.
func each(m protoreflect.Message, fd protoreflect.FieldDescriptor, path string,
	visit func(v protoreflect.Value, fd protoreflect.FieldDescriptor, path string)) {
	switch {
	case fd.IsMap():
		m.Get(fd).Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
			visit(v, fd.MapValue(), path+"["+strconv.Quote(k.String())+"]")
			return true
		})
	case fd.IsList():
		list := m.Get(fd).List()
		for i := range list.Len() {
			visit(list.Get(i), fd, element(path, i))
		}
	default:
		visit(m.Get(fd), fd, path)
	}
}
