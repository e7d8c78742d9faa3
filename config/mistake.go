package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Position is a place in a configuration file. Lines and columns count from 1;
// the zero Position is no place.
type Position struct {
	File         string
	Line, Column int
}

// String returns "transom.yaml:12:5".
func (p Position) String() string {
	if p.Line == 0 {
		return ""
	}
	return p.File + ":" + strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Column)
}

// Mistake is one thing that is wrong with a configuration.
type Mistake struct {
	// Position is where it was written; the zero Position if by a flag, or nowhere.
	Position Position
	// Path is what it is about: "clusters[0].targets". Empty: the whole.
	Path string
	// Text says what is wrong, and what to write instead.
	Text string
}

// Error returns "transom.yaml:12:5: clusters[0].targets: is required".
func (m Mistake) Error() string {
	var b strings.Builder
	if pos := m.Position.String(); pos != "" {
		b.WriteString(pos + ": ")
	}
	if m.Path != "" {
		b.WriteString(m.Path + ": ")
	}
	b.WriteString(m.Text)
	return b.String()
}

// Mistakes are all mistakes of a configuration, in the order of the file.
type Mistakes []Mistake

// maxShown bounds the text of Mistakes, not their number.
const maxShown = 100

// Error returns one line a mistake.
func (ms Mistakes) Error() string {
	lines := make([]string, 0, min(len(ms), maxShown+1))
	for i, m := range ms {
		if i == maxShown {
			lines = append(lines, fmt.Sprintf("... and %d more", len(ms)-i))
			break
		}
		lines = append(lines, m.Error())
	}
	return strings.Join(lines, "\n")
}

// Unwrap makes each Mistake visible to errors.As.
func (ms Mistakes) Unwrap() []error {
	errs := make([]error, len(ms))
	for i, m := range ms {
		errs[i] = m
	}
	return errs
}

// inOrder returns ms by position, and nil for none.
func (ms Mistakes) inOrder() error {
	if len(ms) == 0 {
		return nil
	}
	slices.SortStableFunc(ms, func(a, b Mistake) int {
		return cmp.Or(cmp.Compare(a.Position.Line, b.Position.Line), cmp.Compare(a.Position.Column, b.Position.Column))
	})
	return ms
}
