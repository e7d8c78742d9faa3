package direct

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// uvarint reads a varint at i; next is failed if it is not whole or too long.
func uvarint(b []byte, i int) (v uint64, next int) {
	if i < len(b) && b[i] < 0x80 {
		return uint64(b[i]), i + 1
	}
	return longVarint(b, i)
}

func longVarint(b []byte, i int) (v uint64, next int) {
	for shift := 0; shift < 63; shift += 7 {
		if i >= len(b) {
			return 0, failed
		}
		c := b[i]
		i++
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return v, i
		}
	}
	if i >= len(b) || b[i] > 1 {
		return 0, failed // more than 64 bits
	}
	return v | uint64(b[i])<<63, i + 1
}

// fieldTag reads a tag at i.
func fieldTag(b []byte, i int) (num protowire.Number, typ protowire.Type, next int) {
	if c := b[i]; c < 0x80 && c >= 8 {
		return protowire.Number(c >> 3), protowire.Type(c & 7), i + 1
	}
	if i+1 < len(b) && b[i+1] < 0x80 && b[i+1] > 0 && b[i] >= 0x80 {
		v := uint(b[i]&0x7f) | uint(b[i+1])<<7
		if v >= 8 {
			return protowire.Number(v >> 3), protowire.Type(v & 7), i + 2
		}
	}
	v, next := uvarint(b, i)
	if next == failed || v>>3 == 0 || v>>3 > uint64(protowire.MaxValidNumber) {
		return 0, 0, failed
	}
	return protowire.Number(v >> 3), protowire.Type(v & 7), next
}

// lengthed reads a length at i and returns where the bytes begin and end.
func lengthed(b []byte, i int) (start, end int) {
	if i < len(b) && b[i] < 0x80 {
		if start, end = i+1, i+1+int(b[i]); end <= len(b) {
			return start, end
		}
		return failed, failed
	}
	return longLength(b, i)
}

// longLength is lengthed for lengths of 128 and more.
func longLength(b []byte, i int) (start, end int) {
	if i+1 < len(b) && b[i+1] < 0x80 && b[i] >= 0x80 {
		start = i + 2
		if end = start + int(b[i]&0x7f) + int(b[i+1])<<7; end <= len(b) {
			return start, end
		}
		return failed, failed
	}
	n, start := uvarint(b, i)
	if start == failed || n > uint64(len(b)-start) {
		return failed, failed
	}
	return start, start + int(n)
}

// skipWire returns the offset after the value at i, whose tag is read.
func skipWire(b []byte, i int, num protowire.Number, typ protowire.Type) int {
	switch typ {
	case protowire.VarintType:
		_, i = uvarint(b, i)
		return i
	case protowire.Fixed32Type:
		i += 4
	case protowire.Fixed64Type:
		i += 8
	case protowire.BytesType:
		_, i = lengthed(b, i)
		return i
	case protowire.StartGroupType:
		_, n := protowire.ConsumeGroup(num, b[i:])
		if n < 0 {
			return failed
		}
		return i + n
	default:
		return failed
	}
	if i > len(b) {
		return failed
	}
	return i
}

// piece returns the bytes of a message-typed value at i and the offset after it.
func (f *field) piece(b []byte, i int) ([]byte, int) {
	if f.op == opGroup {
		body, n := protowire.ConsumeGroup(f.num, b[i:])
		if n < 0 {
			return nil, failed
		}
		return body, i + n
	}
	start, end := lengthed(b, i)
	if end == failed {
		return nil, failed
	}
	return b[start:end], end
}

// takes reports whether a wire type is one of the field's: another one makes
// an unknown field of it.
func (f *field) takes(typ protowire.Type) bool {
	return typ == f.wire || typ == protowire.BytesType && f.shape == list && f.op < opString
}
