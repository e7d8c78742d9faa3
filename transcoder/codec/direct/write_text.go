package direct

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"unicode/utf8"
)

// appendString appends s as a JSON string. It is not ok if s is not UTF-8.
func appendString(out, s []byte) ([]byte, bool) {
	n := len(out)
	if cap(out)-n < len(s)+2 {
		out = slices.Grow(out, len(s)+2)
	}
	text := out[n : n+len(s)+2]
	text[0] = '"'
	if !copyPlain(text[1:len(s)+1], s) {
		return appendEscaped(out, s)
	}
	text[len(s)+1] = '"'
	return out[:n+len(s)+2], true
}

// copyPlain copies s and reports whether all of it is ASCII that a JSON string
// holds as it is. Most strings are, and many are short: looking and copying are
// one loop.
func copyPlain(dst, s []byte) bool {
	n := len(s)
	if n >= 4 && n < 8 {
		a, b := binary.LittleEndian.Uint32(s), binary.LittleEndian.Uint32(s[n-4:])
		binary.LittleEndian.PutUint32(dst, a)
		binary.LittleEndian.PutUint32(dst[n-4:], b)
		w := uint64(a) | uint64(b)<<32
		return (special(w)|w)&highs == 0
	}
	if n < 4 {
		for i, c := range s {
			if c < ' ' || c == '"' || c == '\\' || c >= 0x80 {
				return false
			}
			dst[i] = c
		}
		return true
	}
	bad := uint64(0)
	dst = dst[:n]
	for i := 0; i+8 <= n; i += 8 {
		w := binary.LittleEndian.Uint64(s[i:])
		binary.LittleEndian.PutUint64(dst[i:], w)
		bad |= special(w) | w
	}
	w := binary.LittleEndian.Uint64(s[n-8:])
	binary.LittleEndian.PutUint64(dst[n-8:], w)
	return (bad|special(w)|w)&highs == 0
}

// appendEscaped is appendString for text that is not plain.
func appendEscaped(out, s []byte) ([]byte, bool) {
	if !utf8.Valid(s) {
		return out, false
	}
	out = append(out, '"')
	for {
		end, _ := plainText(s, 0)
		out = append(out, s[:end]...)
		if end == len(s) {
			return append(out, '"'), true
		}
		out = appendEscape(out, s[end])
		s = s[end+1:]
	}
}

// plainText skips the bytes from i on that a JSON string holds as they are.
func plainText(s []byte, i int) (end int, high uint64) {
	for ; i+8 <= len(s); i += 8 {
		w := binary.LittleEndian.Uint64(s[i:])
		if m := special(w); m != 0 {
			n := bits.TrailingZeros64(m) &^ 7
			return i + n>>3, high | w&(1<<n-1)
		}
		high |= w
	}
	for ; i < len(s); i++ {
		c := s[i]
		if c < ' ' || c == '"' || c == '\\' {
			return i, high
		}
		high |= uint64(c)
	}
	return i, high
}

func appendEscape(out []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(out, '\\', c)
	case '\b':
		return append(out, `\b`...)
	case '\f':
		return append(out, `\f`...)
	case '\n':
		return append(out, `\n`...)
	case '\r':
		return append(out, `\r`...)
	case '\t':
		return append(out, `\t`...)
	}
	const hex = "0123456789abcdef"
	return append(out, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
}

// indent appends compact text with white space of n a level.
func indent(out, text []byte, n int) []byte {
	depth := 0
	line := func() {
		out = append(out, '\n')
		for range depth * n {
			out = append(out, ' ')
		}
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '{', '[':
			if text[i+1] == c+2 { // closed at once: } and ] come two after
				out = append(out, c, c+2)
				i++
				continue
			}
			depth++
			out = append(out, c)
			line()
		case '}', ']':
			depth--
			line()
			out = append(out, c)
		case ',':
			out = append(out, c)
			line()
		case ':':
			out = append(out, ':', ' ')
		case '"':
			end := i + 1
			for text[end] != '"' {
				if text[end] == '\\' {
					end++
				}
				end++
			}
			out = append(out, text[i:end+1]...)
			i = end
		default:
			out = append(out, c)
		}
	}
	return out
}
