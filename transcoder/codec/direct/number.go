package direct

import (
	"encoding/binary"
	"math"
	"strconv"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/transomhq/transom/transcoder/codec/internal/jsonscan"
)

// number is an integer of up to 64 bits and a sign.
type number struct {
	value    uint64
	negative bool
}

// push appends a decimal digit, and reports whether it still fits.
func (n *number) push(digit byte) bool {
	if n.value > (math.MaxUint64-uint64(digit))/10 {
		return false
	}
	n.value = n.value*10 + uint64(digit)
	return true
}

// int is the number if it fits into a signed integer of bits.
func (n number) int(bits uint) (int64, bool) {
	limit := uint64(1) << (bits - 1)
	if n.negative {
		return -int64(n.value), n.value <= limit
	}
	return int64(n.value), n.value < limit
}

// uint is the number if it fits into an unsigned integer of bits. Minus zero
// does.
func (n number) uint(bits uint) (uint64, bool) {
	if n.negative && n.value != 0 || bits == 32 && n.value > math.MaxUint32 {
		return 0, false
	}
	return n.value, true
}

// integer writes a number by its field's kind, and reports whether it is zero
// and whether it fits.
func (r *reader) integer(o op, n number) (got outcome, ok bool) {
	got = set
	if n.value == 0 {
		got = zero
	}
	switch o {
	case opInt32, opSint32, opSfixed32, opEnum:
		v, fits := n.int(32)
		if !fits {
			return got, false
		}
		switch o {
		case opSint32:
			r.out = appendVarint(r.out, protowire.EncodeZigZag(v)&math.MaxUint32)
		case opSfixed32:
			r.out = binary.LittleEndian.AppendUint32(r.out, uint32(v))
		default:
			r.out = appendVarint(r.out, uint64(v))
		}
	case opInt64, opSint64, opSfixed64:
		v, fits := n.int(64)
		if !fits {
			return got, false
		}
		switch o {
		case opSint64:
			r.out = appendVarint(r.out, protowire.EncodeZigZag(v))
		case opSfixed64:
			r.out = binary.LittleEndian.AppendUint64(r.out, uint64(v))
		default:
			r.out = appendVarint(r.out, uint64(v))
		}
	case opUint32, opFixed32:
		v, fits := n.uint(32)
		if !fits {
			return got, false
		}
		if o == opFixed32 {
			r.out = binary.LittleEndian.AppendUint32(r.out, uint32(v))
		} else {
			r.out = appendVarint(r.out, v)
		}
	default:
		v, fits := n.uint(64)
		if !fits {
			return got, false
		}
		if o == opFixed64 {
			r.out = binary.LittleEndian.AppendUint64(r.out, v)
		} else {
			r.out = appendVarint(r.out, v)
		}
	}
	return got, true
}

// decimal reads an integer, a number or a string with one in it. What is not
// plain digits goes the way of slowDecimal.
func (r *reader) decimal(i int) (number, int, bool) {
	in := r.in
	j := i
	quoted := in[j] == '"'
	if quoted {
		j++
	}
	n := number{negative: in[j] == '-'}
	if n.negative {
		j++
	}
	first := j
	for c := in[j] - '0'; c <= 9; c = in[j] - '0' {
		n.value = n.value*10 + uint64(c)
		j++
	}
	digits := j - first
	if digits == 0 || digits > 18 || in[first] == '0' && digits > 1 {
		return r.slowDecimal(i)
	}
	switch c := in[j]; {
	case quoted:
		if c != '"' {
			return r.slowDecimal(i)
		}
		j++
	case c == '.' || c|0x20 == 'e':
		return r.slowDecimal(i)
	}
	return n, j, true
}

// slowDecimal reads an integer in any form: with a fraction, an exponent, escapes.
func (r *reader) slowDecimal(i int) (number, int, bool) {
	raw, next, ok := r.numberText(i)
	if !ok {
		return number{}, next, false
	}
	n, ok := integral(raw)
	return n, next, ok
}

// numberText returns the text of a number, which may stand in a string. If it
// is not one, next is failed if the reason is known already.
func (r *reader) numberText(i int) (raw []byte, next int, ok bool) {
	if r.in[i] == '"' {
		raw, next = r.text(i)
		if next == failed {
			return nil, failed, false
		}
		return raw, next, len(raw) > 0 && jsonscan.Number(raw) == len(raw)
	}
	n := jsonscan.Number(r.in[i:r.n])
	return r.in[i : i+n], i + n, n > 0
}

// integral reads a JSON number that must be an integer, by the rules of
// protojson: 1.0, 1e3 and 100e-2 are, and anything of more than 20 digits before
// the point or with an exponent beyond 32 bits is not. Exponents cost nothing.
func integral(raw []byte) (number, bool) {
	whole, frac, exp, negative := splitNumber(raw)
	n := number{negative: negative}
	if len(whole) == 0 && len(frac) == 0 {
		n.negative = false
		return n, true
	}
	e := 0
	if len(exp) > 0 {
		v, err := strconv.ParseInt(view(exp), 10, 32)
		if err != nil {
			return n, false
		}
		e = int(v)
	}
	if e >= 0 {
		if len(frac) > e || len(whole)+e > 20 {
			return n, false
		}
		return n, n.pushAll(whole) && n.pushAll(frac) && n.pushZeros(e-len(frac))
	}
	if len(frac) > 0 || len(whole)+e < 0 {
		return n, false
	}
	for _, c := range whole[len(whole)+e:] {
		if c != '0' {
			return n, false
		}
	}
	return n, n.pushAll(whole[:len(whole)+e])
}

func (n *number) pushAll(digits []byte) bool {
	for _, c := range digits {
		if !n.push(c - '0') {
			return false
		}
	}
	return true
}

func (n *number) pushZeros(count int) bool {
	for range count {
		if !n.push(0) {
			return false
		}
	}
	return true
}

// splitNumber cuts a valid JSON number. A whole part of 0 is empty, and the
// fraction has no zeros at its end.
func splitNumber(raw []byte) (whole, frac, exp []byte, negative bool) {
	if raw[0] == '-' {
		negative, raw = true, raw[1:]
	}
	i := 0
	for i < len(raw) && raw[i] >= '0' && raw[i] <= '9' {
		i++
	}
	if whole = raw[:i]; raw[0] == '0' {
		whole = nil
	}
	raw = raw[i:]
	if len(raw) > 0 && raw[0] == '.' {
		i = 1
		for i < len(raw) && raw[i] >= '0' && raw[i] <= '9' {
			i++
		}
		frac, raw = raw[1:i], raw[i:]
		for len(frac) > 0 && frac[len(frac)-1] == '0' {
			frac = frac[:len(frac)-1]
		}
	}
	if len(raw) > 0 {
		exp = raw[1:]
	}
	return whole, frac, exp, negative
}

// float reads a number, a string with one in it, or the name of one that has
// no digits. ok is false if it is none or does not fit.
func (r *reader) float(i int, bits int) (v float64, next int, ok bool) {
	if r.in[i] == '"' {
		raw, next := r.text(i)
		if next == failed {
			return 0, failed, false
		}
		switch string(raw) {
		case "NaN":
			return math.NaN(), next, true
		case "Infinity":
			return math.Inf(1), next, true
		case "-Infinity":
			return math.Inf(-1), next, true
		}
		if len(raw) == 0 || jsonscan.Number(raw) != len(raw) {
			return 0, next, false
		}
		v, ok = parseFloat(raw, bits)
		return v, next, ok
	}
	if v, next, ok = r.shortFloat(i, bits); ok {
		return v, next, true
	}
	n := jsonscan.Number(r.in[i:r.n])
	if n == 0 {
		return 0, i, false
	}
	v, ok = parseFloat(r.in[i:i+n], bits)
	return v, i + n, ok
}

// parseFloat reads a valid JSON number at 32 or 64 bits.
func parseFloat(raw []byte, bits int) (float64, bool) {
	v, err := strconv.ParseFloat(view(raw), bits)
	return v, err == nil
}

// shortFloat reads the numbers whose value is exact by one division: few
// digits, no exponent (Clinger's fast path). Others are not ok.
func (r *reader) shortFloat(i int, bits int) (float64, int, bool) {
	in := r.in
	negative := in[i] == '-'
	if negative {
		i++
	}
	first, point := i, -1
	mantissa := uint64(0)
	for ; ; i++ {
		if c := in[i] - '0'; c <= 9 {
			mantissa = mantissa*10 + uint64(c)
		} else if in[i] == '.' && point < 0 {
			point = i
		} else {
			break
		}
	}
	digits, places := i-first, 0
	if point >= 0 {
		digits--
		places = i - point - 1
		if places == 0 || point == first {
			return 0, i, false
		}
	}
	if digits == 0 || digits > 18 || in[i]|0x20 == 'e' || in[first] == '0' && digits > 1 && point != first+1 {
		return 0, i, false
	}
	var v float64
	switch {
	case bits == 64 && mantissa < 1<<53 && places <= 22:
		v = float64(mantissa) / r.tens[places]
	case bits == 32 && mantissa < 1<<24 && places <= 10:
		v = float64(float32(mantissa) / float32(r.tens[places]))
	default:
		return 0, i, false
	}
	if negative {
		v = -v
	}
	return v, i, true
}

// powersOfTen are those that a float64 holds exactly.
func powersOfTen() [23]float64 {
	return [23]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12,
		1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}
}

// view is b as a string, for a call that does not keep it.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
