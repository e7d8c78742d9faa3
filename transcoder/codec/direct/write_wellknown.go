package direct

import (
	"encoding/binary"
	"math"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// bare writes the value of the only field of a wrapper, a Struct or a ListValue.
func (w *writer) bare(f *field, lo int) bool {
	if f.shape != single {
		return w.bareRepeated(f, lo)
	}
	var from []byte
	at := failed
	for k := lo; k < len(w.frags); k++ {
		b := w.frags[k]
		for i := 0; i < len(b); {
			num, typ, j := fieldTag(b, i)
			if j == failed {
				return w.malformed()
			}
			if i = skipWire(b, j, num, typ); i == failed {
				return w.malformed()
			}
			if num == f.num && typ == f.wire {
				if at != failed && !w.checkScalar(f, from, at) {
					return false
				}
				from, at = b, j
			}
		}
	}
	if at == failed {
		w.out = append(w.out, f.zero...)
		return true
	}
	next, _ := w.scalar(f, from, at)
	return next != failed
}

// bareRepeated writes the value of one list or map of a message.
func (w *writer) bareRepeated(f *field, lo int) bool {
	start, first := len(w.out), len(w.entries)
	for k := lo; k < len(w.frags); k++ {
		b := w.frags[k]
		for i := 0; i < len(b); {
			num, typ, j := fieldTag(b, i)
			switch {
			case j == failed:
				return w.malformed()
			case num != f.num || !f.takes(typ):
				if i = skipWire(b, j, num, typ); i == failed {
					return w.malformed()
				}
				continue
			case f.shape == list:
				i = w.items(f, b, i, 0)
			default:
				i = w.collect(f, b, i)
			}
			if i == failed {
				return false
			}
		}
	}
	if f.shape == list {
		return w.enclose(start, '[', ']')
	}
	return w.dict(f, first)
}

// seconds reads the two fields of a Timestamp or a Duration.
func (w *writer) seconds(lo int) (secs int64, nanos int32, ok bool) {
	for _, b := range w.frags[lo:] {
		if !addSeconds(b, &secs, &nanos) {
			return 0, 0, w.malformed()
		}
	}
	return secs, nanos, true
}

// addSeconds reads the two fields from one piece of the message.
func addSeconds(b []byte, secs *int64, nanos *int32) bool {
	for i := 0; i < len(b); {
		num, typ, j := fieldTag(b, i)
		if j == failed {
			return false
		}
		if num > 2 || typ != protowire.VarintType {
			if i = skipWire(b, j, num, typ); i == failed {
				return false
			}
			continue
		}
		var v uint64
		if v, i = uvarint(b, j); i == failed {
			return false
		}
		if num == 1 {
			*secs = int64(v)
		} else {
			*nanos = int32(v)
		}
	}
	return true
}

// timestampOf writes a Timestamp of one piece.
func (w *writer) timestampOf(b []byte) bool {
	if w.left <= 0 {
		return w.tooDeep()
	}
	var secs int64
	var nanos int32
	if !addSeconds(b, &secs, &nanos) {
		return w.malformed()
	}
	return w.time(secs, nanos)
}

func (w *writer) timestamp(lo int) bool {
	secs, nanos, ok := w.seconds(lo)
	return ok && w.time(secs, nanos)
}

func (w *writer) time(secs int64, nanos int32) bool {
	if secs < minTimestamp || secs > maxTimestamp {
		return w.fail("google.protobuf.Timestamp: seconds out of range %d", secs)
	}
	if nanos < 0 || nanos > 999999999 {
		return w.fail("google.protobuf.Timestamp: nanos out of range %d", nanos)
	}
	since := uint64(secs - minTimestamp) // 0001-01-01
	days, second := since/86400, uint32(since%86400)
	year, month, day := civil(uint32(days))
	n := len(w.out)
	w.out = append(w.out, `"0000-00-00T00:00:00`...)
	text := w.out[n:][:20]
	twoDigitsAt(text[1:], year/100)
	twoDigitsAt(text[3:], year%100)
	twoDigitsAt(text[6:], month)
	twoDigitsAt(text[9:], day)
	twoDigitsAt(text[12:], second/3600)
	twoDigitsAt(text[15:], second/60%60)
	twoDigitsAt(text[18:], second%60)
	w.nanos(nanos)
	w.out = append(w.out, 'Z', '"')
	return true
}

// pairs is the numbers from 00 to 99.
const pairs = "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899"

func twoDigitsAt(b []byte, n uint32) {
	_ = b[1]
	b[0], b[1] = pairs[2*n], pairs[2*n+1]
}

// civil is the date of a day counted from 0001-01-01, by the arithmetic of
// Neri and Schneider (Euclidean affine functions, 2022).
func civil(days uint32) (year, month, day uint32) {
	n := 4*(days+306) + 3 // quarter days from 0000-03-01
	century, rest := n/146097, n%146097/4
	product := uint64(4*rest+3) * 2939745
	year = 100*century + uint32(product>>32)
	dayOfYear := uint32(product) / 2939745 / 4
	m := 2141*dayOfYear + 197913
	month, day = m>>16, m&0xffff/2141+1
	if dayOfYear >= 306 {
		month -= 12
		year++
	}
	return year, month, day
}

// nanos writes a fraction of 3, 6 or 9 digits, or none.
func (w *writer) nanos(n int32) {
	if n == 0 {
		return
	}
	u, digits := uint32(n), 9
	for digits > 3 && u%1000 == 0 {
		u /= 1000
		digits -= 3
	}
	at := len(w.out)
	w.out = append(w.out, ".000000000"[:digits+1]...)
	for i := at + digits; i > at; i-- {
		w.out[i] = '0' + byte(u%10)
		u /= 10
	}
}

func (w *writer) duration(lo int) bool {
	secs, nanos, ok := w.seconds(lo)
	switch {
	case !ok:
		return false
	case secs < -maxDuration || secs > maxDuration:
		return w.fail("google.protobuf.Duration: seconds out of range %d", secs)
	case nanos < -999999999 || nanos > 999999999:
		return w.fail("google.protobuf.Duration: nanos out of range %d", nanos)
	case secs > 0 && nanos < 0 || secs < 0 && nanos > 0:
		return w.fail("google.protobuf.Duration: signs of seconds and nanos do not match")
	}
	w.out = append(w.out, '"')
	if secs < 0 || nanos < 0 {
		w.out = append(w.out, '-')
		secs, nanos = -secs, -nanos
	}
	w.out = strconv.AppendInt(w.out, secs, 10)
	w.nanos(nanos)
	w.out = append(w.out, 's', '"')
	return true
}

// fieldMask writes the paths in camel case, if they come back from it.
func (w *writer) fieldMask(lo int) bool {
	start := len(w.out)
	for _, b := range w.frags[lo:] {
		for i := 0; i < len(b); {
			num, typ, j := fieldTag(b, i)
			if j == failed {
				return w.malformed()
			}
			if i = skipWire(b, j, num, typ); i == failed {
				return w.malformed()
			}
			if num == 1 && typ == protowire.BytesType {
				begin, end := lengthed(b, j)
				w.out = append(w.out, ',')
				if !w.maskPath(b[begin:end]) {
					return false
				}
			}
		}
	}
	if len(w.out) == start {
		w.out = append(w.out, '"')
	}
	w.out[start] = '"'
	w.out = append(w.out, '"')
	return true
}

func (w *writer) maskPath(path []byte) bool {
	if !protoreflect.FullName(view(path)).IsValid() {
		return w.fail("google.protobuf.FieldMask contains the invalid path %q", path)
	}
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '_' {
			if i++; i == len(path) || path[i] < 'a' || path[i] > 'z' {
				return w.fail("google.protobuf.FieldMask contains the irreversible path %q", path)
			}
			c = path[i] - 'a' + 'A'
		} else if c >= 'A' && c <= 'Z' {
			return w.fail("google.protobuf.FieldMask contains the irreversible path %q", path)
		}
		w.out = append(w.out, c)
	}
	return true
}

// value writes a google.protobuf.Value: the member of its oneof that came last.
func (w *writer) value(m *message, lo int) bool {
	var f *field
	var from []byte
	at := 0
	hi := len(w.frags)
	for k := lo; k < hi; k++ {
		b := w.frags[k]
		for i := 0; i < len(b); {
			num, typ, j := fieldTag(b, i)
			if j == failed {
				return w.malformed()
			}
			if i = skipWire(b, j, num, typ); i == failed {
				return w.malformed()
			}
			now := m.field(num)
			if now == nil || !now.takes(typ) {
				continue
			}
			if f != nil && !w.supersede(f, now, from, at, hi) {
				return false
			}
			f, from, at = now, b, j
			if f.op == opMessage {
				body, _ := f.piece(b, j)
				w.frags = append(w.frags, body)
			}
		}
	}
	switch {
	case f == nil:
		return w.fail("google.protobuf.Value: none of the oneof fields is set")
	case f.op == opMessage:
		return w.content(f.message.tables(), hi)
	case f.op == opDouble:
		if v := math.Float64frombits(binary.LittleEndian.Uint64(from[at:])); math.IsNaN(v) || math.IsInf(v, 0) {
			return w.fail("google.protobuf.Value: %v is not a JSON number", v)
		}
	}
	next, _ := w.scalar(f, from, at)
	return next != failed
}

// supersede checks the member of a Value that now comes after, and forgets its
// pieces if it was another one.
func (w *writer) supersede(f, now *field, from []byte, at, hi int) bool {
	if f.op < opMessage {
		return w.checkScalar(f, from, at)
	}
	if f == now {
		return true
	}
	for _, piece := range w.frags[hi:] {
		if !w.check(f.message, piece, w.left) {
			return false
		}
	}
	w.frags = w.frags[:hi]
	return true
}

// any writes a google.protobuf.Any.
func (w *writer) any(m *message, lo int) bool {
	var url, value []byte
	for _, b := range w.frags[lo:] {
		for i := 0; i < len(b); {
			num, typ, j := fieldTag(b, i)
			if j == failed {
				return w.malformed()
			}
			if i = skipWire(b, j, num, typ); i == failed {
				return w.malformed()
			}
			if typ == protowire.BytesType && num <= 2 {
				start, end := lengthed(b, j)
				if num == 2 {
					value = b[start:end]
				} else if url = b[start:end]; !utf8.Valid(url) {
					return w.fail("invalid UTF-8")
				}
			}
		}
	}
	if len(url) == 0 {
		if len(value) > 0 {
			return w.fail("google.protobuf.Any: type_url is not set")
		}
		w.out = append(w.out, '{', '}')
		return true
	}
	return w.anyContent(url, value)
}

func (w *writer) anyContent(url, value []byte) bool {
	inner := w.plan.family.byURL(url)
	if inner == nil {
		return w.fail("google.protobuf.Any: unable to resolve %q", url[:min(len(url), 200)])
	}
	start := len(w.out)
	w.out = append(w.out, `,"@type":`...)
	w.out, _ = appendString(w.out, url)
	lo := len(w.frags)
	w.inAny++
	var ok bool
	switch {
	case inner.form > formEmpty:
		w.out = append(w.out, `,"value":`...)
		w.frags = append(w.frags, value)
		ok = w.content(inner, lo)
	case w.left <= 0:
		return w.tooDeep()
	default:
		w.left--
		if w.indexed {
			w.frags = append(w.frags, value)
			ok = w.index(inner, lo)
		} else {
			ok = w.stream(inner, value)
		}
		w.left++
	}
	w.inAny--
	w.frags = w.frags[:lo]
	return ok && w.enclose(start, '{', '}')
}
