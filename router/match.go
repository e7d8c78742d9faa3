package router

import (
	"strings"

	"github.com/transomhq/transom/router/httprule"
	"github.com/transomhq/transom/rpc"
)

// Match finds the binding that a request means: httpMethod as sent, and the
// escaped path, without query. It fills m, whose values are slices of
// escapedPath, and allocates only for errors:
//
//   - 400 INVALID_ARGUMENT: the path is malformed (escapes, UTF-8, NUL, empty
//     or dot segments, too many segments); 414 where it is too long
//   - 404 NOT_FOUND: nothing is served there
//   - 405 UNIMPLEMENTED (or Options.WrongMethod): other HTTP methods are
//     served there, which the Allow header lists
func (t *Table) Match(httpMethod, escapedPath string, m *rpc.Match) *rpc.Error {
	m.Reset()
	var starts [fewSegments + 1]uint32
	w := walk{method: t.methodOf(httpMethod), path: path{starts: starts[:]}}
	v, offset := w.cut(escapedPath)
	if v == tooManySegments {
		return t.matchLong(httpMethod, escapedPath, m)
	}
	return t.match(httpMethod, escapedPath, m, &w, v, offset)
}

// matchLong is Match for paths of many segments.
func (t *Table) matchLong(httpMethod, escapedPath string, m *rpc.Match) *rpc.Error {
	var starts [httprule.MaxSegments + 1]uint32
	w := walk{method: t.methodOf(httpMethod), path: path{starts: starts[:]}}
	v, offset := w.cut(escapedPath)
	return t.match(httpMethod, escapedPath, m, &w, v, offset)
}

func (t *Table) match(httpMethod, escapedPath string, m *rpc.Match, w *walk, v verdict, offset int) *rpc.Error {
	switch v {
	case fine:
	case trailingSlash:
		return errNotFound(httpMethod, escapedPath)
	default:
		return errBadPath(v, offset)
	}
	if found := w.run(t); found != nil {
		// Nothing is read out of w but numbers, so that its places may stay on
		// the caller's stack.
		m.Binding = found.Binding
		for i := range found.vars {
			start, end := w.span(&found.vars[i])
			m.Values = append(m.Values, escapedPath[start:end])
		}
		return nil
	}
	if w.wrongMethod {
		return errWrongMethod(httpMethod, escapedPath, t.Allow(escapedPath), t.wrongMethod)
	}
	return errNotFound(httpMethod, escapedPath)
}

// walk is one search for a path in the trie. Its methods return the binding
// that the path means, nil where it means none.
type walk struct {
	path
	method methodIndex
	colon  int    // the first ":" at which a verb may start, -1 for none
	seen   []bool // not nil: find nothing, collect the HTTP methods by index

	wrongMethod bool // something ends here, for another HTTP method
	stopAt      int  // where the last segment ends: at the verb's ":", or the path's end
}

func (w *walk) run(t *Table) *binding {
	w.colon = -1
	if w.n > 0 {
		w.colon = w.lastColon(t.verbColons + 1)
	}
	return w.down(t.root, 0)
}

// child returns the literal child of n for the text that is segment i or, for
// the last one, its part before a verb.
func (w *walk) child(n *node, i int, text string) *node {
	if len(n.lits) == 0 {
		return nil
	}
	if !w.odd(i) {
		return find(n, text)
	}
	return findOdd(n, text)
}

// findOdd is find for a text that may not be in canonical form.
func findOdd(n *node, text string) *node {
	var buf [128]byte
	return find(n, httprule.AppendCanonical(buf[:0], text))
}

// down searches below n, which may be nil, for the segments from i on.
func (w *walk) down(n *node, i int) *binding {
	if n == nil {
		return nil
	}
	switch w.n - i {
	case 0:
		return w.end(n, len(w.text))
	case 1:
		return w.last(n, i)
	}
	if b := w.down(w.child(n, i, w.segment(i)), i+1); b != nil {
		return b
	}
	if b := w.down(n.star, i+1); b != nil {
		return b
	}
	return w.tail(n.deep, i)
}

// last searches below n for segment i, the last one.
func (w *walk) last(n *node, i int) *binding {
	if len(n.lits) > 0 {
		begin := w.start(i)
		for colon := w.colon; colon >= 0; colon = w.nextColon(colon) {
			if b := w.end(w.child(n, i, w.text[begin:colon]), colon); b != nil {
				return b
			}
		}
		if b := w.end(w.child(n, i, w.text[begin:]), len(w.text)); b != nil {
			return b
		}
	}
	if star := n.star; star != nil {
		if b := w.endWild(star); b != nil {
			return b
		}
		if b := w.endWild(star.deep); b != nil {
			return b
		}
	}
	return w.tail(n.deep, i)
}

// tail searches the literals behind a "**", whose first segment is i, from the
// end of the path on: the longest tail is the most particular one.
func (w *walk) tail(n *node, i int) *binding {
	if n == nil {
		return nil
	}
	if len(n.lits) > 0 {
		last := w.n - 1
		begin := w.start(last)
		for colon := w.colon; colon >= 0; colon = w.nextColon(colon) {
			if b := w.tailFrom(w.child(n, last, w.text[begin:colon]), i, last, colon); b != nil {
				return b
			}
		}
		if b := w.tailFrom(w.child(n, last, w.text[begin:]), i, last, len(w.text)); b != nil {
			return b
		}
	}
	return w.endWild(n)
}

// tailFrom goes on with tail: the segments from j on are matched.
func (w *walk) tailFrom(n *node, i, j, stop int) *binding {
	if n == nil {
		return nil
	}
	if j > i {
		if b := w.tailFrom(w.child(n, j-1, w.segment(j-1)), i, j-1, stop); b != nil {
			return b
		}
	}
	return w.take(w.leaf(n, stop), stop)
}

// nextColon returns the place of the next ":" of the last segment, -1 after the last one.
func (w *walk) nextColon(colon int) int {
	i := strings.IndexByte(w.text[colon+1:], ':')
	if i < 0 {
		return -1
	}
	return colon + 1 + i
}

// end returns the binding that ends at n, or with a "**" for nothing behind
// it; a literal took the last segment up to stop.
func (w *walk) end(n *node, stop int) *binding {
	if n == nil {
		return nil
	}
	if b := w.take(w.leaf(n, stop), stop); b != nil || n.deep == nil {
		return b
	}
	return w.take(w.leaf(n.deep, stop), stop)
}

// endWild returns the binding that ends at n, where a wildcard takes the last
// segment: up to a verb where one is known, else whole.
func (w *walk) endWild(n *node) *binding {
	if n == nil {
		return nil
	}
	for colon := w.colon; colon >= 0; colon = w.nextColon(colon) {
		l := w.leaf(n, colon)
		if l == nil {
			continue
		}
		// The verb is known here, so this is what the path says, even if that
		// is refused: nothing, or dots, has no verb.
		if head := w.text[w.start(w.n-1):colon]; head == "" || isDots(head) {
			return nil
		}
		return w.take(l, colon)
	}
	return w.take(w.leaf(n, len(w.text)), len(w.text))
}

// leaf returns what ends at n with the verb behind stop.
func (w *walk) leaf(n *node, stop int) *leaf {
	if stop == len(w.text) {
		return n.leaf("")
	}
	verb := w.text[stop+1:]
	if verb == "" || len(n.leaves) == 0 {
		return nil
	}
	if !w.odd(w.n - 1) {
		return n.leaf(verb)
	}
	var buf [128]byte
	canonical := httprule.AppendCanonical(buf[:0], verb)
	for i := range n.leaves {
		if n.leaves[i].verb == string(canonical) {
			return &n.leaves[i]
		}
	}
	return nil
}

// take takes the route of l, which may be nil, for the HTTP method.
func (w *walk) take(l *leaf, stop int) *binding {
	if l == nil {
		return nil
	}
	if w.seen != nil {
		for _, r := range l.routes {
			w.seen[r.method] = true
		}
		return nil
	}
	found := l.pick(w.method)
	w.wrongMethod = w.wrongMethod || found == nil
	w.stopAt = stop
	return found
}

// span returns where in the path a variable's value is.
func (w *walk) span(v *capture) (start, end int) {
	first, after := v.start, v.end
	if v.fromEnd {
		first = w.n - first
	}
	if v.endByTail {
		after = w.n - after
	}
	switch {
	case first == after:
		return 0, 0
	case after == w.n:
		return w.start(first), w.stopAt
	}
	return w.start(first), w.stop(after - 1)
}

// Allow returns the HTTP methods that a path may be asked with, in a fixed
// order, for the Allow header; nil where nothing is served at the path. HEAD
// comes with GET, and OPTIONS, which the gateway answers itself, with anything.
func (t *Table) Allow(escapedPath string) []string {
	var starts [httprule.MaxSegments + 1]uint32
	w := walk{seen: make([]bool, len(t.names)), path: path{starts: starts[:]}}
	if v, _ := w.cut(escapedPath); v != fine {
		return nil
	}
	w.run(t)
	return t.allowed(w.seen)
}

func (t *Table) allowed(seen []bool) []string {
	known := false
	for _, s := range seen {
		known = known || s
	}
	if !known {
		return nil
	}
	seen[methodHead] = seen[methodHead] || seen[methodGet]
	seen[methodOptions] = true
	var names []string
	for i, s := range seen[1:] {
		if m := methodIndex(i + 1); s || seen[methodAny] && m < methodCommon {
			names = append(names, t.names[m])
		}
	}
	return names
}
