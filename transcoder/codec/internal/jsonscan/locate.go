package jsonscan

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Locate says where the byte at offset is: the JSON pointer (RFC 6901) of the
// value that it starts or lies in, or of the member that it names, and its line and
// column, both from 1, the column in bytes. The text need not be valid at or
// after offset.
func Locate(text []byte, offset int) (pointer string, line, column int) {
	offset = min(max(offset, 0), len(text))
	before := text[:offset]
	line = bytes.Count(before, []byte{'\n'}) + 1
	column = offset - bytes.LastIndexByte(before, '\n')
	l := locator{text: text, offset: offset}
	l.walk()
	return l.pointer(), line, column
}

// step is one open container and the place in it.
type step struct {
	object  bool
	named   bool // an object's current member has its name
	wantKey bool // the next string is a name
	key     []byte
	index   int
}

type locator struct {
	text   []byte
	offset int
	path   []step
}

// walk follows the tokens up to offset.
func (l *locator) walk() {
	for i := skipSpace(l.text, 0); i < len(l.text) && i <= l.offset; i = skipSpace(l.text, i) {
		b := l.text[i]
		if b == '"' {
			end := rawString(l.text, i)
			if !l.named(i, end) {
				return
			}
			i = end
			continue
		}
		if i == l.offset {
			return
		}
		l.punctuation(b)
		i++
	}
}

// named takes the string at [i, end), which may be a member's name, and
// reports whether to go on.
func (l *locator) named(i, end int) bool {
	if len(l.path) > 0 && (i == l.offset || end <= l.offset) {
		top := &l.path[len(l.path)-1]
		if top.wantKey && end > i+1 && l.text[end-1] == '"' {
			top.key, top.named, top.wantKey = l.text[i+1:end-1], true, false
		}
	}
	return end <= l.offset
}

func (l *locator) punctuation(b byte) {
	switch b {
	case '{':
		l.path = append(l.path, step{object: true, wantKey: true})
	case '[':
		l.path = append(l.path, step{})
	case '}', ']':
		if len(l.path) > 0 {
			l.path = l.path[:len(l.path)-1]
		}
	case ',':
		if len(l.path) > 0 {
			top := &l.path[len(l.path)-1]
			top.index++
			top.named, top.wantKey = false, top.object
		}
	}
}

func (l *locator) pointer() string {
	var b strings.Builder
	for i, s := range l.path {
		if i == maxPath {
			b.WriteString("/...")
			break
		}
		switch {
		case !s.object:
			b.WriteByte('/')
			b.WriteString(strconv.Itoa(s.index))
		case s.named:
			b.WriteByte('/')
			b.WriteString(pointerToken(s.key))
		}
	}
	return b.String()
}

// maxPath bounds the length of a pointer, in tokens.
const maxPath = 110

// maxToken bounds what an error repeats of one member name, in bytes.
const maxToken = 128

// pointerToken escapes a raw member name for a JSON pointer.
func pointerToken(raw []byte) string {
	name := string(Unquote(nil, raw[:min(len(raw), maxToken)]))
	if len(raw) > maxToken {
		name += "..."
	}
	name = strings.ReplaceAll(name, "~", "~0")
	return strings.ReplaceAll(name, "/", "~1")
}

// rawString returns the offset after the closing quote of the string at i, or
// the end of the text.
func rawString(text []byte, i int) int {
	for i++; i < len(text); i++ {
		switch text[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return len(text)
}

// Unquote appends the meaning of the inside of a JSON string. Escapes that are
// not valid are copied as they stand: check the string first.
func Unquote(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		if raw[i] == '\\' {
			var n int
			if dst, n = Unescape(dst, raw[i:]); n > 0 {
				i += n
				continue
			}
		}
		dst = append(dst, raw[i])
		i++
	}
	return dst
}

// Unescape appends the meaning of the escape at the start of text, a surrogate
// pair counting as one, and returns its length, or 0 if it is not valid.
func Unescape(dst, text []byte) ([]byte, int) {
	n := escape(text)
	switch n {
	case 0:
		return dst, 0
	case 2:
		return append(dst, short(text[1])), n
	}
	r, _ := hex4(text)
	if n == 12 {
		low, _ := hex4(text[6:])
		r = utf16.DecodeRune(r, low)
	}
	return utf8.AppendRune(dst, r), n
}

// short is the meaning of a two-character escape.
func short(b byte) byte {
	switch b {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return b
}
