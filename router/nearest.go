package router

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/transomhq/transom/router/httprule"
	"github.com/transomhq/transom/rpc"
)

// Candidate is a binding that a request may have meant.
type Candidate struct {
	Binding *rpc.Binding
	Reason  string // what of the request does not fit, in words
}

// Nearest returns at most n bindings that come closest to a request that
// matches nothing, the closest first. It looks at every binding: it is for
// people who ask, not for every 404.
func (t *Table) Nearest(httpMethod, escapedPath string, n int) []*rpc.Binding {
	var out []*rpc.Binding
	for _, c := range t.Candidates(httpMethod, escapedPath, n) {
		out = append(out, c.Binding)
	}
	return out
}

// Candidates is Nearest with reasons.
func (t *Table) Candidates(httpMethod, escapedPath string, n int) []Candidate {
	type scored struct {
		Candidate
		cost int
	}
	asked := readAsked(escapedPath)
	var all []scored
	for _, b := range t.bindings {
		c := t.compare(b, httpMethod, asked)
		all = append(all, scored{Candidate{b.Binding, c.reason}, c.cost})
	}
	slices.SortStableFunc(all, func(a, b scored) int { return cmp.Compare(a.cost, b.cost) })
	var out []Candidate
	for _, s := range all[:min(max(n, 0), len(all))] {
		out = append(out, s.Candidate)
	}
	return out
}

// asked is a path as it is compared with templates.
type asked struct {
	whole []string // the segments, canonical
	head  []string // the same without the verb, if there may be one
	verb  string
}

// readAsked cuts a path that need not be well-formed; what is beyond any sane
// length is left out.
func readAsked(escapedPath string) asked {
	const maxParts, maxText = 32, 64
	var a asked
	for part := range strings.SplitSeq(escapedPath, "/") {
		if part == "" || len(a.whole) == maxParts {
			continue
		}
		text := string(httprule.AppendCanonical(nil, part))
		a.whole = append(a.whole, text[:min(len(text), maxText)])
	}
	a.head = a.whole
	if n := len(a.whole); n > 0 {
		if i := strings.LastIndexByte(a.whole[n-1], ':'); i > 0 {
			a.head = append(slices.Clone(a.whole[:n-1]), a.whole[n-1][:i])
			a.verb = a.whole[n-1][i+1:]
		}
	}
	return a
}

// The costs of differences.
const (
	costLiteral  = 100 // another text
	costMissing  = 70  // a segment too many or too few
	costMethod   = 30
	costVerb     = 60
	costWildcard = 4 // between two that fit, the more literal one
)

// difference is how far something is off, and the first thing that is.
type difference struct {
	cost   int
	reason string
}

func (d difference) plus(cost int, reason string) difference {
	if d.reason == "" {
		d.reason = reason
	}
	d.cost += cost
	return d
}

func (t *Table) compare(b *binding, httpMethod string, a asked) difference {
	parts, verb := a.whole, ""
	if b.verb != "" {
		parts, verb = a.head, a.verb
	}
	d := align(b, parts)
	if verb != b.verb {
		reason := fmt.Sprintf(`the verb ":%s" is missing`, b.verb)
		if verb != "" {
			reason = fmt.Sprintf(`the verb is %q, not %q`, ":"+verb, ":"+b.verb)
		}
		d = d.plus(costVerb*distance(verb, b.verb)/max(len(verb), len(b.verb))+1, reason)
	}
	if !t.serves(b, httpMethod) {
		d = d.plus(costMethod, fmt.Sprintf("the HTTP method is %s, not %s", b.HTTPMethod, safeMethod(httpMethod)))
	}
	return d
}

func (t *Table) serves(b *binding, httpMethod string) bool {
	return b.HTTPMethod == "*" || b.HTTPMethod == httpMethod || httpMethod == "HEAD" && b.HTTPMethod == "GET"
}

// align finds the cheapest way to turn parts into what b's template matches:
// an edit distance over segments, from the last ones to the first.
func align(b *binding, parts []string) difference {
	row := make([]difference, len(parts)+1) // row[j]: the segments from i on against parts[j:]
	for j := len(parts) - 1; j >= 0; j-- {
		row[j] = surplus(parts, j, row[j+1])
	}
	for i := len(b.segments) - 1; i >= 0; i-- {
		s := b.segments[i]
		next := make([]difference, len(row))
		for j := len(parts); j >= 0; j-- {
			if s.kind == httprule.Deep {
				next[j] = row[j].plus(costWildcard, "")
				if j < len(parts) && next[j+1].cost < next[j].cost {
					next[j] = next[j+1]
				}
				continue
			}
			next[j] = first(costMissing, fmt.Sprintf("the segment %s is missing", s.name()), row[j])
			if j == len(parts) {
				continue
			}
			if d := surplus(parts, j, next[j+1]); d.cost < next[j].cost {
				next[j] = d
			}
			if d := s.against(parts[j], j, row[j+1]); d.cost < next[j].cost {
				next[j] = d
			}
		}
		row = next
	}
	return row[0]
}

// first returns rest with a difference that stands before it.
func first(cost int, reason string, rest difference) difference {
	if reason == "" {
		reason = rest.reason
	}
	return difference{cost + rest.cost, reason}
}

func surplus(parts []string, j int, rest difference) difference {
	return first(costMissing, fmt.Sprintf("segment %d, %q, is one too many", j+1, parts[j]), rest)
}

// against compares the template's segment with part j of the path.
func (s segment) against(part string, j int, rest difference) difference {
	switch {
	case s.kind == httprule.Single:
		return first(costWildcard, "", rest)
	case s.text == part:
		return rest
	}
	cost := 1 + costLiteral*distance(part, s.text)/max(len(part), len(s.text))
	return first(cost, fmt.Sprintf("segment %d is %q, not %q", j+1, part, s.text), rest)
}

func (s segment) name() string {
	switch s.kind {
	case httprule.Single:
		return `"*"`
	case httprule.Deep:
		return `"**"`
	}
	return fmt.Sprintf("%q", s.text)
}

// distance is the number of bytes to insert, remove or change (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
