package direct

import "math/bits"

// hole is the place of a length: one byte, until the length is known. Those
// below 128 are filled at once. The others stay in a list that is ordered by
// position, because a hole with a long one inside is long itself.
type hole struct {
	at int // of the placeholder in out
	n  int // while open: extra at that time; then the length
}

// mark is a place to roll back to.
type mark struct{ out, holes, extra int }

func (r *reader) mark() mark { return mark{len(r.out), len(r.holes), r.extra} }

// rollBack takes back all that was written since a mark.
func (r *reader) rollBack(m mark) {
	r.out, r.holes, r.extra = r.out[:m.out], r.holes[:m.holes], m.extra
}

// open begins a length-delimited value.
func (r *reader) open() int {
	r.holes = append(r.holes, hole{at: len(r.out), n: r.extra})
	r.out = append(r.out, 0)
	return len(r.holes) - 1
}

// close ends the value whose open returned h.
func (r *reader) close(h int) {
	o := &r.holes[h]
	size := len(r.out) - o.at - 1 + r.extra - o.n
	if size < 0x80 {
		r.out[o.at] = byte(size)
		r.holes = r.holes[:h]
		return
	}
	o.n = size
	r.extra += varintLen(uint64(size)) - 1
}

// appendTag appends a tag of n bytes.
func appendTag(b []byte, tag uint64, n uint8) []byte {
	if n == 1 {
		return append(b, byte(tag))
	}
	return appendLongTag(b, tag, n)
}

func appendLongTag(b []byte, tag uint64, n uint8) []byte {
	if n == 2 {
		return append(b, byte(tag), byte(tag>>8))
	}
	for ; n > 0; n-- {
		b = append(b, byte(tag))
		tag >>= 8
	}
	return b
}

func appendVarint(b []byte, v uint64) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

func putVarint(b []byte, v uint64) {
	i := 0
	for ; v >= 0x80; i++ {
		b[i] = byte(v) | 0x80
		v >>= 7
	}
	b[i] = byte(v)
}

func varintLen(v uint64) int {
	return (bits.Len64(v|1) + 6) / 7
}
