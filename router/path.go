package router

import (
	"strings"
	"unicode/utf8"

	"github.com/transomhq/transom/router/httprule"
)

const (
	// maxPath is the length in bytes of the longest path that is looked at.
	maxPath = 1<<16 - 1
	// fewSegments is how many segments a path has at most, as a rule; more
	// take the slow entrance with a larger frame.
	fewSegments = 32
)

// path is an escaped path cut into segments.
type path struct {
	text string
	// starts has the place of each segment and, last, that of the one that
	// would follow, each shifted left by one; the low bit says that a segment
	// is odd: perhaps not in canonical form, so not to be compared as it is.
	starts []uint32
	n      int // segments
}

func (p *path) start(i int) int { return int(p.starts[i] >> 1) }
func (p *path) stop(i int) int  { return int(p.starts[i+1]>>1) - 1 }
func (p *path) odd(i int) bool  { return p.starts[i]&1 != 0 }
func (p *path) segment(i int) string {
	return p.text[p.starts[i]>>1 : p.starts[i+1]>>1-1]
}

// verdict says what is wrong with a path.
type verdict uint8

const (
	fine verdict = iota
	trailingSlash
	noSlash
	badEscape
	badNUL
	badUTF8
	emptySegment
	dotSegment
	tooManySegments
	tooLong
)

// cut cuts text at its slashes, as far as there is room in p.starts, and checks
// every byte. The offset is that of what is wrong. The caller sets p.starts,
// so that it may stay on its stack.
func (p *path) cut(text string) (v verdict, offset int) {
	if text == "" || text[0] != '/' {
		return noSlash, 0
	}
	if len(text) > maxPath {
		return tooLong, maxPath
	}
	p.text, p.n = text, 0
	starts := p.starts
	begin, odd := 1, uint32(0)
	for i := 1; i <= len(text); {
		for i < len(text) && httprule.IsPathChar(text[i]) {
			i++
		}
		if i < len(text) && text[i] != '/' {
			n, v := special(text[i:])
			if v != fine {
				return v, i
			}
			odd, i = 1, i+n
			continue
		}
		if v := p.checkSegment(begin, i); v != fine {
			return v, begin
		}
		if i == len(text) && begin == i { // "/" alone
			break
		}
		if p.n == len(starts)-1 {
			return tooManySegments, begin
		}
		starts[p.n] = uint32(begin)<<1 | odd
		p.n++
		i++
		begin, odd = i, 0
	}
	starts[p.n] = uint32(len(text)+1) << 1
	return fine, 0
}

// checkSegment refuses the segment between begin and end for being empty or dots.
func (p *path) checkSegment(begin, end int) verdict {
	if begin == end {
		switch {
		case end < len(p.text):
			return emptySegment
		case p.n > 0:
			return trailingSlash
		}
		return fine
	}
	if c := p.text[begin]; (c == '.' || c == '%') && isDots(p.text[begin:end]) {
		return dotSegment
	}
	return fine
}

// isDots reports whether a segment is "." or "..", however escaped.
func isDots(segment string) bool {
	dots := 0
	for i := 0; i < len(segment); dots++ {
		switch {
		case dots == 2:
			return false
		case segment[i] == '.':
			i++
		case len(segment) >= i+3 && segment[i] == '%' && segment[i+1] == '2' && segment[i+2]|0x20 == 'e':
			i += 3
		default:
			return false
		}
	}
	return dots > 0
}

// special checks what stands at the start of s, which is no ordinary path
// character, and returns how many bytes it takes.
func special(s string) (n int, v verdict) {
	b, n, v := octet(s)
	switch {
	case v != fine:
		return 0, v
	case b == 0:
		return 0, badNUL
	case b < utf8.RuneSelf:
		return n, fine
	}
	// A character beyond ASCII, its bytes bare or escaped, or a mixture.
	var buf [utf8.UTFMax]byte
	var widths [utf8.UTFMax]int
	k := 0
	for at := 0; k < len(buf); k++ {
		b, n, v := octet(s[at:])
		if v != fine || b < utf8.RuneSelf {
			break
		}
		buf[k], widths[k] = b, n
		at += n
	}
	r, size := utf8.DecodeRune(buf[:k])
	if r == utf8.RuneError && size <= 1 {
		return 0, badUTF8
	}
	n = 0
	for _, w := range widths[:size] {
		n += w
	}
	return n, fine
}

// octet returns the first byte that s means, and how many bytes of s mean it.
func octet(s string) (b byte, n int, v verdict) {
	if s == "" {
		return 0, 0, badEscape
	}
	if s[0] != '%' {
		return s[0], 1, fine
	}
	b, ok := httprule.Unescape(s)
	if !ok {
		return 0, 0, badEscape
	}
	return b, 3, fine
}

// lastColon returns the place of the colon-th ":" from the end of the last
// segment, or of the first one where there are fewer; -1 where there is none.
func (p *path) lastColon(colon int) int {
	begin := p.start(p.n - 1)
	at, end := -1, len(p.text)
	for ; colon > 0; colon-- {
		i := strings.LastIndexByte(p.text[begin:end], ':')
		if i < 0 {
			break
		}
		at = begin + i
		end = at
	}
	return at
}
