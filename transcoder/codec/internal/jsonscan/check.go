package jsonscan

import (
	"fmt"
	"unicode/utf8"
)

// MaxNesting bounds how deep objects and arrays may nest in any text; plans
// have a smaller limit of their own.
const MaxNesting = 10_000

// Fault is the first thing wrong with a text.
type Fault struct {
	Offset int    // of the offending byte
	Reason string // a phrase
	Deep   bool   // MaxNesting was exceeded
}

// Check returns nil if text is exactly one JSON value with white space around
// it: strict RFC 8259, valid UTF-8, no lone surrogates, no duplicate check.
func Check(text []byte) *Fault {
	c := checker{text: text}
	if c.value() && c.end() {
		return nil
	}
	return &c.fault
}

// checker walks a text once, without recursion.
type checker struct {
	text  []byte
	pos   int
	open  []bool // the containers around pos, true for an object
	fault Fault
}

func (c *checker) fail(offset int, format string, args ...any) bool {
	c.fault = Fault{Offset: offset, Reason: fmt.Sprintf(format, args...)}
	return false
}

func (c *checker) space() {
	c.pos = skipSpace(c.text, c.pos)
}

func (c *checker) end() bool {
	c.space()
	if c.pos < len(c.text) {
		return c.fail(c.pos, "unexpected %s after the value", show(c.text, c.pos))
	}
	return true
}

// value reads one value and everything in it.
func (c *checker) value() bool {
	for {
		c.space()
		opened, ok := c.begin()
		if !ok {
			return false
		}
		if opened {
			empty, ok := c.first()
			if !ok {
				return false
			}
			if !empty {
				continue
			}
		}
		done, ok := c.next()
		if done || !ok {
			return ok
		}
	}
}

// begin reads a scalar, or the opening of a container.
func (c *checker) begin() (opened, ok bool) {
	if c.pos >= len(c.text) {
		return false, c.fail(c.pos, "unexpected end of the text")
	}
	switch b := c.text[c.pos]; {
	case b == '{' || b == '[':
		if len(c.open) >= MaxNesting {
			c.fault = Fault{Offset: c.pos, Reason: fmt.Sprintf("nested more than %d deep", MaxNesting), Deep: true}
			return false, false
		}
		c.open = append(c.open, b == '{')
		c.pos++
		return true, true
	case b == '"':
		return false, c.str()
	case b == '-' || b >= '0' && b <= '9':
		return false, c.number()
	case b == 't':
		return false, c.word("true")
	case b == 'f':
		return false, c.word("false")
	case b == 'n':
		return false, c.word("null")
	}
	return false, c.fail(c.pos, "unexpected %s", show(c.text, c.pos))
}

// first stands after an opening: it closes an empty container, or reads the
// first name of an object.
func (c *checker) first() (empty, ok bool) {
	c.space()
	object := c.open[len(c.open)-1]
	if c.pos < len(c.text) && c.text[c.pos] == closing(object) {
		c.pos++
		c.open = c.open[:len(c.open)-1]
		return true, true
	}
	if object {
		return false, c.name()
	}
	return false, true
}

// next stands after a value: it closes containers until a comma leads on.
func (c *checker) next() (done, ok bool) {
	for len(c.open) > 0 {
		c.space()
		object := c.open[len(c.open)-1]
		if c.pos >= len(c.text) {
			return false, c.fail(c.pos, "unexpected end of the text")
		}
		switch c.text[c.pos] {
		case closing(object):
			c.pos++
			c.open = c.open[:len(c.open)-1]
		case ',':
			c.pos++
			if object {
				c.space()
				return false, c.name()
			}
			return false, true
		default:
			return false, c.fail(c.pos, "unexpected %s, want ',' or '%c'", show(c.text, c.pos), closing(object))
		}
	}
	return true, true
}

func (c *checker) name() bool {
	if c.pos >= len(c.text) {
		return c.fail(c.pos, "unexpected end of the text")
	}
	if c.text[c.pos] != '"' {
		return c.fail(c.pos, "unexpected %s, want a member name", show(c.text, c.pos))
	}
	if !c.str() {
		return false
	}
	c.space()
	if c.pos >= len(c.text) {
		return c.fail(c.pos, "unexpected end of the text")
	}
	if c.text[c.pos] != ':' {
		return c.fail(c.pos, "unexpected %s, want ':'", show(c.text, c.pos))
	}
	c.pos++
	return true
}

func (c *checker) word(word string) bool {
	if len(c.text)-c.pos < len(word) || string(c.text[c.pos:c.pos+len(word)]) != word {
		return c.fail(c.pos, "invalid value")
	}
	c.pos += len(word)
	return true
}

func (c *checker) number() bool {
	n := Number(c.text[c.pos:])
	if n == 0 {
		return c.fail(c.pos, "invalid number")
	}
	c.pos += n
	return true
}

func (c *checker) str() bool {
	end, fault := String(c.text, c.pos)
	if fault != nil {
		c.fault = *fault
		return false
	}
	c.pos = end
	return true
}

// Number returns the length of the JSON number at the start of text, or 0.
func Number(text []byte) int {
	i := 0
	if i < len(text) && text[i] == '-' {
		i++
	}
	switch {
	case i < len(text) && text[i] == '0':
		i++
	case i < len(text) && text[i] >= '1' && text[i] <= '9':
		i = digits(text, i)
	default:
		return 0
	}
	if i < len(text) && text[i] == '.' {
		j := digits(text, i+1)
		if j == i+1 {
			return 0
		}
		i = j
	}
	if i < len(text) && text[i]|0x20 == 'e' {
		i++
		if i < len(text) && (text[i] == '+' || text[i] == '-') {
			i++
		}
		j := digits(text, i)
		if j == i {
			return 0
		}
		i = j
	}
	if i < len(text) && (text[i] >= '0' && text[i] <= '9' || text[i] == '.' || text[i] == '+' || text[i] == '-') {
		return 0 // 01, 1.2.3, 1-2
	}
	return i
}

func digits(text []byte, i int) int {
	for i < len(text) && text[i] >= '0' && text[i] <= '9' {
		i++
	}
	return i
}

// String checks the JSON string that starts at pos and returns the offset
// after its closing quote.
func String(text []byte, pos int) (int, *Fault) {
	for i := pos + 1; i < len(text); {
		switch b := text[i]; {
		case b == '"':
			return i + 1, nil
		case b == '\\':
			n := escape(text[i:])
			if n == 0 {
				return 0, &Fault{Offset: i, Reason: "invalid escape in a string"}
			}
			i += n
		case b < ' ':
			return 0, &Fault{Offset: i, Reason: fmt.Sprintf("control character %#02x in a string", b)}
		case b < utf8.RuneSelf:
			i++
		default:
			r, n := utf8.DecodeRune(text[i:])
			if r == utf8.RuneError && n == 1 {
				return 0, &Fault{Offset: i, Reason: "invalid UTF-8 in a string"}
			}
			i += n
		}
	}
	return 0, &Fault{Offset: len(text), Reason: "unexpected end of the text in a string"}
}

// escape returns the length of the escape at the start of text, a surrogate
// pair counting as one, or 0 if it is not valid.
func escape(text []byte) int {
	if len(text) < 2 {
		return 0
	}
	switch text[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		r, ok := hex4(text)
		switch {
		case !ok || r >= 0xdc00 && r < 0xe000:
			return 0
		case r >= 0xd800 && r < 0xdc00:
			low, ok := hex4(text[6:])
			if !ok || low < 0xdc00 || low >= 0xe000 {
				return 0
			}
			return 12
		}
		return 6
	}
	return 0
}

// hex4 reads \uXXXX.
func hex4(text []byte) (r rune, ok bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	for _, b := range text[2:6] {
		switch {
		case b >= '0' && b <= '9':
			r = r<<4 | rune(b-'0')
		case b|0x20 >= 'a' && b|0x20 <= 'f':
			r = r<<4 | rune(b|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

func closing(object bool) byte {
	if object {
		return '}'
	}
	return ']'
}

func skipSpace(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\n' || text[i] == '\t' || text[i] == '\r') {
		i++
	}
	return i
}

// show names the character at pos for an error text.
func show(text []byte, pos int) string {
	r, n := utf8.DecodeRune(text[pos:])
	if r == utf8.RuneError && n == 1 {
		return fmt.Sprintf("byte %#02x", text[pos])
	}
	return fmt.Sprintf("%q", r)
}
