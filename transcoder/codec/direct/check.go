package direct

import (
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// check validates wire bytes that are not written, because later ones win over
// them: the reference codec decodes those, too, and refuses what is not valid.
func (w *writer) check(m *message, b []byte, left int) bool {
	if left <= 0 {
		return w.tooDeep()
	}
	m.tables()
	for i := 0; i < len(b); {
		w.work++
		num, typ, j := fieldTag(b, i)
		if j == failed {
			return w.malformed()
		}
		if i = skipWire(b, j, num, typ); i == failed {
			return w.malformed()
		}
		f := m.field(num)
		if f == nil || !f.takes(typ) {
			continue
		}
		if !w.checkField(f, b, j, typ, left) {
			return false
		}
	}
	return true
}

// checkField checks the value at i, which is known to be whole.
func (w *writer) checkField(f *field, b []byte, i int, typ protowire.Type, left int) bool {
	switch {
	case f.shape == dict:
		start, end := lengthed(b, i)
		return w.checkMapEntry(f, b[start:end], left)
	case f.op >= opMessage:
		body, _ := f.piece(b, i)
		return w.check(f.message, body, left-1)
	case typ != f.wire:
		start, end := lengthed(b, i)
		for start < end {
			if start = skipWire(b[:end], start, f.num, f.wire); start == failed {
				return w.malformed()
			}
		}
		return true
	}
	return w.checkScalar(f, b, i)
}

// checkScalar checks the text of a string.
func (w *writer) checkScalar(f *field, b []byte, i int) bool {
	if f.utf8 {
		if start, end := lengthed(b, i); !utf8.Valid(b[start:end]) {
			return w.fail("invalid UTF-8")
		}
	}
	return true
}

// checkSingle checks a value of a field that is not repeated.
func (w *writer) checkSingle(f *field, b []byte, i int) bool {
	return w.checkField(f, b, i, f.wire, w.left)
}

// checkEntry checks an entry whose key came again.
func (w *writer) checkEntry(f *field, e *entry) bool {
	return w.checkMapEntry(f, e.body, w.left)
}

func (w *writer) checkMapEntry(f *field, b []byte, left int) bool {
	for i := 0; i < len(b); {
		num, typ, j := fieldTag(b, i)
		if j == failed {
			return w.malformed()
		}
		if i = skipWire(b, j, num, typ); i == failed {
			return w.malformed()
		}
		ok := true
		switch {
		case num == 1 && typ == f.key.wire:
			ok = w.checkScalar(f.key, b, j)
		case num == 2 && typ == f.value.wire:
			ok = w.checkField(f.value, b, j, typ, left)
		}
		if !ok {
			return false
		}
	}
	return true
}
