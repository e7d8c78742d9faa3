package direct

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"
)

// nameTable finds names: open addressing over a hash of the length and of the
// first and last bytes. The names are the schema's, so their collisions are
// not a client's to choose.
type nameTable struct {
	entries []nameEntry
	slots   []uint16 // index of an entry + 1
	shift   uint8
	// first is a guess of the entry that comes first, and an entry's next a
	// guess of the one that comes after it: the one that came last time.
	first atomic.Uint32
}

// nameEntry is one name: a field may have two.
type nameEntry struct {
	lit   string // `"name":`, escaped as clients write it
	name  string
	field int
	next  atomic.Uint32
}

// nameOf is a name and the index of what it names.
type nameOf struct {
	name  string
	index int
}

// fill makes the table; the first of equal names wins.
func (t *nameTable) fill(names []nameOf) {
	size := 4
	for size < 2*len(names) {
		size *= 2
	}
	t.slots = make([]uint16, size)
	t.shift = uint8(64 - bits.TrailingZeros(uint(size)))
	t.entries = make([]nameEntry, len(names))
	n := 0
	for _, name := range names {
		if t.find([]byte(name.name)) >= 0 {
			continue
		}
		e := &t.entries[n]
		e.name, e.field = name.name, name.index
		e.lit = quoted(name.name) + ":"
		n++
		h := hashName([]byte(name.name)) >> t.shift
		for t.slots[h] != 0 {
			h = (h + 1) & uint64(size-1)
		}
		t.slots[h] = uint16(n)
	}
	t.entries = t.entries[:n]
	for i := range t.entries {
		t.entries[i].next.Store(uint32((i + 1) % n))
	}
}

// find returns the index of the entry of name, or -1.
func (t *nameTable) find(name []byte) int {
	if len(t.slots) == 0 {
		return -1
	}
	mask := uint64(len(t.slots) - 1)
	for h := hashName(name) >> t.shift; ; h = (h + 1) & mask {
		k := t.slots[h&mask]
		if k == 0 {
			return -1
		}
		if t.entries[k-1].name == string(name) {
			return int(k - 1)
		}
	}
}

// hashName mixes the length, the first eight and the last eight bytes.
func hashName(b []byte) uint64 {
	var head, tail uint64
	switch n := len(b); {
	case n >= 8:
		head = binary.LittleEndian.Uint64(b)
		tail = binary.LittleEndian.Uint64(b[n-8:])
	case n >= 4:
		head = uint64(binary.LittleEndian.Uint32(b))
		tail = uint64(binary.LittleEndian.Uint32(b[n-4:]))
	case n > 0:
		head = uint64(b[0]) | uint64(b[n/2])<<8 | uint64(b[n-1])<<16
	}
	h := (head ^ uint64(len(b))) * 0x9e3779b97f4a7c15
	h ^= bits.RotateLeft64(tail, 29)
	return h * 0xff51afd7ed558ccd
}
