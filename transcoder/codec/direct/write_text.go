package direct

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// appendString appends s as a JSON string. It is not ok if s is not UTF-8.
func appendString(out, s []byte) ([]byte, bool) {
	end, high := plainText(s, 0)
	if end == len(s) && high&highs == 0 {
		out = append(out, '"')
		out = append(out, s...)
		return append(out, '"'), true
	}
	if !utf8.Valid(s) {
		return out, false
	}
	out = append(out, '"')
	start := 0
	for end < len(s) {
		out = append(out, s[start:end]...)
		out = appendEscape(out, s[end])
		start = end + 1
		end, _ = plainText(s, start)
	}
	out = append(out, s[start:]...)
	return append(out, '"'), true
}

// plainText skips the bytes from i on that a JSON string holds as they are; high
// has a high bit if one of them was not ASCII.
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
