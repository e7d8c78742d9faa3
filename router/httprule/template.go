package httprule

import "strings"

// MaxSegments is the number of segments that a template, and a path that is
// matched against one, may have.
const MaxSegments = 256

// Template is a parsed path template. It is a value: nothing in it is shared
// with the parser, and nobody changes it.
type Template struct {
	// Segments are the template's segments from left to right, those inside
	// variables included. The root template "/" has none.
	Segments []Segment
	// Verb is the text after the ":" that ends the template, as declared, or "".
	Verb string
	// Variables are the template's variables in the order of the template.
	// Their segment ranges do not overlap.
	Variables []Variable
}

// Kind says what one segment of a template matches.
type Kind uint8

// The kinds of segments, most specific first.
const (
	Literal Kind = iota // one segment with exactly this text
	Single              // "*": any one segment that is not empty
	Deep                // "**": any number of segments, none included
)

// Segment is one segment of a template.
type Segment struct {
	Kind Kind
	// Text is the text of a literal as declared, "" for wildcards.
	Text string
}

// Canonical returns the literal's text in the form that AppendCanonical gives
// every segment of a path, so that equal texts mean the same literal.
func (s Segment) Canonical() string { return string(AppendCanonical(nil, s.Text)) }

// Variable is one variable of a template.
type Variable struct {
	// Path is the field path as declared: "sub.name".
	Path string
	// Start and End are the range of Template.Segments that the variable
	// captures: Segments[Start:End], never empty.
	Start, End int
	// Multi says that the value may span several segments ("{x=a/*}",
	// "{x=**}"), so that "%2F" in it stays escaped.
	Multi bool
}

// Deep returns the index of the "**" segment, -1 where there is none.
func (t *Template) Deep() int {
	for i, s := range t.Segments {
		if s.Kind == Deep {
			return i
		}
	}
	return -1
}

// String returns the template's text: Parse of it gives the same template
// again. "{id=*}" is written in its short form, "{id}".
func (t *Template) String() string {
	if len(t.Segments) == 0 {
		return "/"
	}
	var b strings.Builder
	vars := t.Variables
	for i := 0; i < len(t.Segments); {
		b.WriteByte('/')
		if len(vars) == 0 || vars[0].Start != i {
			b.WriteString(t.Segments[i].text())
			i++
			continue
		}
		v := vars[0]
		b.WriteString("{" + v.Path)
		if part := t.Segments[v.Start:v.End]; len(part) != 1 || part[0].Kind != Single {
			sep := byte('=')
			for _, s := range part {
				b.WriteByte(sep)
				b.WriteString(s.text())
				sep = '/'
			}
		}
		b.WriteByte('}')
		vars, i = vars[1:], v.End
	}
	if t.Verb != "" {
		b.WriteString(":" + t.Verb)
	}
	return b.String()
}

func (s Segment) text() string {
	switch s.Kind {
	case Single:
		return "*"
	case Deep:
		return "**"
	}
	return s.Text
}
