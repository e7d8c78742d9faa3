package router

import "github.com/transomhq/transom/router/httprule"

// node is one place in the trie while it is built. Below a deep edge the trie
// is turned round: literals lead from the last segment of a path to the first.
type node struct {
	lits   []edge
	byText map[string]*node // the same as lits
	star   *node
	deep   *node
	leaves []leaf // what ends here
}

type edge struct {
	text string // canonical
	to   *node
}

// leaf is a binding that ends at a node.
type leaf struct {
	verb   string // canonical, "" without
	method methodIndex
	*binding
}

// literal returns the child for the canonical literal text, made if need be.
func (n *node) literal(text string) *node {
	if child := n.byText[text]; child != nil {
		return child
	}
	child := &node{}
	if n.byText == nil {
		n.byText = map[string]*node{}
	}
	n.byText[text] = child
	n.lits = append(n.lits, edge{text, child})
	return child
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

// add ends b here, or returns the binding that does so already for the same
// verb and HTTP method.
func (n *node) add(method methodIndex, b *binding) *binding {
	for _, old := range n.leaves {
		if old.verb == b.verb && old.method == method {
			return old.binding
		}
	}
	n.leaves = append(n.leaves, leaf{b.verb, method, b})
	return nil
}
