package config

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"gopkg.in/yaml.v3"

	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
)

// Bounds of a file, for all that anchors and aliases can make of it.
const (
	maxNodes = 1 << 20
	maxDepth = 100
)

// decoder walks a YAML tree along a message's descriptor.
type decoder struct {
	file   *File
	env    Env
	budget int // nodes that may still be visited
	depth  int
}

// message sets the fields of m from a mapping.
func (d *decoder) message(n *yaml.Node, m protoreflect.Message, path string) {
	n, ok := d.enter(n, path)
	if !ok {
		return
	}
	defer d.leave()
	if n.Kind == yaml.ScalarNode && !isNull(n) && d.shorthand(n, m, path) {
		return
	}
	if isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.wrong(n, path, "want a mapping of fields, not %s", d.describe(n))
		return
	}
	seen := map[protoreflect.Name]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if fd := d.fieldOf(key, m, path, seen); fd != nil {
			d.field(key, value, m, fd, join(path, string(fd.Name())))
		}
	}
}

// fieldOf returns the field that key names, or nil and says what is wrong with it.
func (d *decoder) fieldOf(key *yaml.Node, m protoreflect.Message, path string, seen map[protoreflect.Name]*yaml.Node) protoreflect.FieldDescriptor {
	if key.Kind != yaml.ScalarNode {
		d.file.note(d.file.at(key), path, "want the name of a field, not %s", d.describe(key))
		return nil
	}
	if key.Tag == "!!merge" {
		d.file.wrongAt(d.file.at(key), join(path, key.Value), "merge keys are not supported: name each field")
		return nil
	}
	fields := m.Descriptor().Fields()
	fd := fields.ByName(protoreflect.Name(key.Value))
	if fd == nil {
		fd = fields.ByJSONName(key.Value)
	}
	if fd == nil {
		d.unknown(key, fields, path)
		return nil
	}
	at := join(path, string(fd.Name()))
	if first := seen[fd.Name()]; first != nil {
		d.file.note(d.file.at(key), at, "is set twice, first in line %d", first.Line)
		return nil
	}
	seen[fd.Name()] = key
	if one := fd.ContainingOneof(); one != nil && !one.IsSynthetic() {
		for i := range one.Fields().Len() {
			if other := one.Fields().Get(i); other != fd && seen[other.Name()] != nil {
				d.file.wrongAt(d.file.at(key), at, "excludes %s, which is set in line %d", other.Name(), seen[other.Name()].Line)
				return nil
			}
		}
	}
	return fd
}

// unknown notes that key names no field. What it was probably meant to be is
// not called missing, too.
func (d *decoder) unknown(key *yaml.Node, fields protoreflect.FieldDescriptors, path string) {
	known := make([]string, fields.Len())
	for i := range known {
		known[i] = string(fields.Get(i).Name())
	}
	d.file.wrongAt(d.file.at(key), join(path, quoteName(key.Value)), "unknown field; %s", suggest(key.Value, known))
	if meant := nearest(key.Value, known); meant != "" {
		d.file.bad[join(path, meant)] = true
	}
}

// quoteName shortens a name that somebody made up, and keeps it one line.
func quoteName(name string) string {
	for _, r := range name {
		if r < ' ' || r == '.' || r == '[' || r > '~' {
			return quote(name)
		}
	}
	if name == "" || len(name) > maxQuoted {
		return quote(name)
	}
	return name
}

// field sets one field of m.
func (d *decoder) field(key, n *yaml.Node, m protoreflect.Message, fd protoreflect.FieldDescriptor, path string) {
	d.place(key, n, path)
	if isNull(n) {
		return
	}
	switch {
	case fd.IsMap():
		d.mapping(n, m.Mutable(fd).Map(), fd, path)
	case fd.IsList():
		d.list(n, m.Mutable(fd).List(), fd, path)
	case fd.Message() != nil && !isScalar(fd.Message()):
		d.message(n, m.Mutable(fd).Message(), path)
	default:
		if v, ok := d.scalar(n, fd, path); ok {
			m.Set(fd, v)
		}
	}
}

// place notes where path was written: a text at its own place, a group of
// fields or elements at its name.
func (d *decoder) place(key, n *yaml.Node, path string) {
	if n.Kind == yaml.ScalarNode && !isNull(n) {
		key = n
	}
	d.file.places[path] = d.file.at(key)
}

func (d *decoder) list(n *yaml.Node, list protoreflect.List, fd protoreflect.FieldDescriptor, path string) {
	n, ok := d.enter(n, path)
	if !ok {
		return
	}
	defer d.leave()
	if n.Kind != yaml.SequenceNode {
		d.wrong(n, path, "want a list, not %s; a list of one is written [...]", d.describe(n))
		return
	}
	for i, item := range n.Content {
		at := element(path, i)
		d.place(item, item, at)
		if isNull(item) {
			d.wrong(item, at, "want %s, not nothing", wanted(fd))
			continue
		}
		if fd.Message() != nil && !isScalar(fd.Message()) {
			v := list.NewElement()
			d.message(item, v.Message(), at)
			list.Append(v)
		} else if v, ok := d.scalar(item, fd, at); ok {
			list.Append(v)
		}
	}
}

func (d *decoder) mapping(n *yaml.Node, m protoreflect.Map, fd protoreflect.FieldDescriptor, path string) {
	n, ok := d.enter(n, path)
	if !ok {
		return
	}
	defer d.leave()
	if n.Kind != yaml.MappingNode {
		d.wrong(n, path, "want a mapping, not %s", d.describe(n))
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, item := n.Content[i], n.Content[i+1]
		at := path + "[" + quote(key.Value) + "]"
		k, ok := d.scalar(key, fd.MapKey(), at)
		if !ok {
			continue
		}
		if m.Has(k.MapKey()) {
			d.file.note(d.file.at(key), at, "is set twice")
			continue
		}
		d.place(key, item, at)
		value := fd.MapValue()
		if value.Message() != nil && !isScalar(value.Message()) {
			v := m.NewValue()
			d.message(item, v.Message(), at)
			m.Set(k.MapKey(), v)
		} else if v, ok := d.scalar(item, value, at); ok {
			m.Set(k.MapKey(), v)
		}
	}
}

// shorthand sets a message that may be written as a text: a secret's value.
func (d *decoder) shorthand(n *yaml.Node, m protoreflect.Message, path string) bool {
	secret, ok := m.Interface().(*configv1.Secret)
	if !ok {
		return false
	}
	if text, ok := d.text(n, path); ok {
		secret.Value = text
	}
	return true
}

// enter follows aliases and counts; leave must follow if it reports true.
func (d *decoder) enter(n *yaml.Node, path string) (*yaml.Node, bool) {
	for hops := 0; n.Kind == yaml.AliasNode && n.Alias != nil && hops < maxDepth; hops++ {
		n = n.Alias
	}
	d.budget--
	if d.budget < 0 || d.depth >= maxDepth {
		d.wrong(n, path, "is too large with all its aliases")
		return nil, false
	}
	if n.Style&yaml.TaggedStyle != 0 && !strings.HasPrefix(n.Tag, "!!") {
		d.wrong(n, path, "tag %s is not known", quoteName(n.Tag))
		return nil, false
	}
	d.depth++
	return n, true
}

func (d *decoder) leave() { d.depth-- }

func (d *decoder) wrong(n *yaml.Node, path, format string, args ...any) {
	d.file.wrongAt(d.file.at(n), path, format, args...)
}

const maxQuoted = 60

// quote writes a text of the file for an error, shortened.
func quote(s string) string {
	if r := []rune(s); len(r) > maxQuoted {
		s = string(r[:maxQuoted-3]) + "..."
	}
	return fmt.Sprintf("%q", s)
}

// describe says what n is. Texts are shown as they are in the file, with
// variables unresolved: what a variable holds may be a secret.
func (d *decoder) describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind != yaml.ScalarNode:
		return "an alias of itself"
	case isNull(n):
		return "nothing"
	}
	return quote(n.Value)
}

// isNull reports whether n says nothing: "key:", "key: null", "key: ~".
func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Tag == "!!null"
}
