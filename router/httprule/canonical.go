package httprule

// AppendCanonical appends segment, a path segment or literal with well-formed
// percent-escapes, in canonical form: unreserved characters (RFC 3986 section
// 2.3) are bare, everything that may not stand bare in a segment (section 3.3)
// is escaped, and escapes have upper-case digits. What else is reserved stays
// as it was, because "%3A" and ":" do not mean the same.
func AppendCanonical(dst []byte, segment string) []byte {
	for i := 0; i < len(segment); i++ {
		c := segment[i]
		if c != '%' {
			if IsPathChar(c) {
				dst = append(dst, c)
			} else {
				dst = appendEscape(dst, c)
			}
			continue
		}
		b, ok := Unescape(segment[i:])
		if !ok {
			dst = append(dst, c) // not well-formed: the caller's mistake, kept visible
			continue
		}
		i += 2
		if IsUnreserved(b) {
			dst = append(dst, b)
		} else {
			dst = appendEscape(dst, b)
		}
	}
	return dst
}

// Unescape returns the byte that the percent-escape at the start of s means,
// and whether there is a well-formed one.
func Unescape(s string) (byte, bool) {
	if len(s) < 3 || s[0] != '%' {
		return 0, false
	}
	hi, ok := unhex(s[1])
	lo, ok2 := unhex(s[2])
	return hi<<4 | lo, ok && ok2
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

func appendEscape(dst []byte, c byte) []byte {
	const digits = "0123456789ABCDEF"
	return append(dst, '%', digits[c>>4], digits[c&15])
}

// The characters below 128 as bit sets, low half and high half.
const (
	unreservedLo = 1<<'-' | 1<<'.' | 0x3ff<<'0'
	unreservedHi = 0x3ffffff<<('A'-64) | 1<<('_'-64) | 0x3ffffff<<('a'-64) | 1<<('~'-64)
	pathLo       = unreservedLo | 1<<'!' | 1<<'$' | 1<<'&' | 1<<'\'' | 1<<'(' | 1<<')' | 1<<'*' | 1<<'+' | 1<<',' | 1<<';' | 1<<'=' | 1<<':'
	pathHi       = unreservedHi | 1<<('@'-64)
)

// IsUnreserved reports whether c is unreserved (RFC 3986 section 2.3): escaped
// or not, it means the same.
func IsUnreserved(c byte) bool { return inSet(c, unreservedLo, unreservedHi) }

// IsPathChar reports whether c may stand bare in a path segment (RFC 3986
// section 3.3, pchar without escapes).
func IsPathChar(c byte) bool { return inSet(c, pathLo, pathHi) }

func inSet(c byte, lo, hi uint64) bool {
	set := lo
	if c >= 64 {
		set = hi
	}
	return c < 128 && set>>(c&63)&1 != 0
}
