package httprule

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Error says what is wrong with a template, and where.
type Error struct {
	Template string
	Offset   int    // in bytes, from 0
	Text     string // what is wrong and what to do
}

// Error returns the whole text: the template, the place and what is wrong.
func (e *Error) Error() string {
	return fmt.Sprintf("path template %s, byte %d: %s", strconv.Quote(e.Template), e.Offset, e.Text)
}

// Parse reads a path template by the grammar in google/api/http.proto:
//
//	Template  = "/" Segments [ Verb ] ;
//	Segments  = Segment { "/" Segment } ;
//	Segment   = "*" | "**" | LITERAL | Variable ;
//	Variable  = "{" FieldPath [ "=" Segments ] "}" ;
//	FieldPath = IDENT { "." IDENT } ;
//	Verb      = ":" LITERAL ;
//
// and, beyond its letter: "/" alone is the root; after "**" only literals may
// follow; literals are path characters, well-formed percent-escapes and
// non-ASCII text; in the last segment the last ":" starts the verb, unless the
// segment is a variable, where the first one does. Errors are of type *Error.
func Parse(template string) (*Template, error) {
	p := &parser{text: template, deep: -1}
	if err := p.template(); err != nil {
		return nil, err
	}
	return &p.out, nil
}

type parser struct {
	text string
	pos  int
	deep int // offset of the "**" seen, -1 before
	out  Template
}

func (p *parser) fail(offset int, format string, args ...any) error {
	return &Error{Template: p.text, Offset: offset, Text: fmt.Sprintf(format, args...)}
}

func (p *parser) template() error {
	if p.text == "" {
		return p.fail(0, `the template is empty: it must start with "/"`)
	}
	if p.text[0] != '/' {
		return p.fail(0, `the template must start with "/"`)
	}
	if p.text == "/" {
		return nil
	}
	for p.pos < len(p.text) {
		if c := p.text[p.pos]; c != '/' {
			return p.fail(p.pos, `unexpected %s: a new segment starts with "/"`, quote(p.text[p.pos:]))
		}
		p.pos++
		if err := p.segment(); err != nil {
			return err
		}
	}
	return nil
}

// segment reads one segment of the outer template and, in the last one, the verb.
func (p *parser) segment() error {
	if p.pos < len(p.text) && p.text[p.pos] == '{' {
		if err := p.variable(); err != nil {
			return err
		}
		return p.verbAfterVariable()
	}
	end := p.end("/")
	verb := -1
	if end == len(p.text) {
		if i := strings.LastIndexByte(p.text[p.pos:end], ':'); i >= 0 {
			verb = p.pos + i
			end = verb
		}
	}
	if err := p.plain(end); err != nil {
		return err
	}
	if verb < 0 {
		return nil
	}
	return p.verb(verb + 1)
}

func (p *parser) verbAfterVariable() error {
	if p.pos == len(p.text) || p.text[p.pos] == '/' {
		return nil
	}
	if p.text[p.pos] != ':' {
		return p.fail(p.pos, `unexpected %s after a variable: a variable is a whole segment, only "/" or a verb may follow it`, quote(p.text[p.pos:]))
	}
	if i := strings.IndexByte(p.text[p.pos:], '/'); i >= 0 {
		return p.fail(p.pos, "a verb must be the end of the template")
	}
	return p.verb(p.pos + 1)
}

// verb reads the verb that starts at start and ends the template.
func (p *parser) verb(start int) error {
	if start == len(p.text) {
		return p.fail(start, `the verb after ":" is empty`)
	}
	if err := p.literal(start, len(p.text), "a verb"); err != nil {
		return err
	}
	p.out.Verb, p.pos = p.text[start:], len(p.text)
	return nil
}

// variable reads "{path}" or "{path=segments}".
func (p *parser) variable() error {
	open := p.pos
	p.pos++
	path, err := p.fieldPath()
	if err != nil {
		return err
	}
	v := Variable{Path: path, Start: len(p.out.Segments)}
	if p.pos == len(p.text) {
		return p.fail(open, `the variable is not closed: add "}"`)
	}
	switch c := p.text[p.pos]; c {
	case '}':
		if err := p.wildcard(Single, p.pos); err != nil {
			return err
		}
	case '=':
		p.pos++
		if err := p.variableSegments(open); err != nil {
			return err
		}
	default:
		return p.fail(p.pos, `unexpected %s in a field path: letters, digits, "_" and "." are allowed, then "=" or "}"`, quote(p.text[p.pos:]))
	}
	p.pos++ // the "}"
	v.End = len(p.out.Segments)
	v.Multi = v.End-v.Start > 1 || p.out.Segments[v.Start].Kind == Deep
	if err := p.distinct(v.Path, open+1); err != nil {
		return err
	}
	p.out.Variables = append(p.out.Variables, v)
	return nil
}

// variableSegments reads the segments of the variable opened at open, up to its "}".
func (p *parser) variableSegments(open int) error {
	for {
		end := p.end("/{}")
		if end == len(p.text) {
			return p.fail(open, `the variable is not closed: add "}"`)
		}
		if p.text[end] == '{' {
			return p.fail(end, "a variable may not contain another variable")
		}
		if end == p.pos && p.text[end] == '/' && p.text[end-1] == '=' {
			return p.fail(end, `a variable may not capture the leading "/": put it before the variable`)
		}
		if err := p.plain(end); err != nil {
			return err
		}
		p.pos = end
		if p.text[end] == '}' {
			return nil
		}
		p.pos++
	}
}

// distinct refuses a field that another variable binds already, itself or by
// one of its parents or children.
func (p *parser) distinct(path string, offset int) error {
	for _, v := range p.out.Variables {
		switch {
		case v.Path == path:
			return p.fail(offset, "%s is bound twice: a field may be a variable once", strconv.Quote(path))
		case strings.HasPrefix(path, v.Path+"."):
			return p.fail(offset, "%s is part of %s, which is bound already", strconv.Quote(path), strconv.Quote(v.Path))
		case strings.HasPrefix(v.Path, path+"."):
			return p.fail(offset, "%s contains %s, which is bound already", strconv.Quote(path), strconv.Quote(v.Path))
		}
	}
	return nil
}

func (p *parser) fieldPath() (string, error) {
	start := p.pos
	for {
		ident := p.pos
		for p.pos < len(p.text) && isIdent(p.text[p.pos], p.pos == ident) {
			p.pos++
		}
		if p.pos == ident {
			if p.pos == len(p.text) {
				return "", p.fail(start-1, `the variable is not closed: add "}"`)
			}
			return "", p.fail(p.pos, `a field name is missing before %s: names start with a letter or "_"`, quote(p.text[p.pos:]))
		}
		if p.pos == len(p.text) || p.text[p.pos] != '.' {
			return p.text[start:p.pos], nil
		}
		p.pos++
	}
}

func isIdent(c byte, first bool) bool {
	return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || !first && '0' <= c && c <= '9'
}

// plain reads "*", "**" or a literal that ends at end.
func (p *parser) plain(end int) error {
	start := p.pos
	p.pos = end
	switch text := p.text[start:end]; text {
	case "":
		return p.fail(start, "a segment is empty")
	case "*":
		return p.wildcard(Single, start)
	case "**":
		return p.wildcard(Deep, start)
	default:
		if err := p.literal(start, end, "a literal"); err != nil {
			return err
		}
		s := Segment{Kind: Literal, Text: text}
		if c := s.Canonical(); c == "." || c == ".." {
			return p.fail(start, "a %s segment never matches: paths with dot segments are refused", strconv.Quote(c))
		}
		return p.add(s, start)
	}
}

func (p *parser) wildcard(kind Kind, offset int) error {
	if p.deep >= 0 {
		return p.fail(offset, `only literals may follow the "**" at byte %d`, p.deep)
	}
	if kind == Deep {
		p.deep = offset
	}
	return p.add(Segment{Kind: kind}, offset)
}

func (p *parser) add(s Segment, offset int) error {
	if len(p.out.Segments) == MaxSegments {
		return p.fail(offset, "the template has more than %d segments", MaxSegments)
	}
	p.out.Segments = append(p.out.Segments, s)
	return nil
}

// literal checks the text between start and end; what names it in errors.
func (p *parser) literal(start, end int, what string) error {
	for i := start; i < end; {
		c := p.text[i]
		switch {
		case c == '*':
			return p.fail(i, `"*" in %s: a wildcard is a whole segment`, what)
		case c == '{' || c == '}':
			return p.fail(i, `%q in %s: a variable is a whole segment`, c, what)
		case c == '?':
			return p.fail(i, `"?" in %s: query parameters are not part of a template`, what)
		case c == '%':
			b, ok := Unescape(p.text[i:end])
			if !ok {
				return p.fail(i, `malformed percent-escape in %s: "%%" and two hexadecimal digits are needed`, what)
			}
			if b == 0 {
				return p.fail(i, "escaped NUL in %s: paths with NUL are refused", what)
			}
			i += 3
		case c < utf8.RuneSelf:
			if !IsPathChar(c) {
				return p.fail(i, "%s in %s: this character must be percent-escaped", quote(p.text[i:]), what)
			}
			i++
		default:
			r, n := utf8.DecodeRuneInString(p.text[i:end])
			if r == utf8.RuneError && n <= 1 {
				return p.fail(i, "%s is not UTF-8", what)
			}
			i += n
		}
	}
	if !utf8.Valid(decode(p.text[start:end])) {
		return p.fail(start, "%s is not UTF-8 once its percent-escapes are decoded", what)
	}
	return nil
}

// decode returns s, whose escapes are well-formed, with them decoded.
func decode(s string) []byte {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if b, ok := Unescape(s[i:]); ok {
			out = append(out, b)
			i += 2
			continue
		}
		out = append(out, s[i])
	}
	return out
}

// end returns where the next byte of set is, or where the text ends.
func (p *parser) end(set string) int {
	if i := strings.IndexAny(p.text[p.pos:], set); i >= 0 {
		return p.pos + i
	}
	return len(p.text)
}

// quote returns the first character of s, quoted.
func quote(s string) string {
	_, n := utf8.DecodeRuneInString(s)
	return strconv.Quote(s[:n])
}
