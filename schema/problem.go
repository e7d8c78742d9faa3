package schema

import (
	"cmp"
	"slices"
	"strings"
)

// Problem is one mistake in a schema and its place.
type Problem struct {
	// Origin is the place: "shop/v1/shop.proto:41:5" (line and column from 1),
	// "shop/v1/shop.proto" or "shop/v1/shop.proto: shop.v1.Orders.Get" where the
	// source has no positions, or a source as it was configured.
	Origin string
	// Text says what is wrong and what to do, as a phrase.
	Text string
}

// String returns "origin: text".
func (p Problem) String() string { return p.Origin + ": " + p.Text }

// Problems is the error of a load: everything that is wrong, in the order of
// its places, without repetition.
type Problems []Problem

// Error returns the problems, one a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// sorted returns ps in the order of their places without repetition. Problems
// of one file keep the order in which they were found when that has no lines.
func sorted(ps []Problem) []Problem {
	out := slices.Clone(ps)
	slices.SortStableFunc(out, func(a, b Problem) int { return comparePlaces(a.Origin, b.Origin) })
	seen := make(map[Problem]bool, len(out))
	return slices.DeleteFunc(out, func(p Problem) bool {
		dup := seen[p]
		seen[p] = true
		return dup
	})
}

// consequences returns a problem for each of the files names that is neither
// there nor has a problem of its own: another one's has befallen it.
func consequences(names []string, there func(string) bool, problems []Problem) []Problem {
	told := map[string]bool{}
	for _, p := range problems {
		path, _, _ := strings.Cut(p.Origin, ":")
		told[path] = true
	}
	var out []Problem
	for _, name := range names {
		if !there(name) && !told[name] {
			told[name] = true
			out = append(out, Problem{name, "left out: it imports a file that is left out"})
		}
	}
	return out
}

// comparePlaces orders "f:2:1" before "f:10:1": shorter numbers first.
func comparePlaces(a, b string) int {
	as, bs := strings.Split(a, ":"), strings.Split(b, ":")
	for i := range min(len(as), len(bs)) {
		if i > 0 && len(as[i]) != len(bs[i]) && isNumber(as[i]) && isNumber(bs[i]) {
			return cmp.Compare(len(as[i]), len(bs[i]))
		}
		if c := cmp.Compare(as[i], bs[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(as), len(bs))
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
