package router

import (
	"fmt"
	"strings"

	"github.com/transomhq/transom/router/httprule"
	"github.com/transomhq/transom/rpc"
)

// Warning is a pair of bindings with one HTTP method that match some of the
// same paths. Here the more particular one always takes them; grpc-gateway
// gives them to the one that is registered last, which is the other.
type Warning struct {
	Taken *rpc.Binding // the more particular one, which gets the requests here
	Other *rpc.Binding // the one declared later
	// Example is a path that both match.
	Example string
}

// String says what happens, with both origins and the example.
func (w Warning) String() string {
	return fmt.Sprintf("%s%s and %s both match %s: the first takes it, being more particular, though grpc-gateway would ask the second, declared later",
		at(w.Taken), show(w.Taken), where(w.Other), w.Example)
}

const (
	// maxWarnings bounds how many warnings are worth reading.
	maxWarnings = 1000
	// overlapSteps bounds how many nodes are looked at for one binding, so
	// that a table is built in linear time whatever its templates are. A
	// template that begins with wildcards may then leave some pairs unnamed;
	// which binding takes a request is not touched by that.
	overlapSteps = 256
)

// findOverlaps returns the warnings of a table.
func findOverlaps(t *Table, top *node) []Warning {
	o := &overlaps{pairs: map[[2]int]bool{}}
	for _, b := range t.bindings {
		if len(o.warnings) >= maxWarnings {
			break
		}
		o.of, o.method, o.steps = b, t.intern(b.HTTPMethod), overlapSteps
		o.down(top, 0)
	}
	return o.warnings
}

// overlaps walks the trie with a template in place of a path: a wildcard of
// it fits every segment. Of two templates with "**", or with one, at least one
// finds the other.
type overlaps struct {
	of       *binding
	method   methodIndex
	steps    int
	pairs    map[[2]int]bool
	warnings []Warning
}

func (o *overlaps) spent() bool {
	o.steps--
	return o.steps < 0
}

// down follows the segments of the template from i on, below n.
func (o *overlaps) down(n *node, i int) {
	if o.spent() {
		return
	}
	if i == len(o.of.segments) {
		o.end(n)
		if n.deep != nil {
			o.end(n.deep)
		}
		return
	}
	if n.deep != nil {
		o.tail(n.deep, i, len(o.of.segments))
	}
	s := o.of.segments[i]
	if s.kind == httprule.Deep {
		return // those without "**" find this one themselves
	}
	if s.kind == httprule.Literal {
		if c := n.byText[s.text]; c != nil {
			o.down(c, i+1)
		}
	} else {
		for _, e := range n.lits {
			if o.steps <= 0 {
				return
			}
			o.down(e.to, i+1)
		}
	}
	if n.star != nil {
		o.down(n.star, i+1)
	}
}

// tail follows the literals behind a "**" in the trie, backwards: the segments
// of the template from j on fit, those before i are spoken for.
func (o *overlaps) tail(n *node, i, j int) {
	if o.spent() {
		return
	}
	o.end(n)
	if len(n.lits) == 0 || j <= i {
		return
	}
	s := o.of.segments[j-1]
	switch s.kind {
	case httprule.Literal:
		if c := n.byText[s.text]; c != nil {
			o.tail(c, i, j-1)
		}
	case httprule.Single:
		for _, e := range n.lits {
			o.tail(e.to, i, j-1)
		}
	case httprule.Deep:
		for _, e := range n.lits {
			o.tail(e.to, i, j) // "**" takes as many as there are
		}
	}
}

// end notes what ends at n with the same verb and HTTP method.
func (o *overlaps) end(n *node) {
	for _, l := range n.leaves {
		if l.verb == o.of.verb && l.method == o.method && l.binding != o.of {
			o.note(o.of, l.binding)
		}
	}
}

// note warns of the pair if grpc-gateway would choose the other one.
func (o *overlaps) note(a, b *binding) {
	if b.order < a.order {
		a, b = b, a
	}
	key := [2]int{a.order, b.order}
	if o.pairs[key] || len(o.warnings) >= maxWarnings || !precedes(a, b) {
		return
	}
	o.pairs[key] = true
	o.warnings = append(o.warnings, Warning{Taken: a.Binding, Other: b.Binding, Example: example(a, b)})
}

// precedes reports whether a, which overlaps b, takes the paths of both.
func precedes(a, b *binding) bool {
	for i := range a.segments {
		if i == len(b.segments) {
			return false // b ends where a may go on with nothing
		}
		ka, kb := a.segments[i].kind, b.segments[i].kind
		if ka != kb {
			return ka < kb
		}
		if ka == httprule.Deep {
			return len(a.segments) > len(b.segments)
		}
	}
	return true
}

// example returns a path that both templates match, which overlap.
func example(a, b *binding) string {
	n := max(a.prefix(), b.prefix()) + max(a.suffix(), b.suffix())
	if a.deep < 0 {
		n = len(a.segments)
	} else if b.deep < 0 {
		n = len(b.segments)
	}
	sa, sb := a.spread(n), b.spread(n)
	var path strings.Builder
	for i := range sa {
		path.WriteByte('/')
		switch {
		case sa[i].kind == httprule.Literal:
			path.WriteString(sa[i].text)
		case sb[i].kind == httprule.Literal:
			path.WriteString(sb[i].text)
		default:
			fmt.Fprintf(&path, "x%d", i+1)
		}
	}
	if n == 0 {
		path.WriteByte('/')
	}
	if a.verb != "" {
		path.WriteString(":" + a.verb)
	}
	return path.String()
}

// prefix and suffix are how many segments stand before and after the "**".
func (b *binding) prefix() int {
	if b.deep < 0 {
		return len(b.segments)
	}
	return b.deep
}

func (b *binding) suffix() int {
	if b.deep < 0 {
		return 0
	}
	return len(b.segments) - b.deep - 1
}

// spread returns the template's segments for a path of n segments.
func (b *binding) spread(n int) []segment {
	if b.deep < 0 {
		return b.segments
	}
	out := append([]segment(nil), b.segments[:b.deep]...)
	for len(out) < n-b.suffix() {
		out = append(out, segment{kind: httprule.Single})
	}
	return append(out, b.segments[b.deep+1:]...)
}
