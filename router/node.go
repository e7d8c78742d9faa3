package router

import "github.com/transomhq/transom/router/httprule"

// node is one place in the trie. Below a deep edge the trie is turned round:
// literals lead from the last segment of the path towards the first.
type node struct {
	lits   []edge
	slots  []slot // open addressing into lits once there are many; else nil
	star   *node
	deep   *node
	leaves []leaf // bindings that end here, by verb
}

type edge struct {
	text string // canonical
	to   *node
}

// slot is one place of the hash table: the index of an edge plus one, and its
// hash as fingerprint. The zero slot is free.
type slot struct{ hash, edge uint32 }

// linear is how many literals are compared one by one before hashing pays.
const linear = 6

// leaf is what ends at a node with one verb.
type leaf struct {
	verb   string // canonical, "" without
	routes []route
}

// route is one binding, compiled.
type route struct {
	method methodIndex
	*binding
}

// find returns the child for the literal text, nil where there is none.
func find[T string | []byte](n *node, text T) *node {
	if n.slots == nil {
		for i := range n.lits {
			if n.lits[i].text == string(text) {
				return n.lits[i].to
			}
		}
		return nil
	}
	h := hash(text)
	mask := uint32(len(n.slots) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		s := n.slots[i]
		if s.edge == 0 {
			return nil
		}
		if s.hash == h && n.lits[s.edge-1].text == string(text) {
			return n.lits[s.edge-1].to
		}
	}
}

// hash mixes all of text, eight bytes a step. Its seed is fixed: only the
// schema's author chooses what stands in a table, and a client that collides
// with it costs itself one comparison of 32 bits a slot.
func hash[T string | []byte](text T) uint32 {
	const mul = 0x9e3779b97f4a7c15
	h := uint64(len(text)) * mul
	i := 0
	for ; i+8 <= len(text); i += 8 {
		v := uint64(text[i]) | uint64(text[i+1])<<8 | uint64(text[i+2])<<16 | uint64(text[i+3])<<24 |
			uint64(text[i+4])<<32 | uint64(text[i+5])<<40 | uint64(text[i+6])<<48 | uint64(text[i+7])<<56
		h = (h ^ v) * mul
		h ^= h >> 32
	}
	var v uint64
	for ; i < len(text); i++ {
		v = v<<8 | uint64(text[i])
	}
	h = (h ^ v) * mul
	return uint32(h ^ h>>32)
}

// literal returns the child for the canonical literal text, made if need be.
func (n *node) literal(text string) *node {
	if child := find(n, text); child != nil {
		return child
	}
	child := &node{}
	n.lits = append(n.lits, edge{text, child})
	switch {
	case len(n.lits) <= linear:
	case len(n.lits)*2 > len(n.slots):
		n.rehash(max(16, len(n.slots)*2))
	default:
		n.place(len(n.lits) - 1)
	}
	return child
}

func (n *node) rehash(size int) {
	n.slots = make([]slot, size)
	for i := range n.lits {
		n.place(i)
	}
}

func (n *node) place(i int) {
	h := hash(n.lits[i].text)
	mask := uint32(len(n.slots) - 1)
	at := h & mask
	for n.slots[at].edge != 0 {
		at = (at + 1) & mask
	}
	n.slots[at] = slot{h, uint32(i + 1)}
}

// insert returns the node where a template of these segments ends.
func (n *node) insert(segments []segment) *node {
	for i, s := range segments {
		switch s.kind {
		case httprule.Literal:
			n = n.literal(s.text)
		case httprule.Single:
			if n.star == nil {
				n.star = &node{}
			}
			n = n.star
		case httprule.Deep:
			if n.deep == nil {
				n.deep = &node{}
			}
			n = n.deep
			for j := len(segments) - 1; j > i; j-- {
				n = n.literal(segments[j].text)
			}
			return n
		}
	}
	return n
}

// leaf returns what ends here with the canonical verb, nil for nothing.
func (n *node) leaf(verb string) *leaf {
	for i := range n.leaves {
		if n.leaves[i].verb == verb {
			return &n.leaves[i]
		}
	}
	return nil
}

// add puts r into the leaf of verb, or returns the binding that is there
// already for the same HTTP method.
func (n *node) add(verb string, r route) *binding {
	l := n.leaf(verb)
	if l == nil {
		n.leaves = append(n.leaves, leaf{verb: verb})
		l = &n.leaves[len(n.leaves)-1]
	}
	for _, old := range l.routes {
		if old.method == r.method {
			return old.binding
		}
	}
	l.routes = append(l.routes, r)
	return nil
}

// pick returns the route for method: its own, or GET's for HEAD, or that of any.
func (l *leaf) pick(method methodIndex) *binding {
	var get, anyMethod *binding
	for i := range l.routes {
		switch r := &l.routes[i]; r.method {
		case method:
			return r.binding
		case methodGet:
			get = r.binding
		case methodAny:
			anyMethod = r.binding
		}
	}
	if get != nil && method == methodHead {
		return get
	}
	return anyMethod
}
