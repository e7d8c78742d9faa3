package direct

import (
	"fmt"
	"slices"
	"strings"

	"github.com/transomhq/transom/transcoder/codec"
)

// writer turns the wire bytes of one message into JSON text. Its functions
// report whether they could. If not, the fault is set, or the wire bytes are in an
// order that one pass cannot handle; either way the whole is written once more
// with an index of the fields of every message, because what seems at fault may be
// half of a message whose other half comes later. To fall back for one message
// only would cost twice as much at every level of nesting.
type writer struct {
	plan    *plan
	style   style
	out     []byte
	most    int // the length that out may have, or 0
	left    int // how many more messages may nest
	inAny   int // inside Any required fields are not checked
	indexed bool
	work    int // messages, and tags outside of the stream path, for tests

	sets    []uint64 // bit sets of messages with many fields, a stack
	frags   [][]byte // pieces of messages, a stack
	entries []entry  // of maps, a stack
	order   []ranked // of entries, a stack
	chains  []chain  // by field, of messages with an index, a stack
	runs    []run    // of messages with an index, a stack
	compact []byte   // the text before indentation
	path    []string // of the fault, innermost first
	fault   codec.Error
}

func (f *family) writer() *writer {
	if w, ok := f.writers.Get().(*writer); ok {
		return w
	}
	return &writer{}
}

func (f *family) releaseWriter(w *writer) {
	clear(w.frags[:cap(w.frags)]) // let go of the wire bytes
	w.plan, w.out = nil, nil
	if cap(w.compact) <= maxKept && cap(w.frags)*24 <= maxKept &&
		cap(w.entries)*80 <= maxKept && cap(w.runs)*48 <= maxKept && cap(w.chains)*16 <= maxKept {
		f.writers.Put(w)
	}
}

func (w *writer) run(p *plan, dst, wire []byte) ([]byte, error) {
	w.plan, w.style = p, p.family.style
	into := dst
	if p.opts.Indent > 0 {
		into = w.compact[:0]
	}
	w.indexed, w.work = false, 0
	ok := w.whole(into, wire)
	if !ok {
		w.indexed = true
		ok = w.whole(into, wire)
	}
	if !ok {
		clear(w.entries[:cap(w.entries)])
		clear(w.runs[:cap(w.runs)])
		return dst, w.error()
	}
	if p.opts.Indent > 0 {
		w.compact = w.out
		w.out = indent(dst, w.compact, p.opts.Indent)
		if limit := p.opts.MaxOutput; limit > 0 && len(w.out)-len(dst) > limit {
			w.tooLarge()
			return dst, w.error()
		}
	}
	return w.out, nil
}

// whole writes the root, from a clean state.
func (w *writer) whole(into, wire []byte) bool {
	w.out, w.left, w.inAny, w.most = into, w.plan.opts.MaxDepth, 0, 0
	if w.plan.opts.MaxOutput > 0 {
		w.most = len(into) + w.plan.opts.MaxOutput
	}
	w.sets, w.frags, w.entries, w.order = w.sets[:0], w.frags[:0], w.entries[:0], w.order[:0]
	w.chains, w.runs, w.path = w.chains[:0], w.runs[:0], w.path[:0]
	var ok bool
	if w.plan.field != nil {
		ok = w.root(w.plan.message.tables(), w.plan.field, wire)
	} else {
		ok = w.message(w.plan.message, wire)
	}
	return ok && w.fits()
}

// fits reports whether the output is within its limit. It is asked once for
// each message and element, which grow the output by little more than their own size.
func (w *writer) fits() bool {
	if w.most > 0 && len(w.out) > w.most {
		return w.tooLarge()
	}
	return true
}

func (w *writer) tooLarge() bool {
	return w.failAs(codec.TooLarge, "more than %d bytes of output", w.plan.opts.MaxOutput)
}

func (w *writer) fail(format string, args ...any) bool {
	return w.failAs(codec.BadWire, format, args...)
}

func (w *writer) failAs(kind codec.Kind, format string, args ...any) bool {
	w.fault = codec.Error{Kind: kind, Reason: fmt.Sprintf(format, args...)}
	return false
}

func (w *writer) malformed() bool {
	return w.fail("invalid wire bytes")
}

// giveUp asks for the restart with an index.
func (w *writer) giveUp() bool { return false }

// at adds a step to the path of a fault on its way up.
func (w *writer) at(step string) bool {
	const most = 110
	if w.indexed && len(w.path) < most {
		w.path = append(w.path, step)
	}
	return false
}

// inField is at for a field.
func (w *writer) inField(f *field) bool {
	if f.index >= 0 || f.desc.IsExtension() {
		name := f.desc.JSONName()
		if w.style.protoNames {
			name = f.desc.TextName()
		}
		return w.at(name)
	}
	return false
}

func (w *writer) error() error {
	slices.Reverse(w.path)
	e := w.fault
	for _, step := range w.path {
		step = strings.ReplaceAll(strings.ReplaceAll(step, "~", "~0"), "/", "~1")
		e.Pointer += "/" + step
	}
	return &e
}

// message writes a message of one piece.
func (w *writer) message(m *message, b []byte) bool {
	w.work++
	if !m.ready.Load() {
		m.tables()
	}
	if w.indexed || m.form > formEmpty {
		if m.form == formTimestamp {
			return w.timestampOf(b)
		}
		w.frags = append(w.frags, b)
		return w.merged(m, len(w.frags)-1)
	}
	if w.left <= 0 {
		return w.tooDeep()
	}
	w.left--
	start := len(w.out)
	ok := w.stream(m, b)
	w.left++
	return ok && w.enclose(start, '{', '}') && w.fits()
}

func (w *writer) tooDeep() bool {
	return w.failAs(codec.TooLarge, "nested more than %d deep", w.plan.opts.MaxDepth)
}

// merged writes a message whose pieces are the fragments from lo on, and takes
// them off the stack.
func (w *writer) merged(m *message, lo int) bool {
	if w.left <= 0 {
		return w.tooDeep()
	}
	w.left--
	ok := w.content(m.tables(), lo)
	w.left++
	w.frags = w.frags[:lo]
	return ok && w.fits()
}

// content is merged without counting depth and without taking the pieces away.
func (w *writer) content(m *message, lo int) bool {
	switch m.form {
	case formAny:
		return w.any(m, lo)
	case formTimestamp:
		return w.timestamp(lo)
	case formDuration:
		return w.duration(lo)
	case formMask:
		return w.fieldMask(lo)
	case formValue:
		return w.value(m, lo)
	case formBare:
		return w.bare(&m.fields[0], lo)
	case formRefused:
		return w.fail("%s", m.refusal)
	}
	start := len(w.out)
	return w.index(m, lo) && w.enclose(start, '{', '}')
}

// enclose closes what was opened at start: elements are written with a comma
// before each, and the first comma becomes the opening bracket.
func (w *writer) enclose(start int, opening, closing byte) bool {
	if len(w.out) == start {
		w.out = append(w.out, opening, closing)
		return true
	}
	w.out[start] = opening
	w.out = append(w.out, closing)
	return true
}
