package rest

import (
	"math"
	"strconv"
	"strings"
)

const (
	notInteger  reason = "not an integer"
	notNumber   reason = "not a number"
	outOfRange  reason = "out of range"
	maxExponent        = 1 << 20 // far past any number that fits a field
)

// parseSigned reads an integer of bits bits as ProtoJSON writes it: "1e3" and
// "1.0" are integers, "01", "+1" and "" are not.
func parseSigned(text string, bits int, lax bool) (int64, reason) {
	if lax || isPlain(text) {
		n, err := strconv.ParseInt(text, 10, bits)
		return n, numError(err, notInteger)
	}
	negative, digits, r := integral(text)
	if r != "" {
		return 0, r
	}
	u, err := strconv.ParseUint(digits, 10, 64)
	limit := uint64(1)<<(bits-1) - 1
	if negative {
		limit++
	}
	if err != nil || u > limit {
		return 0, outOfRange
	}
	if negative {
		return -int64(u), ""
	}
	return int64(u), ""
}

// parseUnsigned is parseSigned for unsigned kinds; "-0" is 0, as in ProtoJSON.
func parseUnsigned(text string, bits int, lax bool) (uint64, reason) {
	if lax || isPlain(text) {
		n, err := strconv.ParseUint(text, 10, bits)
		return n, numError(err, notInteger)
	}
	negative, digits, r := integral(text)
	if r != "" {
		return 0, r
	}
	n, err := strconv.ParseUint(digits, 10, bits)
	if err != nil || negative && n != 0 {
		return 0, outOfRange
	}
	return n, ""
}

func numError(err error, kind reason) reason {
	switch e, _ := err.(*strconv.NumError); { //nolint:errorlint // strconv returns it bare
	case err == nil:
		return ""
	case e != nil && e.Err == strconv.ErrRange: //nolint:errorlint // as documented by strconv
		return outOfRange
	}
	return kind
}

// isPlain reports whether text is digits without a leading zero, the common case.
func isPlain(text string) bool {
	if text == "" || text[0] == '0' && len(text) > 1 {
		return false
	}
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return true
}

// integral splits a JSON number that is an integer into its sign and its
// digits. An exponent of any size costs nothing.
func integral(text string) (negative bool, digits string, r reason) {
	n, ok := splitNumber(text)
	if !ok {
		return false, "", notInteger
	}
	digits = strings.TrimLeft(n.whole+n.frac, "0")
	trimmed := strings.TrimRight(digits, "0")
	exp := n.exp - len(n.frac) + len(digits) - len(trimmed)
	switch {
	case trimmed == "":
		return n.negative, "0", ""
	case exp < 0:
		return false, "", notInteger
	case len(trimmed)+exp > 20: // longer than any 64-bit integer
		return false, "", outOfRange
	}
	return n.negative, trimmed + strings.Repeat("0", exp), ""
}

// number is a JSON number (RFC 8259, section 6) in parts.
type number struct {
	negative    bool
	whole, frac string
	exp         int // capped at ±maxExponent
}

func splitNumber(text string) (number, bool) {
	var n number
	text, n.negative = strings.CutPrefix(text, "-")
	n.whole, text = leadingDigits(text)
	if n.whole == "" || n.whole[0] == '0' && len(n.whole) > 1 {
		return n, false
	}
	if rest, ok := strings.CutPrefix(text, "."); ok {
		if n.frac, text = leadingDigits(rest); n.frac == "" {
			return n, false
		}
	}
	if text == "" {
		return n, true
	}
	if text[0] != 'e' && text[0] != 'E' {
		return n, false
	}
	text = text[1:]
	sign := 1
	if rest, ok := strings.CutPrefix(text, "-"); ok {
		sign, text = -1, rest
	} else {
		text = strings.TrimPrefix(text, "+")
	}
	digits, rest := leadingDigits(text)
	if digits == "" || rest != "" {
		return n, false
	}
	for i := range len(digits) {
		n.exp = min(n.exp*10+int(digits[i]-'0'), maxExponent)
	}
	n.exp *= sign
	return n, true
}

func leadingDigits(s string) (digits, rest string) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return s[:i], s[i:]
}

// parseFloat reads a JSON number or one of ProtoJSON's three names.
func parseFloat(text string, bits int, lax bool) (float64, reason) {
	switch text {
	case "NaN":
		return math.NaN(), ""
	case "Infinity":
		return math.Inf(1), ""
	case "-Infinity":
		return math.Inf(-1), ""
	}
	if _, ok := splitNumber(text); !ok && !lax {
		return 0, notNumber
	}
	f, err := strconv.ParseFloat(text, bits)
	return f, numError(err, notNumber)
}
