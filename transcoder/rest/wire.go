package rest

import (
	"bytes"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// wireType returns how one value of fd stands on the wire, unpacked.
func wireType(fd protoreflect.FieldDescriptor) protowire.Type {
	switch fd.Kind() {
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		return protowire.BytesType
	case protoreflect.GroupKind:
		return protowire.StartGroupType
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
		return protowire.Fixed32Type
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
		return protowire.Fixed64Type
	}
	return protowire.VarintType
}

// isZero reports whether an element is its kind's zero: a zero number, or a
// length of zero.
func isZero(element []byte) bool { return len(bytes.TrimLeft(element, "\x00")) == 0 }

// insertLength makes dst[start:] a length-delimited value.
func insertLength(dst []byte, start int) []byte {
	n := len(dst) - start
	size := protowire.SizeVarint(uint64(n))
	dst = slices.Grow(dst, size)[:len(dst)+size]
	copy(dst[start+size:], dst[start:start+n])
	protowire.AppendVarint(dst[:start], uint64(n))
	return dst
}

// appendField appends a singular message field whose content is to follow in
// dst, and returns where the content starts; endField closes it.
func appendField(dst []byte, fd protoreflect.FieldDescriptor) ([]byte, int) {
	dst = protowire.AppendTag(dst, fd.Number(), wireType(fd))
	return dst, len(dst)
}

func endField(dst []byte, fd protoreflect.FieldDescriptor, start int) []byte {
	if fd.Kind() == protoreflect.GroupKind {
		return protowire.AppendTag(dst, fd.Number(), protowire.EndGroupType)
	}
	return insertLength(dst, start)
}

// wireField is one field as it stands on the wire.
type wireField struct {
	num   protowire.Number
	typ   protowire.Type
	value []byte // the element; of a message, its content
}

// nextField cuts the first field off b. ok is false when b is malformed.
func nextField(b []byte) (f wireField, rest []byte, ok bool) {
	num, typ, n := protowire.ConsumeTag(b)
	if n < 0 || typ == protowire.EndGroupType {
		return f, nil, false
	}
	b = b[n:]
	m := protowire.ConsumeFieldValue(num, typ, b)
	if m < 0 {
		return f, nil, false
	}
	f = wireField{num: num, typ: typ, value: b[:m]}
	return f, b[m:], true
}

// content returns what is inside a length-delimited or group field.
func (f wireField) content() ([]byte, bool) {
	switch f.typ {
	case protowire.BytesType:
		v, n := protowire.ConsumeBytes(f.value)
		return v, n >= 0
	case protowire.StartGroupType:
		v, n := protowire.ConsumeGroup(f.num, f.value)
		return v, n >= 0
	}
	return nil, false
}

// gather appends the contents of the message field fd of wire, which may be
// split into several: concatenation is merging.
func gather(dst, wire []byte, fd protoreflect.FieldDescriptor) ([]byte, bool) {
	for len(wire) > 0 {
		f, rest, ok := nextField(wire)
		if !ok {
			return dst, false
		}
		if f.num == fd.Number() && f.typ == wireType(fd) {
			c, ok := f.content()
			if !ok {
				return dst, false
			}
			dst = append(dst, c...)
		}
		wire = rest
	}
	return dst, true
}

// sameValue reports whether an element on the wire has the value of want, an
// element of fd that we wrote ourselves.
func sameValue(fd protoreflect.FieldDescriptor, f wireField, want []byte) bool {
	if f.typ != wireType(fd) {
		return false
	}
	if f.typ != protowire.VarintType {
		return bytes.Equal(f.value, want)
	}
	got, n := protowire.ConsumeVarint(f.value)
	exp, m := protowire.ConsumeVarint(want)
	if n < 0 || m < 0 {
		return false
	}
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return (got != 0) == (exp != 0)
	case protoreflect.Int64Kind, protoreflect.Uint64Kind, protoreflect.Sint64Kind:
		return got == exp
	}
	return uint32(got) == uint32(exp) // parsers keep the low 32 bits
}

// validWire reports whether wire is a message of type md that every protobuf
// parser takes: whole fields, down to the last nested one, and UTF-8 strings.
// Otherwise a truncated field could swallow what is appended after it.
func validWire(md protoreflect.MessageDescriptor, wire []byte, depth int) bool {
	if depth <= 0 {
		return false
	}
	for len(wire) > 0 {
		f, rest, ok := nextField(wire)
		if !ok {
			return false
		}
		wire = rest
		fd := md.Fields().ByNumber(f.num)
		if fd == nil {
			continue // unknown
		}
		if want := wireType(fd); f.typ != want {
			if fd.IsList() && f.typ == protowire.BytesType && !validPacked(want, f) {
				return false
			}
			continue // packed, or unknown, too
		}
		switch fd.Kind() {
		case protoreflect.MessageKind, protoreflect.GroupKind:
			content, ok := f.content()
			if !ok || !validWire(fd.Message(), content, depth-1) {
				return false
			}
		case protoreflect.StringKind:
			text, ok := f.content()
			if !ok || fd.ParentFile().Syntax() != protoreflect.Proto2 && !utf8.Valid(text) {
				return false
			}
		}
	}
	return true
}

// validPacked reports whether f holds whole elements of a type.
func validPacked(typ protowire.Type, f wireField) bool {
	content, ok := f.content()
	for ok && len(content) > 0 {
		n := protowire.ConsumeFieldValue(1, typ, content)
		if n < 0 {
			return false
		}
		content = content[n:]
	}
	return ok
}
