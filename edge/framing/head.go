package framing

import (
	"bytes"
	"math"
	"net/netip"
)

// head is what is known of a head whose end was not seen yet. Offsets count
// from the first byte of the request line.
type head struct {
	pos     int // where the current line begins; 0 is the request line
	scan    int // no LF before here, from pos on
	fields  int
	skipped bool // an empty line before the request line

	http10, host, hasLength, chunked bool

	authority, authorityEnd int // of a target in absolute form
	length                  int64
}

func (h *head) tooLong() *Error {
	if h.pos == 0 {
		return &Error{Status: 414, Message: "request target is too long"}
	}
	return &Error{Status: 431, Message: "request header fields are too large"}
}

// line takes one line of the head, without its CRLF. b is the whole head so far.
func (h *head) line(b, line []byte, lim *Limits) *Error {
	if h.pos == 0 {
		return h.requestLine(line, lim)
	}
	if h.fields++; h.fields > lim.Fields {
		return &Error{Status: 431, Message: "too many request header fields"}
	}
	name, value, err := field(line)
	if err != nil {
		return err
	}
	switch len(name) {
	case len("host"):
		if fold(name, "host") {
			return h.hostField(b, value)
		}
	case len("trailer"):
		if fold(name, "trailer") {
			return trailerField(value)
		}
	case len("content-length"):
		if fold(name, "content-length") {
			return h.lengthField(value)
		}
	case len("transfer-encoding"):
		if fold(name, "transfer-encoding") {
			return h.codingField(value)
		}
	}
	return nil
}

// field splits a field line into its name and its value with the white space
// around it.
func field(line []byte) (name, value []byte, err *Error) {
	colon := bytes.IndexByte(line, ':')
	if line[0] == ' ' || line[0] == '\t' {
		return nil, nil, bad("header field folded over several lines")
	}
	if colon < 0 {
		return nil, nil, bad("header field without a colon")
	}
	name, value = line[:colon], line[colon+1:]
	for _, c := range name {
		if !isToken[c] {
			return nil, nil, bad("invalid character in a header field name")
		}
	}
	if len(name) == 0 {
		return nil, nil, bad("header field without a name")
	}
	for _, c := range value {
		if !isValue[c] {
			return nil, nil, bad("invalid character in a header field value")
		}
	}
	return name, value, nil
}

// requestLine takes "METHOD target HTTP/1.1" with single spaces.
func (h *head) requestLine(line []byte, lim *Limits) *Error {
	sp := bytes.IndexByte(line, ' ')
	last := bytes.LastIndexByte(line, ' ')
	if sp <= 0 || sp == last {
		return bad("malformed request line")
	}
	method, target, version := line[:sp], line[sp+1:last], line[last+1:]
	for _, c := range method {
		if !isToken[c] {
			return bad("malformed request line")
		}
	}
	switch string(version) {
	case "HTTP/1.1":
	case "HTTP/1.0":
		h.http10 = true
	default:
		if len(version) == 8 && string(version[:5]) == "HTTP/" {
			return &Error{Status: 505, Message: "HTTP version not supported"}
		}
		return bad("malformed request line")
	}
	if len(target) > lim.URI {
		return h.tooLong()
	}
	if string(method) == "CONNECT" {
		return &Error{Status: 501, Message: "method CONNECT is not supported"}
	}
	return h.target(target, sp+1, string(method) == "OPTIONS")
}

// target takes the origin form, the absolute form, and "*" for OPTIONS
// (RFC 9112, section 3.2). at is where it begins.
func (h *head) target(t []byte, at int, options bool) *Error {
	if len(t) == 1 && t[0] == '*' && options {
		return nil
	}
	path := t
	if len(t) == 0 || t[0] != '/' {
		n := 0
		for _, scheme := range []string{"http://", "https://"} {
			if len(t) > len(scheme) && fold(t[:len(scheme)], scheme) {
				n = len(scheme)
			}
		}
		end := bytes.IndexAny(t[n:], "/?")
		if end < 0 {
			end = len(t) - n
		}
		if n == 0 || !validHost(t[n:n+end]) {
			return bad("malformed request target")
		}
		h.authority, h.authorityEnd = at+n, at+n+end
		path = t[n+end:]
	}
	return checkPath(path)
}

// CheckPath refuses a target in origin form that holds what no URI may hold, or
// a broken escape before the query.
func CheckPath(target string) *Error { return checkPath(target) }

func checkPath[T []byte | string](p T) *Error {
	query := false
	for i := range len(p) {
		c := p[i]
		switch {
		case c <= ' ' || c == 0x7f || c == '#':
			return bad("invalid character in the request target")
		case c == '?':
			query = true
		case c == '%' && !query && (i+2 >= len(p) || !isHex(p[i+1]) || !isHex(p[i+2])):
			return bad("malformed percent-escape in the path")
		}
	}
	return nil
}

func (h *head) hostField(b, value []byte) *Error {
	if h.host {
		return bad("more than one Host header field")
	}
	h.host = true
	value = bytes.Trim(value, " \t")
	if !validHost(value) {
		return bad("malformed Host header field")
	}
	if h.authority > 0 && !bytes.EqualFold(value, b[h.authority:h.authorityEnd]) {
		return bad("the Host header field differs from the request target")
	}
	return nil
}

// lengthField takes digits and nothing else, once.
func (h *head) lengthField(value []byte) *Error {
	if h.hasLength {
		return bad("more than one Content-Length header field")
	}
	h.hasLength = true
	value = bytes.Trim(value, " ")
	if len(value) == 0 {
		return bad("malformed Content-Length header field")
	}
	for _, c := range value {
		if c < '0' || c > '9' {
			return bad("malformed Content-Length header field")
		}
		if h.length > (math.MaxInt64-9)/10 {
			return bad("Content-Length header field is too large")
		}
		h.length = h.length*10 + int64(c-'0')
	}
	return nil
}

// codingField takes "chunked", spelt exactly so and after at most one space:
// every other spelling is one that two readers may read differently.
func (h *head) codingField(value []byte) *Error {
	if h.chunked {
		return bad("more than one Transfer-Encoding header field")
	}
	if len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	if string(value) != "chunked" {
		return bad(`Transfer-Encoding is not exactly "chunked"`)
	}
	h.chunked = true
	return nil
}

// trailerField refuses the announcement of a trailer that would reframe the
// request (RFC 9110, section 6.5.1).
func trailerField(value []byte) *Error {
	for len(value) > 0 {
		name, rest, _ := bytes.Cut(value, []byte{','})
		if isFraming(bytes.Trim(name, " \t")) {
			return bad("forbidden field in the Trailer header field")
		}
		value = rest
	}
	return nil
}

// isFraming reports whether a field of this name frames or routes a request.
func isFraming(name []byte) bool {
	for _, f := range []string{"host", "trailer", "content-length", "transfer-encoding"} {
		if len(name) == len(f) && fold(name, f) {
			return true
		}
	}
	return false
}

// validHost reports whether h is a registered name or address with an optional
// port (RFC 3986, section 3.2.2), without user information and escapes.
func validHost(h []byte) bool {
	if len(h) > 0 && h[0] == '[' {
		end := bytes.IndexByte(h, ']')
		if end < 0 {
			return false
		}
		ip, err := netip.ParseAddr(string(h[1:end]))
		return err == nil && ip.Is6() && ip.Zone() == "" && validPort(h[end+1:])
	}
	name, port := h, []byte(nil)
	if i := bytes.IndexByte(h, ':'); i >= 0 {
		name, port = h[:i], h[i:]
	}
	for _, c := range name {
		if !isName[c] {
			return false
		}
	}
	return len(name) > 0 && len(name) <= 255 && validPort(port)
}

func validPort(p []byte) bool {
	if len(p) == 0 {
		return true
	}
	n := 0
	for _, c := range p[1:] {
		if c < '0' || c > '9' || n > math.MaxUint16 {
			return false
		}
		n = n*10 + int(c-'0')
	}
	return p[0] == ':' && n <= math.MaxUint16
}

// ValidHost reports whether host may stand in a Host header field.
func ValidHost(host string) bool { return validHost([]byte(host)) }

// fold reports whether b is lower in any case; both have the same length.
func fold(b []byte, lower string) bool {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
