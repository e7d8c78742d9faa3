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
	if found := w.run(t); found != 0 {
		// Only numbers come out of w, so that it may stay on the stack.
		r := &t.trie.routes[found]
		m.Binding = r.binding
		for _, c := range t.trie.captures[r.captures : r.captures+uint32(r.vars)] {
			start, end := w.span(c)
			m.Values = append(m.Values, escapedPath[start:end])
		}
		return nil
	}
	if w.wrongMethod {
		return errWrongMethod(httpMethod, escapedPath, t.Allow(escapedPath), t.wrongMethod)
	}
	return errNotFound(httpMethod, escapedPath)
}

// walk is one search for a path in the trie. Its methods return the route that
// the path means, 0 where it means none.
type walk struct {
	path
	trie   *trie
	method methodIndex
	colon  int    // the first ":" at which a verb may start, -1 for none
	seen   []bool // not nil: find nothing, collect the HTTP methods by index

	wrongMethod bool // something ends here, for another HTTP method
	stopAt      int  // where the last segment ends: at the verb's ":", or the path's end
}

func (w *walk) run(t *Table) uint32 {
	w.trie, w.colon = t.trie, -1
	if w.n > 0 {
		w.colon = w.lastColon(t.verbColons + 1)
	}
	return w.down(root, 0)
}

// child returns the literal child of n for the text that is segment i or, for
// the last one, its part before a verb.
func (w *walk) child(n *place, i int, text string) uint32 {
	switch {
	case n.mask == 0 && n.lits == 0:
		return 0
	case w.odd(i):
		return findOdd(w.trie, n, text)
	}
	return find(w.trie, n, text)
}

// findOdd is find for a text that may not be in canonical form.
func findOdd(t *trie, n *place, text string) uint32 {
	var buf [128]byte
	return find(t, n, httprule.AppendCanonical(buf[:0], text))
}

// down searches below at, which may be none, for the segments from i on.
func (w *walk) down(at uint32, i int) uint32 {
	if at == 0 {
		return 0
	}
	switch w.n - i {
	case 0:
		return w.end(at, len(w.text))
	case 1:
		return w.last(at, i)
	}
	n := &w.trie.places[at]
	if r := w.down(w.child(n, i, w.segment(i)), i+1); r != 0 {
		return r
	}
	if r := w.down(n.star, i+1); r != 0 {
		return r
	}
	return w.tail(n.deep, i)
}

// last searches below at for segment i, the last one.
func (w *walk) last(at uint32, i int) uint32 {
	n := &w.trie.places[at]
	begin := w.start(i)
	for colon := w.colon; colon >= 0; colon = w.nextColon(colon) {
		if r := w.end(w.child(n, i, w.text[begin:colon]), colon); r != 0 {
			return r
		}
	}
	if r := w.end(w.child(n, i, w.text[begin:]), len(w.text)); r != 0 {
		return r
	}
	if n.star != 0 {
		if r := w.endWild(n.star); r != 0 {
			return r
		}
		if r := w.endWild(w.trie.places[n.star].deep); r != 0 {
			return r
		}
	}
	return w.tail(n.deep, i)
}

// tail searches the literals behind a "**", whose first segment is i, from the
// end of the path on: the longest tail is the most particular one.
func (w *walk) tail(at uint32, i int) uint32 {
	if at == 0 {
		return 0
	}
	n := &w.trie.places[at]
	last := w.n - 1
	begin := w.start(last)
	for colon := w.colon; colon >= 0; colon = w.nextColon(colon) {
		if r := w.tailFrom(w.child(n, last, w.text[begin:colon]), i, last, colon); r != 0 {
			return r
		}
	}
	if r := w.tailFrom(w.child(n, last, w.text[begin:]), i, last, len(w.text)); r != 0 {
		return r
	}
	return w.endWild(at)
}

// tailFrom goes on with tail: the segments from j on are matched.
func (w *walk) tailFrom(at uint32, i, j, stop int) uint32 {
	if at == 0 {
		return 0
	}
	if j > i {
		if r := w.tailFrom(w.child(&w.trie.places[at], j-1, w.segment(j-1)), i, j-1, stop); r != 0 {
			return r
		}
	}
	r, _ := w.take(at, stop)
	return r
}

// nextColon returns the place of the next ":" of the last segment, -1 after the last one.
func (w *walk) nextColon(colon int) int {
	i := strings.IndexByte(w.text[colon+1:], ':')
	if i < 0 {
		return -1
	}
	return colon + 1 + i
}

// end returns the route that ends at a place, or with a "**" for nothing
// behind it; a literal took the last segment up to stop.
func (w *walk) end(at uint32, stop int) uint32 {
	if at == 0 {
		return 0
	}
	if r, _ := w.take(at, stop); r != 0 {
		return r
	}
	r, _ := w.take(w.trie.places[at].deep, stop)
	return r
}

// endWild returns the route that ends at a place where a wildcard takes the
// last segment: up to a verb where one is known, else whole.
func (w *walk) endWild(at uint32) uint32 {
	if at == 0 {
		return 0
	}
	for colon := w.colon; colon >= 0; colon = w.nextColon(colon) {
		// A verb that is known here is what the path says, even if only for
		// another HTTP method.
		head := w.text[w.start(w.n-1):colon]
		if head == "" || isDots(head) {
			if w.knows(at, colon) {
				return 0 // nothing, or dots, has no verb
			}
			continue
		}
		if r, known := w.take(at, colon); known {
			return r
		}
	}
	r, _ := w.take(at, len(w.text))
	return r
}

// knows reports whether any route ends at a place with the verb behind stop.
func (w *walk) knows(at uint32, stop int) bool {
	look := walk{path: w.path, trie: w.trie, method: w.method}
	_, known := look.take(at, stop)
	return known
}

// take returns the route that ends at a place with the verb behind stop, and
// whether any does, for whatever HTTP method.
func (w *walk) take(at uint32, stop int) (r uint32, known bool) {
	n := &w.trie.places[at]
	if n.ends == 0 {
		return 0, false
	}
	verb := ""
	if stop < len(w.text) {
		if verb = w.text[stop+1:]; verb == "" {
			return 0, false
		}
		if w.odd(w.n - 1) {
			return w.takeOdd(n, verb, stop)
		}
	}
	return takeVerb(w, n, verb, stop)
}

// takeOdd is take for a verb that may not be in canonical form.
func (w *walk) takeOdd(n *place, verb string, stop int) (r uint32, known bool) {
	var buf [128]byte
	return takeVerb(w, n, httprule.AppendCanonical(buf[:0], verb), stop)
}

func takeVerb[T string | []byte](w *walk, n *place, verb T, stop int) (uint32, bool) {
	var exact, get, anyMethod uint32
	known := false
	for i := n.routes; i < n.routes+n.ends; i++ {
		r := &w.trie.routes[i]
		if !verbIs(w.trie, r, verb) {
			continue
		}
		known = true
		if w.seen != nil {
			w.seen[r.method] = true
			continue
		}
		switch r.method {
		case w.method:
			exact = i
		case methodGet:
			get = i
		case methodAny:
			anyMethod = i
		}
	}
	if exact == 0 && w.method == methodHead {
		exact = get
	}
	if exact == 0 {
		exact = anyMethod
	}
	if exact == 0 {
		w.wrongMethod = w.wrongMethod || known
		return 0, known
	}
	w.stopAt = stop
	return exact, known
}

// span returns where in the path a captured value is.
func (w *walk) span(c capture) (start, end int) {
	first, after := int(c.start), int(c.end)
	if first < 0 {
		first = w.n - ^first
	}
	if after < 0 {
		after = w.n - ^after
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
