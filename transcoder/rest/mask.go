package rest

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maskPlan fills the FieldMask of a PATCH from the keys of its body (AIP-134),
// so that what the client did not send is not overwritten.
type maskPlan struct {
	field protoreflect.FieldDescriptor
	body  protoreflect.MessageDescriptor
}

// newMaskPlan returns nil where the body is not a message field, or the
// request has not exactly one FieldMask beside it.
func newMaskPlan(p *plan) *maskPlan {
	if p.body.kind != fieldBody || p.body.message == nil || p.body.httpBody || isTextual(p.body.message) || isJSONText(p.body.message) {
		return nil
	}
	var mask protoreflect.FieldDescriptor
	for i := range p.input.Fields().Len() {
		fd := p.input.Fields().Get(i)
		if fd.Message() == nil || fd.IsList() || fd.IsMap() || fd.Message().FullName() != "google.protobuf.FieldMask" || fd == p.body.fields[0] {
			continue
		}
		if mask != nil {
			return nil
		}
		mask = fd
	}
	if mask == nil {
		return nil
	}
	return &maskPlan{field: mask, body: p.body.message}
}

// fillMask appends the mask of a body when the client sent none. t holds what
// path and query say, and what a form says.
func (x *exchange) fillMask(wire, body []byte, kind contentKind, t *tree) []byte {
	m := x.plan.mask
	if m == nil || t.child(0, m.field) != 0 {
		return wire
	}
	var paths []string
	switch kind {
	case contentJSON:
		paths = (&keyScanner{text: body, blind: x.plan.set.lax}).paths(m.body)
	case contentProto:
		paths = wirePaths(nil, m.body, body, "")
	case contentForm:
		paths = x.formPaths(t)
	case contentNone, contentRaw:
	}
	slices.Sort(paths)
	wire, start := appendField(wire, m.field)
	for _, p := range slices.Compact(paths) {
		wire = protowire.AppendTag(wire, 1, protowire.BytesType)
		wire = protowire.AppendString(wire, p)
	}
	return endField(wire, m.field, start)
}

// formPaths returns the field paths of all leaves that a form set below the
// field that the body fills.
func (x *exchange) formPaths(t *tree) []string {
	at := int32(0)
	for _, fd := range x.plan.body.fields {
		if at = t.child(at, fd); at == 0 {
			return nil
		}
	}
	return t.paths(nil, at, "")
}

// wirePaths appends the field paths of all leaves of wire, a valid message of
// type md, at prefix.
func wirePaths(dst []string, md protoreflect.MessageDescriptor, wire []byte, prefix string) []string {
	for len(wire) > 0 {
		f, rest, ok := nextField(wire)
		if !ok {
			return dst
		}
		wire = rest
		fd := md.Fields().ByNumber(f.num)
		if fd == nil {
			continue
		}
		path := prefix + string(fd.Name())
		inner := fd.Message()
		if content, ok := f.content(); ok && inner != nil && len(content) > 0 && !fd.IsList() && !fd.IsMap() && !isWhole(inner) {
			dst = wirePaths(dst, inner, content, path+".")
		} else {
			dst = append(dst, path)
		}
	}
	return dst
}

// isWhole reports whether the paths of a mask end at fields of type md.
func isWhole(md protoreflect.MessageDescriptor) bool {
	return isTextual(md) || isJSONText(md) || md.FullName() == "google.protobuf.Any"
}

// keyScanner reads the keys of a JSON text that a codec has taken already, so
// that it is known to be well-formed and not too deep.
type keyScanner struct {
	text  []byte
	at    int
	blind bool // go into google.protobuf.Struct, as grpc-gateway does
	found []string
}

// paths returns the field paths of all leaves.
func (k *keyScanner) paths(md protoreflect.MessageDescriptor) []string {
	if k.space(); k.at < len(k.text) && k.text[k.at] == '{' {
		k.object(md, "")
	}
	return k.found
}

// object reads a JSON object of type md, or of no known type, at prefix. It
// reports whether there was a member.
func (k *keyScanner) object(md protoreflect.MessageDescriptor, prefix string) bool {
	k.at++ // "{"
	some := false
	for {
		k.space()
		if k.at >= len(k.text) || k.text[k.at] == '}' {
			k.at++
			return some
		}
		if k.text[k.at] == ',' {
			k.at++
			continue
		}
		some = true
		key := k.key()
		k.space()
		k.at++ // ":"
		k.space()
		k.member(md, prefix, key)
	}
}

func (k *keyScanner) member(md protoreflect.MessageDescriptor, prefix, key string) {
	var inner protoreflect.MessageDescriptor
	if md != nil {
		fd := fieldByName(md, key)
		if fd == nil { // unknown, and left out
			k.skip()
			return
		}
		key = string(fd.Name())
		if inner = fd.Message(); fd.IsList() || fd.IsMap() {
			k.found = append(k.found, prefix+key)
			k.skip()
			return
		}
	}
	path := prefix + key
	deep := md == nil || inner != nil && k.descends(inner)
	if deep && k.at < len(k.text) && k.text[k.at] == '{' {
		if inner != nil && isJSONText(inner) {
			inner = nil
		}
		if k.object(inner, path+".") {
			return
		}
	} else {
		k.skip()
	}
	k.found = append(k.found, path)
}

// descends reports whether the paths of a field of type md go into it.
func (k *keyScanner) descends(md protoreflect.MessageDescriptor) bool {
	if isJSONText(md) {
		return k.blind
	}
	return md.FullName() != "google.protobuf.Any"
}

func (k *keyScanner) space() {
	for k.at < len(k.text) && strings.IndexByte(" \t\r\n", k.text[k.at]) >= 0 {
		k.at++
	}
}

// key reads a string.
func (k *keyScanner) key() string {
	start := k.at
	k.skipString()
	raw := k.text[start:min(k.at, len(k.text))]
	if len(raw) > 1 && bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	var s string
	if json.Unmarshal(raw, &s) != nil { // only where the codec has checked less
		return ""
	}
	return s
}

func (k *keyScanner) skipString() {
	for k.at++; k.at < len(k.text) && k.text[k.at] != '"'; k.at++ {
		if k.text[k.at] == '\\' {
			k.at++
		}
	}
	k.at++
}

// skip reads one value.
func (k *keyScanner) skip() {
	depth := 0
	for k.at < len(k.text) {
		switch k.text[k.at] {
		case '"':
			k.skipString()
			if depth == 0 {
				return
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return
			}
			if depth--; depth == 0 {
				k.at++
				return
			}
		case ',':
			if depth == 0 {
				return
			}
		}
		k.at++
	}
}
