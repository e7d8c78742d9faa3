package direct

import "google.golang.org/protobuf/encoding/protowire"

// stream writes the members of a message field by field as they come, each with
// a comma before it.
func (w *writer) stream(m *message, b []byte) bool {
	s := seen{sets: len(w.sets), exts: -1}
	if m.many {
		for range m.words + m.oneofs {
			w.sets = append(w.sets, 0)
		}
	}
	next := 0 // fields before it are done with, come or not
	for i := 0; i < len(b); {
		var f *field
		j := i + 1
		if c := b[i]; c < 0x80 && m.byTag[c] != 0 {
			f = &m.fields[m.byTag[c]-1]
		} else if f, j = m.unusual(b, i); f == nil {
			if i = j; i == failed {
				return w.malformed()
			}
			continue
		}
		if f.plain && !m.many {
			bit := uint64(1) << (f.index & 63)
			if s.fields&bit != 0 {
				return w.giveUp()
			}
			s.fields |= bit
		} else if !w.first(m, &s, f) {
			return w.giveUp()
		}
		if len(m.defaults) > 0 && f.index >= 0 {
			if f.index >= next {
				w.out = append(w.out, m.defaults[m.offsets[next]:m.offsets[f.index]]...)
				next = f.index + 1
			} else if m.offsets[f.index] != m.offsets[f.index+1] {
				return w.giveUp()
			}
		}
		if i = w.field(f, b, i, j); i == failed {
			return w.inField(f)
		}
	}
	if len(m.defaults) > 0 {
		w.out = append(w.out, m.defaults[m.offsets[next]:]...)
	}
	w.sets = w.sets[:s.sets]
	if s.required < m.required && w.inAny == 0 {
		return w.missing(m)
	}
	return true
}

// unusual reads a tag that is not in byTag. If it is of no field, it is nil and
// the offset after the value.
func (m *message) unusual(b []byte, i int) (*field, int) {
	num, typ, j := fieldTag(b, i)
	if j == failed {
		return nil, failed
	}
	f := m.field(num)
	if f == nil || !f.takes(typ) {
		return nil, skipWire(b, j, num, typ)
	}
	return f, j
}

func (w *writer) missing(m *message) bool {
	return w.fail("a required field of %s is missing", m.desc.FullName())
}

// first notes that a field has come, and reports whether it can be written at
// once: neither it nor another of its oneof came before.
func (w *writer) first(m *message, s *seen, f *field) bool {
	if f.index < 0 {
		return w.firstExtension(s, f)
	}
	many := m.many
	word, bit := &s.fields, uint64(1)<<(f.index&63)
	if many {
		word = &w.sets[s.sets+f.index>>6]
	}
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	if f.oneof >= 0 {
		word, bit = &s.oneofs, uint64(1)<<(f.oneof&63)
		if many {
			word = &w.sets[s.sets+m.words+int(f.oneof>>6)]
		}
		if *word&bit != 0 {
			return false
		}
		*word |= bit
	}
	if f.required {
		s.required++
	}
	return true
}

// firstExtension takes extensions in ascending order only.
func (w *writer) firstExtension(s *seen, f *field) bool {
	if int(f.num) <= s.exts {
		return false
	}
	s.exts = int(f.num)
	return true
}

// field writes one field whose tag is at i and whose value at j, and if it is
// repeated all that follow without a break.
func (w *writer) field(f *field, b []byte, i, j int) int {
	before := len(w.out)
	w.lead(f)
	if f.op == opString && f.shape == single {
		start, end := lengthed(b, j)
		if end == failed {
			return w.stop(w.malformed())
		}
		if start == end && !f.presence && !w.style.unpopulated {
			w.out = w.out[:before]
			return end
		}
		var ok bool
		if w.out, ok = appendString(w.out, b[start:end]); !ok {
			return w.stop(w.fail("invalid UTF-8"))
		}
		return end
	}
	switch f.shape {
	case list:
		start := len(w.out)
		if i = w.items(f, b, i, 0); i != failed {
			w.enclose(start, '[', ']')
		}
		return i
	case dict:
		first := len(w.entries)
		if i = w.collect(f, b, i); i == failed || !w.dict(f, first) {
			return failed
		}
		return i
	}
	if f.op >= opMessage {
		i, _ = w.element(f, b, j)
		return i
	}
	i, isZero := w.scalar(f, b, j)
	if isZero && !f.presence && !w.style.unpopulated {
		w.out = w.out[:before]
	}
	return i
}

// lead writes a comma, the name and the colon. Copying a fixed number of bytes
// takes no call.
func (w *writer) lead(f *field) {
	n := len(w.out)
	if len(f.lead) > len(f.short) || cap(w.out)-n < len(f.short) {
		w.out = append(w.out, f.lead...)
		return
	}
	*(*[32]byte)(w.out[n : n+32]) = f.short
	w.out = w.out[:n+len(f.lead)]
}

// items writes the elements of a list whose tags follow each other from i on,
// with a comma before each; n have come before.
func (w *writer) items(f *field, b []byte, i, n int) int {
	for i < len(b) {
		num, typ, j := fieldTag(b, i)
		if j == failed {
			return w.stop(w.malformed())
		}
		if num != f.num || !f.takes(typ) {
			return i
		}
		if typ == f.wire {
			w.out = append(w.out, ',')
			if i, _ = w.element(f, b, j); i == failed {
				return w.stop(w.at(decimalText(n)))
			}
			n++
			continue
		}
		start, end := lengthed(b, j)
		if end == failed {
			return w.stop(w.malformed())
		}
		for packed := b[:end]; start < end; {
			w.out = append(w.out, ',')
			if start, _ = w.element(f, packed, start); start == failed {
				return failed
			}
		}
		if !w.fits() {
			return failed
		}
		i = end
	}
	return i
}

// stop turns the report of a failure into an offset.
func (w *writer) stop(bool) int { return failed }

// element writes one value at i, and reports whether it is a zero scalar.
func (w *writer) element(f *field, b []byte, i int) (next int, isZero bool) {
	if f.op < opMessage {
		return w.scalar(f, b, i)
	}
	if f.op == opMessage {
		start, end := lengthed(b, i)
		if end == failed {
			return w.stop(w.malformed()), false
		}
		if !w.message(f.message, b[start:end]) {
			return failed, false
		}
		return end, false
	}
	body, next := f.piece(b, i)
	if next == failed {
		return w.stop(w.malformed()), false
	}
	if !w.message(f.message, body) {
		return failed, false
	}
	return next, false
}

// root writes the bare value of one field of m.
func (w *writer) root(m *message, f *field, wire []byte) bool {
	w.left--
	if m.form == formRefused {
		return w.fail("%s", m.refusal)
	}
	w.frags = append(w.frags, wire)
	if f.shape != single {
		return w.bareRepeated(f, 0)
	}
	if f.op < opMessage {
		return w.rootScalar(m, f, wire)
	}
	pieces := 0
	for i := 0; i < len(wire); {
		num, typ, j := fieldTag(wire, i)
		if j == failed {
			return w.malformed()
		}
		var body []byte
		switch {
		case num == f.num && typ == f.wire:
			if body, i = f.piece(wire, j); i != failed {
				w.frags = append(w.frags, body)
				pieces++
			}
		default:
			if i = skipWire(wire, j, num, typ); i != failed && m.clears(f, num, typ) {
				w.frags, pieces = w.frags[:1], 0
			}
		}
		if i == failed {
			return w.malformed()
		}
	}
	if pieces > 0 {
		if pieces == 1 {
			body := w.frags[1]
			w.frags = w.frags[:1]
			return w.message(f.message, body)
		}
		return w.merged(f.message, 1)
	}
	if f.message.tables().form > formEmpty {
		w.out = append(w.out, "null"...)
		return true
	}
	w.inAny++ // nothing is there, so nothing is missing
	return w.message(f.message, nil)
}

// clears reports whether field num is another member of f's oneof.
func (m *message) clears(f *field, num protowire.Number, typ protowire.Type) bool {
	if f.oneof < 0 || f.index < 0 {
		return false
	}
	o := m.field(num)
	return o != nil && o.index >= 0 && o.oneof == f.oneof && o.takes(typ)
}

func (w *writer) rootScalar(m *message, f *field, wire []byte) bool {
	at := failed
	for i := 0; i < len(wire); {
		num, typ, j := fieldTag(wire, i)
		if j == failed {
			return w.malformed()
		}
		if i = skipWire(wire, j, num, typ); i == failed {
			return w.malformed()
		}
		if num == f.num && typ == f.wire {
			at = j
		} else if m.clears(f, num, typ) {
			at = failed
		}
	}
	switch {
	case at != failed:
		next, _ := w.scalar(f, wire, at)
		return next != failed
	case f.presence:
		w.out = append(w.out, "null"...)
	default:
		w.out = append(w.out, f.zero...)
	}
	return true
}
