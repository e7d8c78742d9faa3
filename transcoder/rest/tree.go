package rest

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// tree collects the fields that the path and the query set, so that each
// message on the way is written once, whatever the order of the parameters.
// Its memory is reused from call to call.
type tree struct {
	nodes []node
	arena []byte // the elements of leaves
	keys  map[mapKey]struct{}
}

// node is a field that is set. The first node is the message itself.
type node struct {
	fd                protoreflect.FieldDescriptor
	first, last, next int32 // children and siblings, 0 for none
	lo, hi            int32 // a leaf's element in the arena
	leaf              bool
	bound             bool // set by the path, or on the way to such a field
}

type mapKey struct {
	node int32
	key  string
}

const (
	maxParameters = 10_000 // fields that one request may set by path and query
	maxTreeDepth  = 100
)

func (t *tree) reset() {
	clear(t.nodes)
	t.nodes = append(t.nodes[:0], node{})
	t.arena = t.arena[:0]
	clear(t.keys)
}

// child returns the child of parent for fd, 0 when there is none.
func (t *tree) child(parent int32, fd protoreflect.FieldDescriptor) int32 {
	for i := t.nodes[parent].first; i != 0; i = t.nodes[i].next {
		if t.nodes[i].fd.Number() == fd.Number() {
			return i
		}
	}
	return 0
}

// rival returns a child of parent that is another member of fd's oneof.
func (t *tree) rival(parent int32, fd protoreflect.FieldDescriptor) int32 {
	oneof := fd.ContainingOneof()
	if oneof == nil || oneof.IsSynthetic() {
		return 0
	}
	for i := t.nodes[parent].first; i != 0; i = t.nodes[i].next {
		other := t.nodes[i].fd
		if other.Number() != fd.Number() && oneof.Fields().ByNumber(other.Number()) != nil {
			return i
		}
	}
	return 0
}

// add appends a child to parent. fd may stand there already: elements of a
// list are siblings below their list's node.
func (t *tree) add(parent int32, fd protoreflect.FieldDescriptor) int32 {
	i := int32(len(t.nodes))
	t.nodes = append(t.nodes, node{fd: fd})
	p := &t.nodes[parent]
	if p.first == 0 {
		p.first = i
	} else {
		t.nodes[p.last].next = i
	}
	p.last = i
	return i
}

func (t *tree) element(i int32) []byte { return t.arena[t.nodes[i].lo:t.nodes[i].hi] }

// keep makes the arena's bytes from lo on the element of node i.
func (t *tree) keep(i int32, lo int) {
	n := &t.nodes[i]
	n.lo, n.hi, n.leaf = int32(lo), int32(len(t.arena)), true
}

// paths appends the field paths of all leaves below node i that the path does
// not bind.
func (t *tree) paths(dst []string, i int32, prefix string) []string {
	for c := t.nodes[i].first; c != 0; c = t.nodes[c].next {
		n := &t.nodes[c]
		path := prefix + string(n.fd.Name())
		switch {
		case n.bound && n.leaf:
		case n.leaf, n.fd.IsList(), n.fd.IsMap():
			dst = append(dst, path)
		default:
			dst = t.paths(dst, c, path+".")
		}
	}
	return dst
}

// write appends the fields below node i to dst.
func (t *tree) write(dst []byte, i int32) []byte {
	for c := t.nodes[i].first; c != 0; c = t.nodes[c].next {
		n := &t.nodes[c]
		switch {
		case n.fd.IsList(), n.fd.IsMap():
			dst = t.writeList(dst, c)
		case !n.leaf:
			var start int
			dst, start = appendField(dst, n.fd)
			dst = endField(t.write(dst, c), n.fd, start)
		case n.bound || n.fd.HasPresence() || !isZero(t.element(c)):
			dst = t.writeLeaf(dst, n.fd, c)
		}
	}
	return dst
}

func (t *tree) writeLeaf(dst []byte, fd protoreflect.FieldDescriptor, i int32) []byte {
	if fd.Kind() != protoreflect.GroupKind {
		dst = protowire.AppendTag(dst, fd.Number(), wireType(fd))
		return append(dst, t.element(i)...)
	}
	content, _ := protowire.ConsumeBytes(t.element(i))
	dst = protowire.AppendTag(dst, fd.Number(), protowire.StartGroupType)
	return protowire.AppendTag(append(dst, content...), fd.Number(), protowire.EndGroupType)
}

func (t *tree) writeList(dst []byte, i int32) []byte {
	fd := t.nodes[i].fd
	if !fd.IsPacked() {
		for c := t.nodes[i].first; c != 0; c = t.nodes[c].next {
			dst = t.writeLeaf(dst, fd, c)
		}
		return dst
	}
	dst = protowire.AppendTag(dst, fd.Number(), protowire.BytesType)
	start := len(dst)
	for c := t.nodes[i].first; c != 0; c = t.nodes[c].next {
		dst = append(dst, t.element(c)...)
	}
	return insertLength(dst, start)
}
