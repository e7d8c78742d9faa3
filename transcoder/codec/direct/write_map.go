package direct

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// entry is one entry of a map, found but not written.
type entry struct {
	rank  uint64 // orders the keys: the number, or the first bytes of the string
	key   []byte // of a string
	body  []byte // of the entry
	value int    // offset of the value in body, or missing, or several
}

// ranked is an entry's place in the order of keys.
type ranked struct {
	rank uint64
	at   int // in writer.entries
}

const (
	missing = -1
	several = -2 // pieces of a message
)

// collect puts the map entries whose tags follow each other from i on on the
// stack, and returns the offset after them.
func (w *writer) collect(f *field, b []byte, i int) int {
	for i < len(b) {
		num, typ, j := fieldTag(b, i)
		if j == failed {
			return w.stop(w.malformed())
		}
		if num != f.num || typ != protowire.BytesType {
			return i
		}
		start, end := lengthed(b, j)
		if end == failed {
			return w.stop(w.malformed())
		}
		e := entry{body: b[start:end], value: missing}
		if f.key.op >= opInt32 && f.key.op <= opSfixed32 || f.key.op >= opInt64 && f.key.op <= opSfixed64 {
			e.rank = 1 << 63 // the key 0
		}
		if !w.parseEntry(f, &e) {
			return failed
		}
		w.entries = append(w.entries, e)
		i = end
	}
	return i
}

// parseEntry finds the key and the value in an entry.
func (w *writer) parseEntry(f *field, e *entry) bool {
	for i := 0; i < len(e.body); {
		num, typ, j := fieldTag(e.body, i)
		if j == failed {
			return w.malformed()
		}
		next := skipWire(e.body, j, num, typ)
		if next == failed {
			return w.malformed()
		}
		switch {
		case num == 1 && typ == f.key.wire:
			if f.key.utf8 && !utf8.Valid(e.key) {
				return w.fail("invalid UTF-8 in a map key")
			}
			e.readKey(f.key.op, j)
		case num == 2 && typ == f.value.wire:
			if e.value != missing && f.value.op >= opMessage {
				e.value = several
				break
			}
			if e.value >= 0 && !w.checkScalar(f.value, e.body, e.value) {
				return false
			}
			e.value = j
		}
		i = next
	}
	return true
}

// readKey reads the key at i of the body, which is known to be whole.
func (e *entry) readKey(o op, i int) {
	switch o {
	case opString:
		start, end := lengthed(e.body, i)
		e.key = e.body[start:end]
		var head [8]byte
		copy(head[:], e.key)
		e.rank = binary.BigEndian.Uint64(head[:])
		return
	case opFixed32:
		e.rank = uint64(binary.LittleEndian.Uint32(e.body[i:]))
		return
	case opSfixed32:
		e.rank = uint64(int64(int32(binary.LittleEndian.Uint32(e.body[i:])))) ^ 1<<63
		return
	case opFixed64:
		e.rank = binary.LittleEndian.Uint64(e.body[i:])
		return
	case opSfixed64:
		e.rank = binary.LittleEndian.Uint64(e.body[i:]) ^ 1<<63
		return
	}
	v, _ := uvarint(e.body, i)
	switch o {
	case opBool:
		if v != 0 {
			v = 1
		}
		e.rank = v
	case opInt32:
		e.rank = uint64(int64(int32(v))) ^ 1<<63
	case opSint32:
		e.rank = uint64(int64(int32(protowire.DecodeZigZag(v&math.MaxUint32)))) ^ 1<<63
	case opUint32:
		e.rank = uint64(uint32(v))
	case opInt64:
		e.rank = v ^ 1<<63
	case opSint64:
		e.rank = uint64(protowire.DecodeZigZag(v)) ^ 1<<63
	default:
		e.rank = v
	}
}

// compare orders entries by key, and those of one key as they came.
func (w *writer) compare(a, b ranked) int {
	if a.rank != b.rank {
		return cmp.Compare(a.rank, b.rank)
	}
	if c := bytes.Compare(w.entries[a.at].key, w.entries[b.at].key); c != 0 {
		return c
	}
	return a.at - b.at
}

// dict writes the entries from first on, sorted by key, the last of equal keys,
// and takes them off the stack.
func (w *writer) dict(f *field, first int) bool {
	from, sorted := len(w.order), true
	for i := first; i < len(w.entries); i++ {
		r := ranked{w.entries[i].rank, i}
		sorted = sorted && (i == first || w.compare(w.order[len(w.order)-1], r) < 0)
		w.order = append(w.order, r)
	}
	if !sorted {
		slices.SortFunc(w.order[from:], w.compare)
	}
	start, end := len(w.out), len(w.order)
	for i := from; i < end; i++ {
		e := w.entries[w.order[i].at]
		if i+1 < end && w.order[i].rank == w.order[i+1].rank && bytes.Equal(e.key, w.entries[w.order[i+1].at].key) {
			if !w.checkEntry(f, &e) {
				return false
			}
			continue
		}
		w.out = append(w.out, ',')
		if !w.keyText(f.key.op, &e) {
			return w.fail("invalid UTF-8 in a map key")
		}
		w.out = append(w.out, ':')
		if !w.entryValue(f.value, e) {
			return w.at(string(e.keyString(f.key.op)))
		}
	}
	clear(w.entries[first:]) // let go of the wire bytes
	w.entries, w.order = w.entries[:first], w.order[:from]
	return w.enclose(start, '{', '}')
}

// keyText writes a key as a string; it fails if that is not UTF-8.
func (w *writer) keyText(o op, e *entry) (ok bool) {
	if o == opString {
		w.out, ok = appendString(w.out, e.key)
		return ok
	}
	w.out = append(w.out, '"')
	w.out = e.appendNumber(w.out, o)
	w.out = append(w.out, '"')
	return true
}

// appendNumber appends a key that is not a string.
func (e *entry) appendNumber(out []byte, o op) []byte {
	switch o {
	case opBool:
		return strconv.AppendBool(out, e.rank != 0)
	case opUint32, opFixed32, opUint64, opFixed64:
		return strconv.AppendUint(out, e.rank, 10)
	}
	return strconv.AppendInt(out, int64(e.rank^1<<63), 10)
}

// keyString is the key for an error's path.
func (e *entry) keyString(o op) []byte {
	if o == opString {
		return e.key[:min(len(e.key), 64)]
	}
	return e.appendNumber(nil, o)
}

// entryValue writes the value of an entry.
func (w *writer) entryValue(f *field, e entry) bool {
	switch {
	case e.value >= 0:
		next, _ := w.element(f, e.body, e.value)
		return next != failed && w.fits()
	case f.op < opMessage:
		w.out = append(w.out, f.zero...)
		return true
	case e.value == missing:
		return w.message(f.message, nil)
	}
	lo := len(w.frags)
	for i := 0; i < len(e.body); {
		num, typ, j := fieldTag(e.body, i)
		if num == 2 && typ == f.wire {
			body, _ := f.piece(e.body, j)
			w.frags = append(w.frags, body)
		}
		i = skipWire(e.body, j, num, typ)
	}
	return w.merged(f.message, lo)
}
