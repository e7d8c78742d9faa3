package rest

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// guard is one level of the fields that the path binds. With it, the wire
// bytes of a body are searched for anything that would change one of them.
type guard struct {
	fields []guarded
}

// guarded is a field that is bound, or is on the way to one.
type guarded struct {
	fd       protoreflect.FieldDescriptor
	variable int    // the index of the variable that binds it, -1 for a parent
	inner    *guard // of a parent
}

// add returns g with the field at the end of path guarded for a variable.
func (g *guard) add(path []protoreflect.FieldDescriptor, variable int) *guard {
	if g == nil {
		g = &guard{}
	}
	i := 0
	for i < len(g.fields) && g.fields[i].fd.Number() != path[0].Number() {
		i++
	}
	if i == len(g.fields) {
		g.fields = append(g.fields, guarded{fd: path[0], variable: -1})
	}
	if len(path) == 1 {
		g.fields[i].variable = variable
	} else {
		g.fields[i].inner = g.fields[i].inner.add(path[1:], variable)
	}
	return g
}

// finding is what a search found: the variable whose field would change, or
// that the bytes are no message.
type finding int

const (
	nothingFound finding = -1
	malformed    finding = -2
)

// search walks wire, the bytes of a message of g's level. Equal values pass,
// whatever the number of times; another member of a bound field's oneof would
// clear it and is found.
func (g *guard) search(wire []byte, elements [][]byte) finding {
	for len(wire) > 0 {
		f, rest, ok := nextField(wire)
		if !ok {
			return malformed
		}
		wire = rest
		for i := range g.fields {
			if found := g.fields[i].check(f, elements); found != nothingFound {
				return found
			}
		}
	}
	return nothingFound
}

func (b *guarded) check(f wireField, elements [][]byte) finding {
	if f.num != b.fd.Number() {
		if b.excludes(f.num) {
			return finding(b.anyVariable())
		}
		return nothingFound
	}
	if b.variable >= 0 {
		if b.fd.IsList() || !sameValue(b.fd, f, elements[b.variable]) {
			return finding(b.variable)
		}
		return nothingFound
	}
	content, ok := f.content()
	if !ok {
		return finding(b.anyVariable())
	}
	return b.inner.search(content, elements)
}

// excludes reports whether setting the field num clears b's.
func (b *guarded) excludes(num protowire.Number) bool {
	oneof := b.fd.ContainingOneof()
	return oneof != nil && !oneof.IsSynthetic() && oneof.Fields().ByNumber(num) != nil
}

// anyVariable returns a variable that is bound at or below b.
func (b *guarded) anyVariable() int {
	for b.variable < 0 {
		b = &b.inner.fields[0]
	}
	return b.variable
}
