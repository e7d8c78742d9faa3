package rest

import (
	"fmt"
	"strings"
	"unicode/utf8"

	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
	"github.com/transomhq/transom/rpc"
)

// bindPath puts the path's variables into the tree, first of all, so that
// nothing that comes later can change them unseen.
func (x *exchange) bindPath(t *tree) error {
	var bad violations
	for i, v := range x.plan.binding.Variables {
		if i >= len(x.match.Values) {
			return fmt.Errorf("match has %d values for the %d variables of %s", len(x.match.Values), len(x.plan.binding.Variables), x.plan.binding.Template)
		}
		text, ok := decodeVariable(x.match.Values[i], v.Multi, x.plan.set.unescape)
		if !ok {
			bad.add(v.Path, fmt.Sprintf("path variable %q: malformed percent-encoding, or not UTF-8", v.Path))
			continue
		}
		if reason := x.bind(t, v, text); reason != "" {
			bad.add(v.Path, fmt.Sprintf("path variable %q: %s", v.Path, reason))
		}
	}
	return bad.err()
}

func (x *exchange) bind(t *tree, v rpc.Variable, text string) reason {
	at := int32(0)
	for depth, fd := range v.Fields {
		i := t.child(at, fd)
		if i == 0 {
			i = t.add(at, fd)
		}
		t.nodes[i].bound = true
		at = i
		if depth < len(v.Fields)-1 {
			continue
		}
		if fd.IsList() {
			return x.bindList(t, i, text)
		}
		lo := len(t.arena)
		var bad reason
		t.arena, bad = x.door.values.append(t.arena, fd, text, x.plan.set.lax)
		t.keep(i, lo)
		return bad
	}
	return ""
}

// bindList takes "a,b" for a repeated field, as grpc-gateway does.
func (x *exchange) bindList(t *tree, list int32, text string) reason {
	t.nodes[list].leaf = true // nothing else may add to it
	for part := range strings.SplitSeq(text, ",") {
		lo := len(t.arena)
		var bad reason
		t.arena, bad = x.door.values.append(t.arena, t.nodes[list].fd, part, x.plan.set.lax)
		if bad != "" {
			return bad
		}
		t.keep(t.add(list, t.nodes[list].fd), lo)
	}
	return ""
}

// elements returns what the path binds each variable to, for the guard.
func (x *exchange) elements(t *tree) [][]byte {
	out := x.scratch.elements[:0]
	for _, v := range x.plan.binding.Variables {
		at := int32(0)
		for _, fd := range v.Fields {
			at = t.child(at, fd)
		}
		out = append(out, t.element(at))
	}
	x.scratch.elements = out
	return out
}

// decodeVariable undoes the percent-encoding of a variable's raw text once.
// Of a variable of several segments, mode says what stays encoded. What is not
// UTF-8 afterwards, or holds NUL, is no value.
func decodeVariable(raw string, multi bool, mode policyv1.Unescape) (string, bool) {
	text := raw
	if strings.IndexByte(raw, '%') >= 0 {
		var b strings.Builder
		b.Grow(len(raw))
		for i := 0; i < len(raw); i++ {
			if raw[i] != '%' {
				b.WriteByte(raw[i])
				continue
			}
			c, ok := decodeHex(raw, i)
			if !ok {
				return "", false
			}
			if multi && staysEncoded(c, mode) {
				b.WriteString(raw[i : i+3])
			} else {
				b.WriteByte(c)
			}
			i += 2
		}
		text = b.String()
	}
	return text, utf8.ValidString(text) && strings.IndexByte(text, 0) < 0
}

func staysEncoded(c byte, mode policyv1.Unescape) bool {
	switch mode {
	case policyv1.Unescape_UNESCAPE_ALL:
		return false
	case policyv1.Unescape_UNESCAPE_ALL_EXCEPT_RESERVED: // RFC 3986, section 2.2, and "%" itself
		return strings.IndexByte("%:/?#[]@!$&'()*+,;=", c) >= 0
	}
	return c == '/'
}

// decodeHex reads the escape at s[i].
func decodeHex(s string, i int) (byte, bool) {
	if i+2 >= len(s) {
		return 0, false
	}
	hi, lo := fromHex(s[i+1]), fromHex(s[i+2])
	return hi<<4 | lo, hi < 16 && lo < 16
}

func fromHex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 0xff
}
