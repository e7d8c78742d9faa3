package framing

// The character classes of RFC 9110, sections 5.5 and 5.6.2, and of a host.
const (
	alnum = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	token = alnum + "!#$%&'*+-.^_`|~"
	name  = alnum + "-._~"
)

// The tables are written once, here, and only read.
var (
	isToken = set(token) //nolint:gochecknoglobals // a constant, which Go cannot express
	isName  = set(name)  //nolint:gochecknoglobals // a constant, which Go cannot express
	isValue = visible()  //nolint:gochecknoglobals // a constant, which Go cannot express
)

func set(chars string) (t [256]bool) {
	for i := range len(chars) {
		t[chars[i]] = true
	}
	return t
}

// visible is HTAB, SP, VCHAR and obs-text.
func visible() (t [256]bool) {
	for c := range t {
		t[c] = c == '\t' || c >= ' ' && c != 0x7f
	}
	return t
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	}
	return c - 'A' + 10
}
