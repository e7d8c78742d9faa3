package direct

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/transomhq/transom/transcoder/codec"
)

// message reads a value of type m.
func (r *reader) message(m *message, i int) int {
	if r.left <= 0 {
		return r.tooDeep(i)
	}
	r.left--
	r.work++
	if !m.ready.Load() {
		m.tables()
	}
	if m.form == formObject && r.in[i] == '{' {
		i = r.members(m, i+1, typeField)
	} else {
		i = r.content(m, i)
	}
	r.left++
	return i
}

func (r *reader) tooDeep(i int) int {
	return r.failAs(codec.TooLarge, i, "nested more than %d deep", r.plan.opts.MaxDepth)
}

// content is message without counting depth.
func (r *reader) content(m *message, i int) int {
	switch m.form {
	case formAny:
		return r.any(m, i)
	case formTimestamp:
		return r.timestamp(i)
	case formDuration:
		return r.duration(i)
	case formMask:
		return r.fieldMask(i)
	case formValue:
		return r.value(m, i)
	case formBare:
		return r.bare(&m.fields[0], i)
	case formRefused:
		return r.fail(i, "%s", m.refusal)
	}
	if r.in[i] != '{' {
		return r.unexpected(i, "an object")
	}
	return r.members(m, i+1, typeField)
}

// bare reads the value of the only field of a type.
func (r *reader) bare(f *field, i int) int {
	if f.shape == single {
		return r.scalarMember(f, i)
	}
	return r.member(f, i)
}

// seen is which fields of an object have come.
type seen struct {
	fields   uint64 // if there are at most 64
	oneofs   uint64 // likewise
	sets     int    // otherwise in reader.sets from here: fields, then oneofs
	exts     int    // in reader.exts from here
	required int
}

// typeRule is what the member "@type" is.
type typeRule uint8

const (
	typeField typeRule = iota // a member like others
	typeSkip                  // that of an Any, read before
	typeTwice                 // that of an Any come again: an error
)

// members reads the members of an object of type m, from after its brace to
// after the closing one.
func (r *reader) members(m *message, i int, rule typeRule) int {
	start := i - 1
	if r.in[i] <= ' ' {
		i = r.space(i)
	}
	return r.membersFrom(m, i, start, r.in[i] == '}', rule)
}

// membersFrom reads from the first name on, if the object is not empty.
func (r *reader) membersFrom(m *message, i, start int, empty bool, rule typeRule) int {
	s := seen{sets: len(r.sets), exts: len(r.exts)}
	if m.many {
		r.reserve(m.words + m.oneofs)
	}
	if !empty {
		i = r.memberList(m, &s, i, rule)
		if i == failed {
			return failed
		}
	}
	r.sets, r.exts = r.sets[:s.sets], r.exts[:s.exts]
	if s.required < m.required && r.inAny == 0 {
		return r.missing(m, start)
	}
	return i + 1
}

// memberList reads members up to the closing brace.
func (r *reader) memberList(m *message, s *seen, i int, rule typeRule) int {
	in := r.in
	guess, last := m.names.first.Load(), -1
	tries := 3 // how many fields may be left out for a guess to be right
	for {
		var f *field
		at := i
		for try := 0; try < tries && int(guess) < len(m.names.entries); try++ {
			e := &m.names.entries[guess]
			if n := len(e.lit); n <= len(in)-i && string(in[i:i+n]) == e.lit {
				f = &m.fields[e.field]
				last, guess = int(guess), e.next.Load()
				i += n
				break
			}
			guess = e.next.Load() // a field left out
		}
		if tries = 3; f == nil {
			tries = 1 // after a wrong guess the next is likely to be wrong, too
			if i, f = r.otherName(m, i, &guess, &last, rule); i == failed {
				return failed
			}
		}
		if in[i] <= ' ' {
			i = r.space(i)
		}
		if f == nil || f == &r.typeURL {
			i = r.skip(i, r.left)
		} else {
			i = r.known(m, s, f, at, i)
		}
		if i == failed {
			return failed
		}
		if in[i] <= ' ' {
			i = r.space(i)
		}
		if in[i] == '}' {
			return i
		}
		if in[i] != ',' {
			return r.unexpected(i, "',' or '}'")
		}
		if i++; in[i] <= ' ' {
			i = r.space(i)
		}
	}
}

// known reads the value of a field, unless it is null.
func (r *reader) known(m *message, s *seen, f *field, at, i int) int {
	if f.plain && !m.many {
		bit := uint64(1) << (f.index & 63)
		if s.fields&bit != 0 {
			return r.fail(at, "duplicate field %s", r.show(at))
		}
		s.fields |= bit
		switch {
		case r.in[i] == 'n' && !f.nullable:
			return r.word(i, "null")
		case f.op == opString && r.in[i] == '"':
			return r.stringMember(f, i)
		case f.op >= opMessage:
			return r.nested(f, i)
		}
		return r.scalarMember(f, i)
	}
	if !r.see(m, s, f) {
		return r.fail(at, "duplicate field %s", r.show(at))
	}
	if r.in[i] == 'n' && !f.nullable {
		return r.word(i, "null")
	}
	if f.oneof >= 0 && f.shape == single {
		word, bit := &s.oneofs, uint64(1)<<(f.oneof&63)
		if m.many {
			word = &r.sets[s.sets+m.words+int(f.oneof>>6)]
		}
		if *word&bit != 0 {
			return r.fail(at, "a field of oneof %s is set already, and %s is another", f.desc.ContainingOneof().Name(), r.show(at))
		}
		*word |= bit
	}
	if f.required {
		s.required++
	}
	return r.member(f, i)
}

// see notes that a field came, and reports whether it is the first time.
func (r *reader) see(m *message, s *seen, f *field) bool {
	if f.index < 0 {
		for _, e := range r.exts[s.exts:] {
			if e == f {
				return false
			}
		}
		r.exts = append(r.exts, f)
		return true
	}
	word, bit := &s.fields, uint64(1)<<(f.index&63)
	if m.many {
		word = &r.sets[s.sets+f.index>>6]
	}
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}

// reserve puts zeroed words on the stack of sets.
func (r *reader) reserve(words int) {
	for range words {
		r.sets = append(r.sets, 0)
	}
}

// otherName reads a member's name that was not guessed, and the colon.
func (r *reader) otherName(m *message, i int, guess *uint32, last *int, rule typeRule) (int, *field) {
	at := i
	name, i := r.nameColon(i)
	if i == failed {
		return failed, nil
	}
	if k := m.names.find(name); k >= 0 {
		r.learn(m, *last, k)
		e := &m.names.entries[k]
		*guess, *last = e.next.Load(), k
		return i, &m.fields[e.field]
	}
	if rule != typeField && string(name) == "@type" {
		if rule == typeTwice {
			return r.fail(at, `duplicate field "@type"`), nil
		}
		return i, &r.typeURL
	}
	if len(name) > 1 && name[0] == '[' && name[len(name)-1] == ']' {
		f, reason := m.extensionByName(name[1 : len(name)-1])
		if reason != "" {
			return r.fail(at, "%s", reason), nil
		}
		if f != nil {
			return i, f
		}
	}
	if !r.plan.opts.DiscardUnknown {
		return r.unknown(at), nil
	}
	return i, nil
}

// learn stores one in eight of the successions that were not guessed: clients
// keep their order, and those who do not should not fight over a cache line.
func (r *reader) learn(m *message, last, k int) {
	r.misses++
	if r.misses&7 != 1 {
		return
	}
	if last < 0 {
		m.names.first.Store(uint32(k))
		return
	}
	m.names.entries[last].next.Store(uint32(k))
}

// nameColon reads a string and the colon after it. The name is valid until the
// next string is read.
func (r *reader) nameColon(i int) ([]byte, int) {
	if r.in[i] != '"' {
		return nil, r.unexpected(i, "a member name")
	}
	name, i := r.text(i)
	if i == failed {
		return nil, failed
	}
	if r.in[i] <= ' ' {
		i = r.space(i)
	}
	if r.in[i] != ':' {
		return nil, r.unexpected(i, "':'")
	}
	return name, i + 1
}

func (r *reader) unknown(at int) int {
	return r.failAs(codec.UnknownField, at, "unknown field %s", r.show(at))
}

func (r *reader) missing(m *message, start int) int {
	return r.fail(start, "a required field of %s is missing", m.desc.FullName())
}

// extensionByName finds an extension of m. Only those that exist are kept: the
// names are a client's.
func (m *message) extensionByName(name []byte) (*field, string) {
	if f, ok := m.extNames.view()[string(name)]; ok {
		return f, ""
	}
	typ, err := m.family.resolver.FindExtensionByName(protoreflect.FullName(name))
	if err != nil && !errors.Is(err, protoregistry.NotFound) {
		return nil, "unable to resolve the extension " + string(name[:min(len(name), 100)])
	}
	if err != nil || typ == nil {
		return nil, ""
	}
	desc := typ.TypeDescriptor()
	if desc.ContainingMessage().FullName() != m.desc.FullName() || !m.desc.ExtensionRanges().Has(desc.Number()) {
		return nil, "message " + string(m.desc.FullName()) + " cannot be extended by " + string(desc.FullName())
	}
	return m.extNames.keep(string(name), m.family.single(desc)), ""
}

// extension finds an extension of m by its number.
func (m *message) extension(num protowire.Number) *field {
	if f, ok := m.extNumbers.view()[num]; ok {
		return f
	}
	if !m.desc.ExtensionRanges().Has(num) {
		return nil
	}
	typ, err := m.family.resolver.FindExtensionByNumber(m.desc.FullName(), num)
	if err != nil || typ == nil {
		return nil
	}
	return m.extNumbers.keep(num, m.family.single(typ.TypeDescriptor()))
}
