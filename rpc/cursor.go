package rpc

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Cursor knows where an event of a server stream says its position, and where
// a request asks for what comes after one. A position is text: a string as it
// is, an integer in decimal. A Cursor is immutable.
type Cursor struct {
	event, request []protoreflect.FieldDescriptor
}

// NewCursor returns the cursor of m whose field paths are given as
// "page.sequence". Both fields are singular strings or integers.
func NewCursor(m *Method, eventField, requestField string) (*Cursor, error) {
	event, err := cursorPath(m.Desc.Output(), eventField)
	if err != nil {
		return nil, fmt.Errorf("cursor: event_field: %w", err)
	}
	request, err := cursorPath(m.Desc.Input(), requestField)
	if err != nil {
		return nil, fmt.Errorf("cursor: request_field: %w", err)
	}
	return &Cursor{event: event, request: request}, nil
}

func cursorPath(md protoreflect.MessageDescriptor, path string) ([]protoreflect.FieldDescriptor, error) {
	var fields []protoreflect.FieldDescriptor
	for name := range strings.SplitSeq(path, ".") {
		if md == nil {
			return nil, fmt.Errorf("%q: %s is not a message", path, fields[len(fields)-1].Name())
		}
		fd := md.Fields().ByName(protoreflect.Name(name))
		if fd == nil {
			return nil, fmt.Errorf("%q: %s has no field %q", path, md.FullName(), name)
		}
		if fd.IsList() || fd.IsMap() || fd.Kind() == protoreflect.GroupKind {
			return nil, fmt.Errorf("%q: %s is not a singular field", path, fd.FullName())
		}
		fields = append(fields, fd)
		md = fd.Message()
	}
	if leaf := fields[len(fields)-1]; leaf.Kind() != protoreflect.StringKind && !isInteger(leaf.Kind()) {
		return nil, fmt.Errorf("%q: a position is a string or an integer, %s is a %s", path, leaf.FullName(), leaf.Kind())
	}
	return fields, nil
}

func isInteger(k protoreflect.Kind) bool {
	switch k {
	case protoreflect.Int32Kind, protoreflect.Int64Kind, protoreflect.Sint32Kind, protoreflect.Sint64Kind, protoreflect.Uint32Kind,
		protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind, protoreflect.Sfixed32Kind, protoreflect.Sfixed64Kind:
		return true
	}
	return false
}

// RequestField returns the fields to the one that asks for a position,
// outermost first.
func (c *Cursor) RequestField() []protoreflect.FieldDescriptor { return c.request }

// AppendPosition appends the position that the event with these wire bytes
// has, and reports whether it has one: an event without, as one that only says
// that its sender lives, is not a place to resume from.
func (c *Cursor) AppendPosition(dst, wire []byte) ([]byte, bool) {
	value, ok := lastValue(wire, c.event)
	if !ok {
		return dst, false
	}
	leaf := c.event[len(c.event)-1]
	switch leaf.Kind() {
	case protoreflect.StringKind:
		text, n := protowire.ConsumeBytes(value)
		return append(dst, text...), n > 0 && len(text) > 0
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind:
		v, _ := protowire.ConsumeFixed32(value)
		if leaf.Kind() == protoreflect.Fixed32Kind {
			return strconv.AppendUint(dst, uint64(v), 10), true
		}
		return strconv.AppendInt(dst, int64(int32(v)), 10), true
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind:
		v, _ := protowire.ConsumeFixed64(value)
		if leaf.Kind() == protoreflect.Fixed64Kind {
			return strconv.AppendUint(dst, v, 10), true
		}
		return strconv.AppendInt(dst, int64(v), 10), true
	}
	v, _ := protowire.ConsumeVarint(value)
	return appendVarint(dst, leaf.Kind(), v), true
}

func appendVarint(dst []byte, k protoreflect.Kind, v uint64) []byte {
	switch k {
	case protoreflect.Int32Kind:
		return strconv.AppendInt(dst, int64(int32(v)), 10)
	case protoreflect.Sint32Kind:
		return strconv.AppendInt(dst, protowire.DecodeZigZag(v&0xffffffff), 10)
	case protoreflect.Uint32Kind:
		return strconv.AppendUint(dst, uint64(uint32(v)), 10)
	case protoreflect.Int64Kind:
		return strconv.AppendInt(dst, int64(v), 10)
	case protoreflect.Sint64Kind:
		return strconv.AppendInt(dst, protowire.DecodeZigZag(v), 10)
	}
	return strconv.AppendUint(dst, v, 10)
}

// lastValue returns the last value on the wire of the field at path.
func lastValue(wire []byte, path []protoreflect.FieldDescriptor) (value []byte, found bool) {
	for len(wire) > 0 {
		num, typ, n := protowire.ConsumeTag(wire)
		if n < 0 {
			return nil, false
		}
		wire = wire[n:]
		m := protowire.ConsumeFieldValue(num, typ, wire)
		if m < 0 {
			return nil, false
		}
		v := wire[:m]
		wire = wire[m:]
		switch {
		case num != path[0].Number() || typ != cursorWireType(path[0].Kind()):
		case len(path) == 1:
			value, found = v, true
		default:
			content, _ := protowire.ConsumeBytes(v)
			if inner, ok := lastValue(content, path[1:]); ok {
				value, found = inner, true
			}
		}
	}
	return value, found
}

func cursorWireType(k protoreflect.Kind) protowire.Type {
	switch k {
	case protoreflect.StringKind, protoreflect.MessageKind:
		return protowire.BytesType
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind:
		return protowire.Fixed32Type
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind:
		return protowire.Fixed64Type
	}
	return protowire.VarintType
}

// AppendRequest appends to the wire bytes of a request that it asks for what
// comes after position. What the request said before about its place is
// overruled, since the last value of a field counts.
func (c *Cursor) AppendRequest(dst []byte, position string) ([]byte, error) {
	leaf := c.request[len(c.request)-1]
	field := protowire.AppendTag(nil, leaf.Number(), cursorWireType(leaf.Kind()))
	field, err := appendPosition(field, leaf, position)
	if err != nil {
		return dst, err
	}
	for i := len(c.request) - 2; i >= 0; i-- {
		outer := protowire.AppendTag(nil, c.request[i].Number(), protowire.BytesType)
		field = protowire.AppendBytes(outer, field)
	}
	return append(dst, field...), nil
}

func appendPosition(dst []byte, leaf protoreflect.FieldDescriptor, position string) ([]byte, error) {
	k := leaf.Kind()
	if k == protoreflect.StringKind {
		if !utf8.ValidString(position) {
			return dst, fmt.Errorf("position: not UTF-8")
		}
		return protowire.AppendString(dst, position), nil
	}
	bits := 64
	switch k {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Uint32Kind, protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind:
		bits = 32
	}
	switch k {
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		v, err := strconv.ParseUint(position, 10, bits)
		if err != nil {
			return dst, fmt.Errorf("position: not a %s", k)
		}
		return appendNumber(dst, k, v), nil
	}
	v, err := strconv.ParseInt(position, 10, bits)
	if err != nil {
		return dst, fmt.Errorf("position: not a %s", k)
	}
	if k == protoreflect.Sint32Kind || k == protoreflect.Sint64Kind {
		return protowire.AppendVarint(dst, protowire.EncodeZigZag(v)), nil
	}
	return appendNumber(dst, k, uint64(v)), nil
}

func appendNumber(dst []byte, k protoreflect.Kind, v uint64) []byte {
	switch cursorWireType(k) {
	case protowire.Fixed32Type:
		return protowire.AppendFixed32(dst, uint32(v))
	case protowire.Fixed64Type:
		return protowire.AppendFixed64(dst, v)
	}
	return protowire.AppendVarint(dst, v)
}
