package direct

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/transomhq/transom/transcoder/codec"
	"github.com/transomhq/transom/transcoder/codec/internal/jsonscan"
)

// padding is how many zero bytes follow the text in a reader's buffer. A zero
// byte ends every loop of the scanner, and eight can be read at a time.
const padding = 16

// maxKept bounds the scratch that goes back to a pool, in bytes.
const maxKept = 1 << 20

// reader turns one JSON text into wire bytes. All its functions take the
// offset to read at and return the offset after what they read, or failed.
type reader struct {
	plan *plan
	in   []byte // the text and padding
	n    int    // the length of the text
	out  []byte
	left int // how many more messages may nest

	holes []hole // lengths not yet written, by position
	extra int    // bytes that the holes will add

	scratch []byte   // of one unescaped string
	sets    []uint64 // bit sets of messages with many fields, a stack
	exts    []*field // extensions seen, a stack
	keys    []span   // map keys in out, a stack
	slots   []uint32 // hash tables of map keys, a stack
	seed    maphash.Seed
	tens    [23]float64 // powers of ten
	inAny   int         // above 0, as inside Any, required fields are not checked
	work    int         // messages, skipped values and key comparisons, for tests
	misses  uint32      // guesses of names that were wrong
	typeURL field       // stands for the member "@type"

	fault fault
}

// failed is the offset of those who could not read on.
const failed = -1

// outcome is what became of a value.
type outcome uint8

const (
	zero    outcome = iota // written, and it is the zero value
	set                    // written
	dropped                // nothing was written: an unknown enum name
)

// span is a range of bytes.
type span struct{ start, end int }

// fault is the error in the making: it becomes a codec.Error at the top.
type fault struct {
	kind   codec.Kind
	offset int // -1: none
	reason string
}

func (f *family) reader() *reader {
	if r, ok := f.readers.Get().(*reader); ok {
		return r
	}
	return &reader{seed: maphash.MakeSeed(), tens: powersOfTen()}
}

func (f *family) releaseReader(r *reader) {
	r.plan, r.out = nil, nil
	if cap(r.in) <= maxKept && cap(r.scratch) <= maxKept &&
		cap(r.holes)*16 <= maxKept && cap(r.keys)*16 <= maxKept && cap(r.slots)*4 <= maxKept {
		f.readers.Put(r)
	}
}

func (r *reader) run(p *plan, dst, text []byte) ([]byte, error) {
	var pad [padding]byte
	r.in = append(append(r.in[:0], text...), pad[:]...)
	r.plan, r.n, r.out, r.left = p, len(text), dst, p.opts.MaxDepth
	r.holes, r.extra, r.inAny, r.work = r.holes[:0], 0, 0, 0
	if p.opts.AllowPartial {
		r.inAny = 1
	}
	r.sets, r.exts, r.keys, r.slots = r.sets[:0], r.exts[:0], r.keys[:0], r.slots[:0]
	i := r.space(0)
	if p.field != nil {
		i = r.root(p.field, i)
	} else {
		i = r.message(p.message, i)
	}
	if i != failed {
		if i = r.space(i); i < r.n {
			i = r.fail(i, "unexpected %s after the value", r.show(i))
		}
	}
	if i == failed {
		return dst, r.error(text)
	}
	r.fillHoles()
	if limit := p.opts.MaxOutput; limit > 0 && len(r.out)-len(dst) > limit {
		return dst, &codec.Error{Kind: codec.TooLarge, Reason: fmt.Sprintf("more than %d bytes of output", limit)}
	}
	return r.out, nil
}

// root reads the bare value of a field; null leaves it unset.
func (r *reader) root(f *field, i int) int {
	r.left-- // the message around it
	if r.in[i] == 'n' && !f.nullable {
		return r.word(i, "null")
	}
	return r.member(f, i)
}

// fail notes what is wrong at an offset.
func (r *reader) fail(i int, format string, args ...any) int {
	return r.failAs(codec.BadText, i, format, args...)
}

func (r *reader) failAs(kind codec.Kind, i int, format string, args ...any) int {
	r.fault = fault{kind: kind, offset: i, reason: fmt.Sprintf(format, args...)}
	return failed
}

// unexpected fails for the character at i, where want was due.
func (r *reader) unexpected(i int, want string) int {
	if i >= r.n {
		return r.fail(r.n, "unexpected end of the text, want %s", want)
	}
	return r.fail(i, "unexpected %s, want %s", r.show(i), want)
}

// error makes the public error of a fault.
func (r *reader) error(text []byte) error {
	e := &codec.Error{Kind: r.fault.kind, Reason: r.fault.reason}
	e.Pointer, e.Line, e.Column = jsonscan.Locate(text, r.fault.offset)
	return e
}

// show names the token at i for an error text, shortened.
func (r *reader) show(i int) string {
	const most = 40
	if i >= r.n {
		return "end of the text"
	}
	rest := r.in[i:min(i+most, r.n)]
	var end int
	switch {
	case rest[0] == '"':
		end = bytes.IndexByte(rest[1:], '"') + 2
	default:
		end = bytes.IndexAny(rest[1:], ",:]}[{\" \t\r\n") + 1
	}
	if end > 1 || end == 1 && rest[0] != '"' {
		rest = rest[:end]
	}
	return strings.ToValidUTF8(string(rest), "\ufffd")
}

func (r *reader) space(i int) int {
	for in := r.in; in[i] == ' ' || in[i] == '\n' || in[i] == '\t' || in[i] == '\r'; {
		i++
	}
	return i
}

// word reads true, false or null.
func (r *reader) word(i int, word string) int {
	end := i + len(word)
	if end > r.n || string(r.in[i:end]) != word {
		return r.fail(i, "invalid value %s", r.show(i))
	}
	return end
}

// fillHoles writes the lengths of 128 bytes and more, back to front, so that
// every byte moves once at most.
func (r *reader) fillHoles() {
	if r.extra == 0 {
		return
	}
	from := len(r.out)
	out := slices.Grow(r.out, r.extra)
	out = out[:from+r.extra]
	to := len(out)
	for k := len(r.holes) - 1; k >= 0; k-- {
		at, size := r.holes[k].at, uint64(r.holes[k].n)
		to -= copy(out[to-(from-at-1):to], out[at+1:from])
		to -= varintLen(size)
		putVarint(out[to:], size)
		from = at
	}
	r.out = out
}
