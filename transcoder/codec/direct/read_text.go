package direct

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"unicode/utf8"

	"github.com/transomhq/transom/transcoder/codec/internal/jsonscan"
)

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special marks, by the high bit of their byte, quotes, backslashes and control
// characters among eight bytes. Marks above the lowest one may be false.
func special(w uint64) uint64 {
	quote := w ^ ones*'"'
	slash := w ^ ones*'\\'
	return ((quote-ones)&^quote | (slash-ones)&^slash | (w-ones*' ')&^w) & highs
}

// plain skips the characters that mean themselves from i on; high has a high
// bit if one of them was not ASCII.
func plain(in []byte, i int) (end int, high uint64) {
	for {
		w := binary.LittleEndian.Uint64(in[i:])
		if s := special(w); s != 0 {
			n := bits.TrailingZeros64(s) &^ 7
			return i + n>>3, high | w&(1<<n-1)
		}
		high |= w
		i += 8
	}
}

// text reads a string. The result is valid until the next one is read.
func (r *reader) text(i int) ([]byte, int) {
	in := r.in
	start := i + 1
	end, high := plain(in, start)
	if in[end] != '"' {
		return r.escapedText(i, end)
	}
	if high&highs != 0 && !utf8.Valid(in[start:end]) {
		return nil, r.badText(i)
	}
	return in[start:end], end + 1
}

// escapedText reads a string that has an escape, or a mistake, at end.
func (r *reader) escapedText(i, end int) ([]byte, int) {
	in := r.in
	s := append(r.scratch[:0], in[i+1:end]...)
	for {
		switch in[end] {
		case '"':
			r.scratch = s
			if !utf8.Valid(s) {
				return nil, r.badText(i)
			}
			return s, end + 1
		case '\\':
			var n int
			if s, n = jsonscan.Unescape(s, in[end:r.n]); n == 0 {
				return nil, r.badText(i)
			}
			end += n
		default:
			return nil, r.badText(i)
		}
		start := end
		end, _ = plain(in, start)
		s = append(s, in[start:end]...)
	}
}

// badText fails for the string at i, saying where and why.
func (r *reader) badText(i int) int {
	_, fault := jsonscan.String(r.in[:r.n], i)
	if fault == nil {
		return r.fail(i, "invalid string")
	}
	return r.fail(fault.Offset, "%s", fault.Reason)
}

// stringMember reads a string and writes it with its tag, unless it is empty
// and has no presence.
func (r *reader) stringMember(f *field, i int) int {
	before := len(r.out)
	r.out = appendTag(r.out, f.tag, f.tagLen)
	i, got := r.string(i)
	if got == zero && !f.presence {
		r.out = r.out[:before]
	}
	return i
}

// string reads a string and writes it with its length. Most are short and
// plain: looking and copying are one loop.
func (r *reader) string(i int) (int, outcome) {
	in := r.in
	if in[i] != '"' {
		return r.fail(i, "invalid string value %s", r.show(i)), zero
	}
	const most = 120 // so that the length takes one byte
	n := len(r.out)
	if cap(r.out)-n < most+16 {
		r.out = slices.Grow(r.out, most+16)
	}
	dst := r.out[n+1 : n+1+most+8]
	from := in[i+1:]
	for k := 0; k < most; k += 8 {
		w := binary.LittleEndian.Uint64(from[k:])
		binary.LittleEndian.PutUint64(dst[k:], w)
		s := special(w)
		if s == 0 {
			if w&highs == 0 {
				continue
			}
			break
		}
		end := bits.TrailingZeros64(s) >> 3
		if w&(1<<(end*8)-1)&highs != 0 || from[k+end] != '"' {
			break
		}
		end += k
		r.out = r.out[:n+1+end]
		r.out[n] = byte(end)
		return i + 2 + end, isSet(end > 0)
	}
	return r.longString(i)
}

// longString is string for all others.
func (r *reader) longString(i int) (int, outcome) {
	s, next := r.text(i)
	r.out = append(appendVarint(r.out, uint64(len(s))), s...)
	return next, isSet(len(s) > 0)
}

// skip reads any value, strictly, nested at most left deep.
func (r *reader) skip(i, left int) int {
	r.work++
	switch c := r.in[i]; {
	case c == '{' || c == '[':
		if left <= 0 {
			return r.tooDeep(i)
		}
		if c == '[' {
			return r.skipArray(i+1, left-1)
		}
		return r.skipObject(i+1, left-1)
	case c == '"':
		_, i = r.text(i)
		return i
	case c == 't':
		return r.word(i, "true")
	case c == 'f':
		return r.word(i, "false")
	case c == 'n':
		return r.word(i, "null")
	}
	n := jsonscan.Number(r.in[i:r.n])
	if n == 0 {
		return r.unexpected(i, "a value")
	}
	return i + n
}

func (r *reader) skipArray(i, left int) int {
	if i = r.space(i); r.in[i] == ']' {
		return i + 1
	}
	for more := true; more; {
		if i = r.skip(i, left); i == failed {
			return failed
		}
		i, more = r.nextElement(i)
	}
	return i
}

func (r *reader) skipObject(i, left int) int {
	if i = r.space(i); r.in[i] == '}' {
		return i + 1
	}
	for {
		if _, i = r.nameColon(i); i == failed {
			return failed
		}
		if i = r.skip(r.space(i), left); i == failed {
			return failed
		}
		i = r.space(i)
		if r.in[i] == '}' {
			return i + 1
		}
		if r.in[i] != ',' {
			return r.unexpected(i, "',' or '}'")
		}
		i = r.space(i + 1)
	}
}
