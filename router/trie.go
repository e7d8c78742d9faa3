package router

import (
	"strings"

	"github.com/transomhq/transom/rpc"
)

// trie is the trie that paths are matched with: what node says, packed into a
// few arrays without pointers, so that the parts that one match touches lie in
// few cache lines. Index 0 of places and routes means none.
type trie struct {
	places   []place
	slots    []slot
	routes   []route
	captures []capture
	text     string // of all literals and verbs
}

// root is the index of the place where every path starts.
const root = 1

// place is a node.
type place struct {
	slots uint32 // the first slot of the literal children
	// mask is the number of slots minus one where they are a hash table with
	// free places, 0 where they are a list of lits.
	mask       uint32
	star, deep uint32 // places
	routes     uint32 // the first route that ends here
	ends       uint32 // how many routes end here
	lits       uint16
}

// slot is a literal child. In a hash table, to is 0 where it is free, and hash
// is the fingerprint.
type slot struct {
	hash    uint32
	at, len uint32 // of the text
	to      uint32 // place
}

// route is a binding that ends at a place.
type route struct {
	binding  *rpc.Binding
	verb     uint32 // of the text
	verbLen  uint32
	captures uint32 // the first
	vars     uint16 // how many
	method   methodIndex
}

// linear is how many literals are compared one by one before hashing pays.
const linear = 6

// packer packs nodes, the children that follow a literal right behind it.
type packer struct {
	trie
	text  strings.Builder
	words map[string]uint32 // texts packed already
}

func pack(n *node) *trie {
	p := &packer{words: map[string]uint32{}}
	p.places = make([]place, 1)
	p.routes = make([]route, 1)
	p.place(n)
	p.trie.text = p.text.String()
	return &p.trie
}

func (p *packer) word(text string) uint32 {
	at, ok := p.words[text]
	if !ok {
		at = uint32(p.text.Len())
		p.text.WriteString(text)
		p.words[text] = at
	}
	return at
}

func (p *packer) place(n *node) uint32 {
	if n == nil {
		return 0
	}
	at := uint32(len(p.places))
	p.places = append(p.places, place{routes: uint32(len(p.routes)), ends: uint32(len(n.leaves))})
	for _, l := range n.leaves {
		p.routes = append(p.routes, route{
			binding: l.Binding, verb: p.word(l.verb), verbLen: uint32(len(l.verb)),
			captures: uint32(len(p.captures)), vars: uint16(len(l.vars)), method: l.method,
		})
		p.captures = append(p.captures, l.vars...)
	}
	star, deep := p.place(n.star), p.place(n.deep)
	q := &p.places[at]
	q.star, q.deep = star, deep
	p.literals(at, n)
	return at
}

// literals packs the literal children of n, which is packed at.
func (p *packer) literals(at uint32, n *node) {
	first, size := len(p.slots), len(n.lits)
	if size > linear {
		for size = 16; size < 2*len(n.lits); size *= 2 {
		}
		p.places[at].mask = uint32(size - 1)
	} else {
		p.places[at].lits = uint16(size)
	}
	p.places[at].slots = uint32(first)
	p.slots = append(p.slots, make([]slot, size)...)
	for i, e := range n.lits {
		if size > linear {
			mask := size - 1
			for i = int(hash(e.text)) & mask; p.slots[first+i].to != 0; i = (i + 1) & mask {
			}
		}
		s := slot{hash(e.text), p.word(e.text), uint32(len(e.text)), 0}
		s.to = p.place(e.to)
		p.slots[first+i] = s
	}
}

// find returns the literal child of n for the text, 0 where there is none.
func find[T string | []byte](t *trie, n *place, text T) uint32 {
	if n.mask == 0 {
		for i := n.slots; i < n.slots+uint32(n.lits); i++ {
			if s := &t.slots[i]; t.text[s.at:s.at+s.len] == string(text) {
				return s.to
			}
		}
		return 0
	}
	h := hash(text)
	for i := h & n.mask; ; i = (i + 1) & n.mask {
		s := &t.slots[n.slots+i]
		if s.to == 0 {
			return 0
		}
		if s.hash == h && t.text[s.at:s.at+s.len] == string(text) {
			return s.to
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

// verbIs reports whether r has the canonical verb.
func verbIs[T string | []byte](t *trie, r *route, verb T) bool {
	return int(r.verbLen) == len(verb) && t.text[r.verb:r.verb+r.verbLen] == string(verb)
}
