package direct

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// The first and the last second of a Timestamp, and the most of a Duration.
const (
	minTimestamp = -62135596800
	maxTimestamp = 253402300799
	maxDuration  = 315576000000
)

// seconds writes the fields of a Timestamp or a Duration.
func (r *reader) seconds(secs int64, nanos int32) {
	if secs != 0 {
		r.out = appendVarint(append(r.out, 0x08), uint64(secs))
	}
	if nanos != 0 {
		r.out = appendVarint(append(r.out, 0x10), uint64(int64(nanos)))
	}
}

func (r *reader) timestamp(i int) int {
	if r.in[i] != '"' {
		return r.unexpected(i, "a string with a Timestamp")
	}
	s, next := r.text(i)
	if next == failed {
		return failed
	}
	secs, nanos, ok := canonicalTime(s)
	if !ok {
		if secs, nanos, ok = anyTime(string(s)); !ok {
			return r.fail(i, "invalid google.protobuf.Timestamp value %s", r.show(i))
		}
	}
	if secs < minTimestamp || secs > maxTimestamp {
		return r.fail(i, "google.protobuf.Timestamp value out of range: %s", r.show(i))
	}
	r.seconds(secs, nanos)
	return next
}

// canonicalTime reads 2006-01-02T15:04:05[.999999999]Z. What is not exactly
// that, or not a date, is left to anyTime.
func canonicalTime(s []byte) (secs int64, nanos int32, ok bool) {
	if len(s) < 20 || s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':' || s[len(s)-1] != 'Z' {
		return 0, 0, false
	}
	year := twoDigits(s[0:])*100 + twoDigits(s[2:])
	month, day := twoDigits(s[5:]), twoDigits(s[8:])
	hour, minute, second := twoDigits(s[11:]), twoDigits(s[14:]), twoDigits(s[17:])
	if year|month|day|hour|minute|second < 0 || year < 1 || month < 1 || month > 12 ||
		day < 1 || day > 28 && day > daysIn(year, month) || hour > 23 || minute > 59 || second > 59 {
		return 0, 0, false
	}
	if len(s) > 20 {
		frac := s[20 : len(s)-1]
		if s[19] != '.' || len(frac) == 0 || len(frac) > 9 {
			return 0, 0, false
		}
		for _, c := range frac {
			if c -= '0'; c > 9 {
				return 0, 0, false
			}
			nanos = nanos*10 + int32(c)
		}
		for range 9 - len(frac) {
			nanos *= 10
		}
	}
	return daysSinceEpoch(year, month, day)*86400 + int64(hour*3600+minute*60+second), nanos, true
}

// twoDigits is negative if they are none; sums and products of two stay so
// when or-ed.
func twoDigits(s []byte) int {
	a, b := s[0]-'0', s[1]-'0'
	if a > 9 || b > 9 {
		return -1 << 20
	}
	return int(a)*10 + int(b)
}

func daysIn(year, month int) int {
	if month == 2 {
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 30 + (month+month>>3)&1
}

// daysSinceEpoch counts days of the civil calendar from 1970-01-01. Years
// begin in March here, so that the leap day is the last.
func daysSinceEpoch(year, month, day int) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	dayOfYear := (153*(month-3)+2)/5 + day - 1
	return int64(365*year + year/4 - year/100 + year/400 + dayOfYear - 719468)
}

// anyTime reads what protojson does: all that package time takes for RFC 3339,
// with at most nine digits of a fraction.
func anyTime(s string) (secs int64, nanos int32, ok bool) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return 0, 0, false
	}
	point, zone := strings.LastIndexByte(s, '.'), strings.LastIndexAny(s, "Z-+")
	if point >= 0 && zone >= point && zone-point > len(".999999999") {
		return 0, 0, false
	}
	return t.Unix(), int32(t.Nanosecond()), true
}

func (r *reader) duration(i int) int {
	if r.in[i] != '"' {
		return r.unexpected(i, "a string with a Duration")
	}
	s, next := r.text(i)
	if next == failed {
		return failed
	}
	secs, nanos, ok := parseDuration(s)
	if !ok {
		return r.fail(i, "invalid google.protobuf.Duration value %s", r.show(i))
	}
	if secs < -maxDuration || secs > maxDuration {
		return r.fail(i, "google.protobuf.Duration value out of range: %s", r.show(i))
	}
	r.seconds(secs, nanos)
	return next
}

// parseDuration reads [+-][digits][.[digits]]s: at least one of whole part and
// point, no leading zeros, at most nine digits of a fraction.
func parseDuration(s []byte) (secs int64, nanos int32, ok bool) {
	if len(s) < 2 || s[len(s)-1] != 's' {
		return 0, 0, false
	}
	s = s[:len(s)-1]
	negative := s[0] == '-'
	if negative || s[0] == '+' {
		s = s[1:]
	}
	if len(s) == 0 {
		return 0, 0, false
	}
	whole, frac, hasPoint := bytes.Cut(s, []byte{'.'})
	if len(whole) == 0 && !hasPoint || len(whole) > 1 && whole[0] == '0' || len(frac) > 9 {
		return 0, 0, false
	}
	n := number{}
	for _, c := range whole {
		if c -= '0'; c > 9 || !n.push(c) {
			return 0, 0, false
		}
	}
	for _, c := range frac {
		if c -= '0'; c > 9 {
			return 0, 0, false
		}
		nanos = nanos*10 + int32(c)
	}
	for range 9 - len(frac) {
		nanos *= 10
	}
	if n.value > math.MaxInt64 {
		return 0, 0, false
	}
	if secs = int64(n.value); negative {
		return -secs, -nanos, true
	}
	return secs, nanos, true
}

func (r *reader) fieldMask(i int) int {
	if r.in[i] != '"' {
		return r.unexpected(i, "a string with a FieldMask")
	}
	s, next := r.text(i)
	if next == failed {
		return failed
	}
	s = bytes.TrimSpace(s)
	for more := len(s) > 0; more; {
		var path []byte
		path, s, more = bytes.Cut(s, []byte{','})
		before := len(r.out)
		r.out = append(r.out, 0x0a)
		h := r.open()
		start := len(r.out)
		for _, c := range path {
			if c >= 'A' && c <= 'Z' {
				r.out = append(r.out, '_')
				c += 'a' - 'A'
			}
			r.out = append(r.out, c)
		}
		if bytes.IndexByte(path, '_') >= 0 || !protoreflect.FullName(view(r.out[start:])).IsValid() {
			r.out = r.out[:before]
			return r.fail(i, "invalid path %q in google.protobuf.FieldMask", path[:min(len(path), 40)])
		}
		r.close(h)
	}
	return next
}

// value reads a google.protobuf.Value: any JSON.
func (r *reader) value(m *message, i int) int {
	switch c := r.in[i]; {
	case c == '"':
		r.out = append(r.out, 0x1a)
		i, _ = r.string(i)
		return i
	case c == 't' || c == 'f':
		r.out = append(r.out, 0x20)
		i, _ = r.bool(i)
		return i
	case c == 'n':
		r.out = append(r.out, 0x08, 0)
		return r.word(i, "null")
	case c == '{':
		return r.wrapped(0x2a, m.fields[4].message, i)
	case c == '[':
		return r.wrapped(0x32, m.fields[5].message, i)
	}
	v, next, ok := r.float(i, 64)
	if !ok {
		return r.fail(i, "invalid google.protobuf.Value %s", r.show(i))
	}
	r.out = append(r.out, 0x11)
	r.out = binary.LittleEndian.AppendUint64(r.out, math.Float64bits(v))
	return next
}

// wrapped reads a Struct or ListValue inside a Value, which do not count as
// messages of their own.
func (r *reader) wrapped(tag byte, m *message, i int) int {
	r.out = append(r.out, tag)
	h := r.open()
	if i = r.content(m.tables(), i); i != failed {
		r.close(h)
	}
	return i
}
