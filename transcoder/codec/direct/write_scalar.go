package direct

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// scalar writes one value at i, and reports whether it is the zero value.
func (w *writer) scalar(f *field, b []byte, i int) (next int, isZero bool) {
	switch f.op {
	case opString, opBytes:
		return w.bytes(f, b, i)
	case opFloat:
		if len(b)-i < 4 {
			return w.stop(w.malformed()), false
		}
		u := binary.LittleEndian.Uint32(b[i:])
		w.out = appendFloat32(w.out, math.Float32frombits(u))
		return i + 4, u == 0
	case opDouble:
		if len(b)-i < 8 {
			return w.stop(w.malformed()), false
		}
		u := binary.LittleEndian.Uint64(b[i:])
		w.out = appendFloat64(w.out, math.Float64frombits(u))
		return i + 8, u == 0
	case opFixed32, opSfixed32:
		if len(b)-i < 4 {
			return w.stop(w.malformed()), false
		}
		return i + 4, w.fixed(f.op, uint64(binary.LittleEndian.Uint32(b[i:])))
	case opFixed64, opSfixed64:
		if len(b)-i < 8 {
			return w.stop(w.malformed()), false
		}
		return i + 8, w.fixed(f.op, binary.LittleEndian.Uint64(b[i:]))
	}
	v, next := uvarint(b, i)
	if next == failed {
		return w.stop(w.malformed()), false
	}
	return next, w.varint(f, v)
}

// varint writes a value of a varint kind.
func (w *writer) varint(f *field, v uint64) (isZero bool) {
	switch f.op {
	case opBool:
		if v != 0 {
			w.out = append(w.out, "true"...)
			return false
		}
		w.out = append(w.out, "false"...)
		return true
	case opInt32:
		w.out = strconv.AppendInt(w.out, int64(int32(v)), 10)
		return int32(v) == 0
	case opUint32:
		w.out = strconv.AppendUint(w.out, uint64(uint32(v)), 10)
		return uint32(v) == 0
	case opSint32:
		n := int32(protowire.DecodeZigZag(v & math.MaxUint32))
		w.out = strconv.AppendInt(w.out, int64(n), 10)
		return n == 0
	case opEnum:
		return w.enum(f.enum, int32(v))
	case opSint64:
		w.int64(protowire.DecodeZigZag(v))
	case opUint64:
		w.uint64(v)
	default:
		w.int64(int64(v))
	}
	return v == 0
}

// fixed writes a value of a fixed-width integer kind.
func (w *writer) fixed(o op, v uint64) (isZero bool) {
	switch o {
	case opFixed32:
		w.out = strconv.AppendUint(w.out, v, 10)
	case opSfixed32:
		w.out = strconv.AppendInt(w.out, int64(int32(v)), 10)
	case opFixed64:
		w.uint64(v)
	default:
		w.int64(int64(v))
	}
	return v == 0
}

func (w *writer) int64(v int64) {
	if w.style.bareInt64 {
		w.out = strconv.AppendInt(w.out, v, 10)
		return
	}
	w.out = append(strconv.AppendInt(append(w.out, '"'), v, 10), '"')
}

func (w *writer) uint64(v uint64) {
	if w.style.bareInt64 {
		w.out = strconv.AppendUint(w.out, v, 10)
		return
	}
	w.out = append(strconv.AppendUint(append(w.out, '"'), v, 10), '"')
}

func (w *writer) enum(e *enum, n int32) (isZero bool) {
	switch {
	case e.null:
		w.out = append(w.out, "null"...)
	case w.style.enumNumbers:
		w.out = strconv.AppendInt(w.out, int64(n), 10)
	case uint32(n) < uint32(len(e.dense)) && e.dense[n] != "":
		w.out = append(w.out, e.dense[n]...)
	case e.text[n] != "":
		w.out = append(w.out, e.text[n]...)
	default:
		w.out = strconv.AppendInt(w.out, int64(n), 10)
	}
	return n == 0
}

func (w *writer) bytes(f *field, b []byte, i int) (next int, isZero bool) {
	start, end := lengthed(b, i)
	if end == failed {
		return w.stop(w.malformed()), false
	}
	if f.op == opBytes {
		w.out = append(w.out, '"')
		w.out = base64.StdEncoding.AppendEncode(w.out, b[start:end])
		w.out = append(w.out, '"')
		return end, start == end
	}
	var ok bool
	if w.out, ok = appendString(w.out, b[start:end]); !ok {
		return w.stop(w.fail("invalid UTF-8")), false
	}
	return end, start == end
}

// appendFloat64 appends the shortest text, as protojson and ECMAScript do.
func appendFloat64(out []byte, v float64) []byte {
	// A decimal of at most 15 digits that reads as v is its shortest one.
	const scale, most = 1e6, 1e9
	if abs := math.Abs(v); abs < most {
		if k := math.Round(abs * scale); k/scale == abs && (k != 0 || !math.Signbit(v)) {
			return appendMillionths(out, uint64(k), v < 0)
		}
	}
	return appendFloat(out, v, 64)
}

// appendFloat32 is appendFloat64 at 32 bits.
func appendFloat32(out []byte, v float32) []byte {
	const scale, most = 1e3, 1e3 // at most 6 digits
	abs := v
	if v < 0 {
		abs = -v
	}
	if abs < most {
		k := float32(math.Round(float64(abs * scale)))
		if k/scale == abs && (k != 0 || !math.Signbit(float64(v))) {
			return appendMillionths(out, uint64(k)*1000, v < 0)
		}
	} else if abs < 1<<24 && abs == float32(uint32(abs)) {
		return appendMillionths(out, uint64(abs)*1e6, v < 0)
	}
	return appendFloat(out, float64(v), 32)
}

// appendMillionths appends k divided by a million as a decimal.
func appendMillionths(out []byte, k uint64, negative bool) []byte {
	if negative {
		out = append(out, '-')
	}
	out = strconv.AppendUint(out, k/1e6, 10)
	frac := uint32(k % 1e6)
	if frac == 0 {
		return out
	}
	n := len(out)
	out = append(out, ".000000"...)
	text := out[n:]
	twoDigitsAt(text[1:], frac/1e4)
	twoDigitsAt(text[3:], frac/100%100)
	twoDigitsAt(text[5:], frac%100)
	end := len(out)
	for out[end-1] == '0' {
		end--
	}
	return out[:end]
}

// appendFloat is the general way.
func appendFloat(out []byte, v float64, bits int) []byte {
	switch {
	case math.IsNaN(v):
		return append(out, `"NaN"`...)
	case math.IsInf(v, 1):
		return append(out, `"Infinity"`...)
	case math.IsInf(v, -1):
		return append(out, `"-Infinity"`...)
	}
	format := byte('f')
	abs := math.Abs(v)
	if abs != 0 && (bits == 64 && (abs < 1e-6 || abs >= 1e21) ||
		bits == 32 && (float32(abs) < 1e-6 || float32(abs) >= 1e21)) {
		format = 'e'
	}
	out = strconv.AppendFloat(out, v, format, -1, bits)
	if n := len(out); format == 'e' && out[n-4] == 'e' && out[n-3] == '-' && out[n-2] == '0' {
		out[n-2] = out[n-1] // e-07 is e-7
		out = out[:n-1]
	}
	return out
}

func decimalText(n int) string { return strconv.Itoa(n) }
