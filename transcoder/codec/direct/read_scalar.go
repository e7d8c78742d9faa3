package direct

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math"
	"slices"
)

// scalar reads one value of f's kind and writes it without its tag.
func (r *reader) scalar(f *field, i int) (int, outcome) {
	switch f.op {
	case opString:
		return r.string(i)
	case opBool:
		return r.bool(i)
	case opFloat, opDouble:
		return r.floating(f, i)
	case opBytes:
		return r.base64(i)
	case opEnum:
		return r.enum(f, i)
	}
	n, next, ok := r.decimal(i)
	if ok {
		got, fits := r.integer(f.op, n)
		if fits {
			return next, got
		}
	} else if next == failed {
		return failed, zero
	}
	return r.invalid(f, i), zero
}

// invalid fails for the value at i.
func (r *reader) invalid(f *field, i int) int {
	return r.fail(i, "invalid %s value %s", f.desc.Kind(), r.show(i))
}

func (r *reader) bool(i int) (int, outcome) {
	in := r.in
	if in[i] == 't' && i+4 <= r.n && string(in[i:i+4]) == "true" {
		r.out = append(r.out, 1)
		return i + 4, set
	}
	if in[i] == 'f' && i+5 <= r.n && string(in[i:i+5]) == "false" {
		r.out = append(r.out, 0)
		return i + 5, zero
	}
	return r.fail(i, "invalid bool value %s", r.show(i)), zero
}

func (r *reader) floating(f *field, i int) (int, outcome) {
	if f.op == opFloat {
		v, next, ok := r.float(i, 32)
		if !ok {
			if next != failed {
				r.invalid(f, i)
			}
			return failed, zero
		}
		u := math.Float32bits(float32(v))
		r.out = binary.LittleEndian.AppendUint32(r.out, u)
		return next, isSet(u != 0)
	}
	v, next, ok := r.float(i, 64)
	if !ok {
		if next != failed {
			r.invalid(f, i)
		}
		return failed, zero
	}
	u := math.Float64bits(v)
	r.out = binary.LittleEndian.AppendUint64(r.out, u)
	return next, isSet(u != 0)
}

func isSet(b bool) outcome {
	if b {
		return set
	}
	return zero
}

func (r *reader) enum(f *field, i int) (int, outcome) {
	switch c := r.in[i]; {
	case c == '"':
		name, next := r.text(i)
		if next == failed {
			return failed, zero
		}
		n, ok := f.enum.find(name)
		switch {
		case ok:
			r.out = appendVarint(r.out, uint64(int64(n)))
			return next, isSet(n != 0)
		case r.plan.opts.DiscardUnknown:
			return next, dropped
		}
		return r.fail(i, "enum %s has no value %s", f.enum.name(f), r.show(i)), zero
	case c == '-' || c >= '0' && c <= '9':
		if n, next, ok := r.decimal(i); ok {
			if got, fits := r.integer(opEnum, n); fits {
				return next, got
			}
		}
	case c == 'n' && f.enum.null:
		r.out = append(r.out, 0)
		return r.word(i, "null"), zero
	}
	return r.invalid(f, i), zero
}

func (e *enum) name(f *field) string { return string(f.desc.Enum().Name()) }

// base64 reads bytes in either alphabet, with or without padding.
func (r *reader) base64(i int) (int, outcome) {
	if r.in[i] != '"' {
		return r.unexpected(i, "a string of base64"), zero
	}
	s, next := r.text(i)
	if next == failed {
		return failed, zero
	}
	url, padded := bytes.ContainsAny(s, "-_"), len(s)%4 == 0
	enc := base64.StdEncoding
	switch {
	case url && padded:
		enc = base64.URLEncoding
	case url:
		enc = base64.RawURLEncoding
	case !padded:
		enc = base64.RawStdEncoding
	}
	// The length of the result is not known before: decode behind the longest
	// length, and move it down.
	most := enc.DecodedLen(len(s))
	width := varintLen(uint64(most))
	at := len(r.out)
	r.out = slices.Grow(r.out, width+most)[:at+width+most]
	n, err := enc.Decode(r.out[at+width:], s)
	if err != nil {
		r.out = r.out[:at]
		return r.fail(i, "invalid base64 %s", r.show(i)), zero
	}
	if exact := varintLen(uint64(n)); exact < width {
		copy(r.out[at+exact:], r.out[at+width:at+width+n])
		width = exact
	}
	putVarint(r.out[at:], uint64(n))
	r.out = r.out[:at+width+n]
	return next, isSet(n > 0)
}
