package direct

import "math/bits"

// run is a row of occurrences of one field in a fragment: a single value, or
// the elements of a list or map that follow each other.
type run struct {
	next       int // the next run of the same field, an index in runs, or 0
	frag       []byte
	start, end int // start is a tag's; of a single value its own
}

// chain is the runs of one field: indexes in runs, plus one.
type chain struct{ head, tail int32 }

// index writes the members of a message from fragments [lo, len(frags)), whatever
// their order: the last of scalars wins, pieces of messages merge, lists
// continue, and a member of a oneof ousts the others.
func (w *writer) index(m *message, lo int) bool {
	hi := len(w.frags)
	x := indexed{message: m, chains: len(w.chains), runs: len(w.runs), exts: len(w.chains) + len(m.fields), lo: lo, hi: hi}
	for range m.fields {
		w.chains = append(w.chains, chain{})
	}
	x.sets = len(w.sets)
	for range m.words {
		w.sets = append(w.sets, 0)
	}
	for k := lo; k < hi; k++ {
		if !w.scan(&x, w.frags[k]) {
			return false
		}
	}
	if !w.emit(&x) {
		return false
	}
	clear(w.runs[x.runs:])
	w.chains, w.runs, w.sets = w.chains[:x.chains], w.runs[:x.runs], w.sets[:x.sets]
	return true
}

// indexed is the state of index for one message.
type indexed struct {
	message *message
	chains  int // of the fields in writer.chains from here
	exts    int // of extensions from here, in the order of extFields
	runs    int // in writer.runs from here
	sets    int // which fields are there, in writer.sets
	lo, hi  int // fragments
	// extFields are the extensions that came: seldom any.
	extFields []*field
}

// scan notes the fields of one fragment.
func (w *writer) scan(x *indexed, b []byte) bool {
	for i := 0; i < len(b); {
		w.work++
		num, typ, j := fieldTag(b, i)
		if j == failed {
			return w.malformed()
		}
		next := skipWire(b, j, num, typ)
		if next == failed {
			return w.malformed()
		}
		f := x.message.field(num)
		if f != nil && f.takes(typ) {
			at := i
			if f.shape == single {
				at = j
			}
			if !w.note(x, f, run{frag: b, start: at, end: next}) {
				return w.inField(f)
			}
		}
		i = next
	}
	return true
}

// note adds a run to its field's chain.
func (w *writer) note(x *indexed, f *field, r run) bool {
	c := w.chain(x, f)
	if f.oneof >= 0 && c.head == 0 && !w.oust(x, f) {
		return false
	}
	if c.head != 0 {
		last := &w.runs[c.tail-1]
		switch {
		case f.shape != single:
			if last.end == r.start && sameSlice(last.frag, r.frag) {
				last.end = r.end
				return true
			}
		case f.op < opMessage:
			if !w.checkScalar(f, last.frag, last.start) {
				return false
			}
			*last = r
			return true
		}
		w.runs = append(w.runs, r)
		last = &w.runs[c.tail-1] // runs may have moved
		last.next = len(w.runs)
		c.tail = int32(len(w.runs))
		return true
	}
	w.runs = append(w.runs, r)
	c.head, c.tail = int32(len(w.runs)), int32(len(w.runs))
	if f.index >= 0 {
		w.sets[x.sets+f.index>>6] |= 1 << (f.index & 63)
	}
	return true
}

// chain finds the place of a field's runs.
func (w *writer) chain(x *indexed, f *field) *chain {
	if f.index >= 0 {
		return &w.chains[x.chains+f.index]
	}
	for k, e := range x.extFields {
		if e == f {
			return &w.chains[x.exts+k]
		}
	}
	x.extFields = append(x.extFields, f)
	w.chains = append(w.chains, chain{})
	return &w.chains[len(w.chains)-1]
}

// sameSlice reports whether two slices begin at the same byte.
func sameSlice(a, b []byte) bool { return len(a) > 0 && len(b) > 0 && &a[0] == &b[0] }

// oust clears the other members of f's oneof.
func (w *writer) oust(x *indexed, f *field) bool {
	fields := x.message.desc.Oneofs().Get(int(f.oneof)).Fields()
	for k := range fields.Len() {
		o := x.message.field(fields.Get(k).Number())
		c := &w.chains[x.chains+o.index]
		if o == f || c.head == 0 {
			continue
		}
		for r := int(c.head); r != 0; r = w.runs[r-1].next {
			if !w.checkSingle(o, w.runs[r-1].frag, w.runs[r-1].start) {
				return false
			}
		}
		*c = chain{}
		w.sets[x.sets+o.index>>6] &^= 1 << (o.index & 63)
	}
	return true
}

// emit writes what scan noted, fields by number, then extensions.
func (w *writer) emit(x *indexed) bool {
	m, next, required := x.message, 0, 0
	for word := range m.words {
		for set := w.sets[x.sets+word]; set != 0; set &= set - 1 {
			i := word<<6 + bits.TrailingZeros64(set)
			f := &m.fields[i]
			w.out = append(w.out, m.defaults[m.offsets[next]:m.offsets[i]]...)
			next = i + 1
			if f.required {
				required++
			}
			if !w.emitField(f, w.chains[x.chains+i]) {
				return w.inField(f)
			}
		}
	}
	w.out = append(w.out, m.defaults[m.offsets[next]:]...)
	for k, f := range x.extFields {
		if !w.emitField(f, w.chains[x.exts+k]) {
			return w.inField(f)
		}
	}
	if required < m.required && w.inAny == 0 {
		return w.missing(m)
	}
	return true
}

// emitField writes one field from its runs.
func (w *writer) emitField(f *field, c chain) bool {
	before := len(w.out)
	w.lead(f)
	switch {
	case f.shape == list:
		start := len(w.out)
		for k := int(c.head); k != 0; k = w.runs[k-1].next {
			r := w.runs[k-1]
			if w.items(f, r.frag[:r.end], r.start, 0) == failed {
				return false
			}
		}
		return w.enclose(start, '[', ']')
	case f.shape == dict:
		first := len(w.entries)
		for k := int(c.head); k != 0; k = w.runs[k-1].next {
			r := w.runs[k-1]
			if w.collect(f, r.frag[:r.end], r.start) == failed {
				return false
			}
		}
		return w.dict(f, first)
	case f.op >= opMessage:
		lo := len(w.frags)
		for k := int(c.head); k != 0; k = w.runs[k-1].next {
			body, next := f.piece(w.runs[k-1].frag, w.runs[k-1].start)
			if next == failed {
				return w.malformed()
			}
			w.frags = append(w.frags, body)
		}
		return w.merged(f.message, lo)
	}
	r := w.runs[c.head-1]
	next, isZero := w.scalar(f, r.frag, r.start)
	if isZero && !f.presence && !w.style.unpopulated {
		w.out = w.out[:before]
	}
	return next != failed
}
