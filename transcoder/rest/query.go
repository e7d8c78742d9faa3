package rest

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// fieldsOf reads the parameters of a query string, or of a form, into the tree.
type fieldsOf struct {
	x     *exchange
	t     *tree
	where string // "query parameter" or "form field", for refusals
	// base and prefix are where in the request the parameters' names start.
	base   int32
	prefix []protoreflect.FieldDescriptor
	// covered are the fields to what the body fills; withBody says that the
	// body fills everything.
	covered  []protoreflect.FieldDescriptor
	withBody bool
	bad      violations
}

// read splits raw (application/x-www-form-urlencoded, WHATWG URL section 5.1)
// and sets a field for each parameter. Only "&" separates.
func (f *fieldsOf) read(raw string) error {
	plus := f.x.plan.set.plainPlus && f.where == inQuery
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, ok := decodeQuery(name, plus)
		if !ok {
			f.bad.add("", fmt.Sprintf("%s: malformed percent-encoding in a name", f.where))
			continue
		}
		text, ok := decodeQuery(value, plus)
		if !ok {
			f.bad.add(clip(name), fmt.Sprintf("%s %q: malformed percent-encoding", f.where, clip(name)))
			continue
		}
		f.set(name, text)
		if f.bad.full() || len(f.t.nodes) > maxParameters {
			break
		}
	}
	if len(f.t.nodes) > maxParameters {
		f.bad.add("", fmt.Sprintf("%s: more than %d in one request", f.where, maxParameters))
	}
	return f.bad.err()
}

const (
	inQuery = "query parameter"
	inForm  = "form field"
)

// set sets the field that name means to text, or notes why it cannot.
func (f *fieldsOf) set(name, text string) {
	set := f.x.plan.set
	if set.ignored[name] {
		return
	}
	target, problem := f.find(name)
	switch problem {
	case unknown:
		if !set.ignoreQuery {
			f.refuse(name, name, "names no field of "+string(f.x.plan.input.FullName()))
		}
		return
	case notMessage:
		f.refuse(pathOf(target.path), name, "goes below a field that is not a message")
		return
	case tooDeep:
		f.refuse(clip(name), name, fmt.Sprintf("nests deeper than %d messages", maxTreeDepth))
		return
	}
	if i, reason := f.place(&target, text); reason != "" {
		f.refuse(pathOf(target.path), name, reason)
	} else if i != 0 {
		f.store(i, name, &target, text)
	}
}

func (f *fieldsOf) refuse(field, name, reason string) {
	f.bad.add(clip(field), fmt.Sprintf("%s %q: %s", f.where, clip(name), reason))
}

// target is what a parameter's name means.
type target struct {
	path   []protoreflect.FieldDescriptor // from the request message on
	key    string                         // of m[key]
	hasKey bool
}

func (t *target) field() protoreflect.FieldDescriptor { return t.path[len(t.path)-1] }

type problem int

const (
	found problem = iota
	unknown
	notMessage
	tooDeep
)

// find resolves "sub.name" and "sub.m[key]", each part by either of its names.
func (f *fieldsOf) find(name string) (target, problem) {
	var t target
	if strings.HasSuffix(name, "]") {
		if i := strings.IndexByte(name, '['); i > 0 {
			name, t.key, t.hasKey = name[:i], name[i+1:len(name)-1], true
		}
	}
	md := f.x.plan.input
	t.path = append(f.x.scratch.path[:0], f.prefix...)
	if n := len(f.prefix); n > 0 {
		md = f.prefix[n-1].Message()
	}
	for {
		if md == nil {
			return t, notMessage
		}
		if len(t.path) >= maxTreeDepth {
			return t, tooDeep
		}
		part, rest, more := strings.Cut(name, ".")
		fd := fieldByName(md, part)
		if fd == nil {
			return t, unknown
		}
		t.path = append(t.path, fd)
		if !more {
			f.x.scratch.path = t.path
			return t, found
		}
		name, md = rest, singular(t.path)
	}
}

// place finds or makes the node for a target. It returns 0 and no reason when
// there is nothing to do: the value is ignored, or equal to the path's.
func (f *fieldsOf) place(t *target, text string) (int32, string) {
	at := f.base
	ignored := f.coversAll() || f.covers(t.path)
	for depth := len(f.prefix); depth < len(t.path); depth++ {
		fd := t.path[depth]
		i := f.t.child(at, fd)
		if i != 0 && f.t.nodes[i].leaf && f.t.nodes[i].bound {
			return 0, f.compare(i, t, depth, text)
		}
		if ignored {
			if i == 0 || depth == len(t.path)-1 {
				break
			}
			at = i
			continue
		}
		if r := f.t.rival(at, fd); r != 0 {
			return 0, f.rivalry(r, fd)
		}
		if i == 0 {
			i = f.t.add(at, fd)
		} else if reason := f.again(i, t, depth); reason != "" {
			return 0, reason
		}
		at = i
	}
	if !ignored {
		return at, ""
	}
	if f.x.plan.set.lax {
		return 0, ""
	}
	return 0, "the body sets this field, so the query cannot"
}

func (f *fieldsOf) coversAll() bool { return f.withBody }

// covers reports whether the body fills the field at path, a part of it, or a
// message that it is in.
func (f *fieldsOf) covers(path []protoreflect.FieldDescriptor) bool {
	if len(f.covered) == 0 {
		return false
	}
	for i := range min(len(path), len(f.covered)) {
		if path[i].Number() != f.covered[i].Number() {
			return false
		}
	}
	return true
}

// compare lets a parameter for a field of the path pass only with an equal value.
func (f *fieldsOf) compare(i int32, t *target, depth int, text string) string {
	const reason = "the path binds this field, so nothing else can set it"
	if depth < len(t.path)-1 || t.hasKey || t.path[depth].IsList() {
		return reason
	}
	lo := len(f.t.arena)
	arena, bad := f.x.door.values.append(f.t.arena, t.field(), text, f.x.plan.set.lax)
	f.t.arena = arena[:lo]
	if bad != "" || string(arena[lo:]) != string(f.t.element(i)) {
		return reason
	}
	return ""
}

func (f *fieldsOf) rivalry(other int32, fd protoreflect.FieldDescriptor) string {
	n := &f.t.nodes[other]
	if n.bound {
		return fmt.Sprintf("it would clear %q of oneof %q, which the path binds", n.fd.Name(), fd.ContainingOneof().Name())
	}
	return fmt.Sprintf("%q of the same oneof %q is set, too", n.fd.Name(), fd.ContainingOneof().Name())
}

// again says whether a field that is set already may be set again.
func (f *fieldsOf) again(i int32, t *target, depth int) string {
	n := &f.t.nodes[i]
	last := depth == len(t.path)-1
	switch {
	case last && (n.fd.IsList() || n.fd.IsMap()):
		return ""
	case last && n.leaf:
		return "set more than once"
	case last && n.bound:
		return "the path binds a part of this field, so nothing else can set it"
	case last, n.leaf:
		return "set as a whole and in parts"
	}
	return ""
}

// store reads text as the value of node i.
func (f *fieldsOf) store(i int32, name string, t *target, text string) {
	fd := t.field()
	lo := len(f.t.arena)
	var bad reason
	switch {
	case fd.IsMap():
		bad = f.entry(i, t, text)
	case t.hasKey:
		bad = "only a map takes a key"
	case fd.IsList():
		bad = f.item(i, fd, text)
	default:
		f.t.arena, bad = f.x.door.values.append(f.t.arena, fd, text, f.x.plan.set.lax)
		f.t.keep(i, lo)
	}
	if bad != "" {
		f.refuse(pathOf(t.path), name, string(bad))
	}
}

func (f *fieldsOf) item(list int32, fd protoreflect.FieldDescriptor, text string) reason {
	if fd.Message() != nil && !f.x.plan.set.lax {
		return "a repeated message cannot be set here"
	}
	lo := len(f.t.arena)
	var bad reason
	f.t.arena, bad = f.x.door.values.append(f.t.arena, fd, text, f.x.plan.set.lax)
	f.t.keep(f.t.add(list, fd), lo)
	return bad
}

func (f *fieldsOf) entry(m int32, t *target, text string) reason {
	fd := t.field()
	switch {
	case !t.hasKey:
		return `a map is set as name[key]=value`
	case fd.MapValue().Message() != nil && !f.x.plan.set.lax:
		return "a map of messages cannot be set here"
	}
	lo := len(f.t.arena)
	arena := protowire.AppendTag(f.t.arena, 1, wireType(fd.MapKey()))
	at := len(arena)
	arena, bad := f.x.door.values.append(arena, fd.MapKey(), t.key, f.x.plan.set.lax)
	if bad != "" {
		return "its key is " + bad
	}
	key := mapKey{node: m, key: string(arena[at:])}
	if _, twice := f.t.keys[key]; twice {
		return "set more than once"
	}
	if f.t.keys == nil {
		f.t.keys = map[mapKey]struct{}{}
	}
	f.t.keys[key] = struct{}{}
	arena = protowire.AppendTag(arena, 2, wireType(fd.MapValue()))
	arena, bad = f.x.door.values.append(arena, fd.MapValue(), text, f.x.plan.set.lax)
	f.t.arena = insertLength(arena, lo)
	f.t.keep(f.t.add(m, fd), lo)
	return bad
}

// decodeQuery undoes percent-encoding and, unless plus, makes "+" a space.
func decodeQuery(s string, plus bool) (string, bool) {
	if strings.IndexByte(s, '%') < 0 && (plus || strings.IndexByte(s, '+') < 0) {
		return s, true
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+' && !plus:
			b.WriteByte(' ')
		case c == '%':
			d, ok := decodeHex(s, i)
			if !ok {
				return "", false
			}
			b.WriteByte(d)
			i += 2
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), true
}
