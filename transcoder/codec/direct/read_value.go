package direct

import (
	"bytes"
	"hash/maphash"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// member reads the value of a field and writes it with its tags.
func (r *reader) member(f *field, i int) int {
	switch f.shape {
	case list:
		return r.list(f, i)
	case dict:
		return r.dict(f, i)
	}
	if f.op >= opMessage {
		return r.nested(f, i)
	}
	return r.scalarMember(f, i)
}

// scalarMember writes a scalar, unless it is a zero that has no presence.
func (r *reader) scalarMember(f *field, i int) int {
	before := len(r.out)
	r.out = appendTag(r.out, f.tag, f.tagLen)
	i, got := r.scalar(f, i)
	if got != set && (got == dropped || !f.presence) {
		r.out = r.out[:before]
	}
	return i
}

// nested reads one message with its tag.
func (r *reader) nested(f *field, i int) int {
	r.out = appendTag(r.out, f.tag, f.tagLen)
	if f.op == opGroup {
		if i = r.message(f.message, i); i != failed {
			r.out = protowire.AppendTag(r.out, f.num, protowire.EndGroupType)
		}
		return i
	}
	h := r.open()
	if i = r.message(f.message, i); i != failed {
		r.close(h)
	}
	return i
}

// list reads an array.
func (r *reader) list(f *field, i int) int {
	if r.in[i] != '[' {
		return r.unexpected(i, "an array")
	}
	i = r.space(i + 1)
	if r.in[i] == ']' {
		return i + 1
	}
	if f.packed {
		return r.packedList(f, i)
	}
	for {
		if f.op >= opMessage {
			i = r.nested(f, i)
		} else {
			before := len(r.out)
			var got outcome
			r.out = appendTag(r.out, f.tag, f.tagLen)
			if i, got = r.scalar(f, i); got == dropped {
				r.out = r.out[:before]
			}
		}
		if i == failed {
			return failed
		}
		var more bool
		if i, more = r.nextElement(i); !more {
			return i
		}
	}
}

func (r *reader) packedList(f *field, i int) int {
	m := r.mark()
	r.out = appendTag(r.out, f.tag, f.tagLen)
	h := r.open()
	before := len(r.out)
	for {
		if i, _ = r.scalar(f, i); i == failed {
			return failed
		}
		var more bool
		if i, more = r.nextElement(i); !more {
			break
		}
	}
	if len(r.out) == before { // every name was unknown
		r.rollBack(m)
		return i
	}
	r.close(h)
	return i
}

// nextElement steps over a comma to the next element, or out of the array.
func (r *reader) nextElement(i int) (int, bool) {
	in := r.in
	if in[i] <= ' ' {
		i = r.space(i)
	}
	if in[i] == ',' {
		if i++; in[i] <= ' ' {
			i = r.space(i)
		}
		return i, true
	}
	if in[i] == ']' {
		return i + 1, false
	}
	return r.unexpected(i, "',' or ']'"), false
}

// dict reads an object into map entries.
func (r *reader) dict(f *field, i int) int {
	if r.in[i] != '{' {
		return r.unexpected(i, "an object")
	}
	i = r.space(i + 1)
	if r.in[i] == '}' {
		return i + 1
	}
	keys := keySet{first: len(r.keys), slots: len(r.slots)}
	for {
		if i = r.entry(f, &keys, i); i == failed {
			return failed
		}
		if r.in[i] <= ' ' {
			i = r.space(i)
		}
		if r.in[i] == '}' {
			break
		}
		if r.in[i] != ',' {
			return r.unexpected(i, "',' or '}'")
		}
		i = r.space(i + 1)
	}
	r.keys, r.slots = r.keys[:keys.first], r.slots[:keys.slots]
	return i + 1
}

// entry reads one member of a map.
func (r *reader) entry(f *field, keys *keySet, i int) int {
	at := i
	name, i := r.nameColon(i)
	if i == failed {
		return failed
	}
	m := r.mark()
	r.out = appendTag(r.out, f.tag, f.tagLen)
	h := r.open()
	r.out = append(r.out, byte(f.key.tag))
	start := len(r.out)
	if !r.mapKey(f.key, name) {
		return r.fail(at, "invalid %s key %s", f.key.desc.Kind(), r.show(at))
	}
	if !r.addKey(keys, span{start, len(r.out)}) {
		return r.fail(at, "duplicate map key %s", r.show(at))
	}
	if r.in[i] <= ' ' {
		i = r.space(i)
	}
	if f.value.op >= opMessage {
		i = r.nested(f.value, i)
	} else {
		var got outcome
		r.out = append(r.out, byte(f.value.tag))
		if i, got = r.scalar(f.value, i); got == dropped {
			r.dropKey(keys)
			r.rollBack(m)
			return i
		}
	}
	if i != failed {
		r.close(h)
	}
	return i
}

// keySet finds duplicate keys of one map: by looking at all of them while they
// are few, then by a hash table. Keys are compared in wire form, where all
// spellings of a number are one.
type keySet struct {
	first int // in reader.keys
	slots int // in reader.slots
	size  int // of the table, a power of two; 0 while the keys are few
}

const fewKeys = 8

// addKey reports whether the key is new.
func (r *reader) addKey(s *keySet, key span) bool {
	bytesOf := r.out[key.start:key.end]
	if s.size == 0 {
		for _, k := range r.keys[s.first:] {
			if bytes.Equal(r.out[k.start:k.end], bytesOf) {
				return false
			}
		}
		if r.keys = append(r.keys, key); len(r.keys)-s.first > fewKeys {
			r.hashKeys(s, 8*fewKeys)
		}
		return true
	}
	slot := r.findKey(s, bytesOf)
	if *slot != 0 {
		return false
	}
	r.keys = append(r.keys, key)
	*slot = uint32(len(r.keys) - s.first)
	if 2*(len(r.keys)-s.first) > s.size {
		r.hashKeys(s, 2*s.size)
	}
	return true
}

// findKey returns the slot where the key is or ought to be.
func (r *reader) findKey(s *keySet, key []byte) *uint32 {
	table := r.slots[s.slots:]
	mask := uint64(s.size - 1)
	for h := maphash.Bytes(r.seed, key) & mask; ; h = (h + 1) & mask {
		r.work++
		n := table[h]
		if n == 0 {
			return &table[h]
		}
		if k := r.keys[s.first+int(n)-1]; bytes.Equal(r.out[k.start:k.end], key) {
			return &table[h]
		}
	}
}

// hashKeys makes a table of size for the keys so far.
func (r *reader) hashKeys(s *keySet, size int) {
	r.slots = slices.Grow(r.slots[:s.slots], size)[:s.slots+size]
	clear(r.slots[s.slots:])
	s.size = size
	for n, k := range r.keys[s.first:] {
		*r.findKey(s, r.out[k.start:k.end]) = uint32(n + 1)
	}
}

// dropKey forgets the last key, whose entry was dropped.
func (r *reader) dropKey(s *keySet) {
	if s.size > 0 {
		k := r.keys[len(r.keys)-1]
		*r.findKey(s, r.out[k.start:k.end]) = 0
	}
	r.keys = r.keys[:len(r.keys)-1]
}

// mapKey writes a key by the rules of strconv, as protojson has them.
func (r *reader) mapKey(f *field, name []byte) bool {
	switch f.op {
	case opString:
		r.out = append(appendVarint(r.out, uint64(len(name))), name...)
		return true
	case opBool:
		switch string(name) {
		case "true":
			r.out = append(r.out, 1)
			return true
		case "false":
			r.out = append(r.out, 0)
			return true
		}
		return false
	}
	n := number{}
	digits := name
	if signed := f.op <= opSfixed32 || f.op >= opInt64 && f.op <= opSfixed64; signed && len(digits) > 0 {
		if n.negative = digits[0] == '-'; n.negative || digits[0] == '+' {
			digits = digits[1:]
		}
	}
	if len(digits) == 0 {
		return false
	}
	for _, c := range digits {
		if c -= '0'; c > 9 || !n.push(c) {
			return false
		}
	}
	_, ok := r.integer(f.op, n)
	return ok
}
