package rest

import (
	"errors"
	"io"
	"slices"

	"google.golang.org/grpc/mem"
)

// splitter cuts a text of many JSON values into values as it arrives. It only
// looks for their ends: whether a value is valid is said by whoever reads it.
//
// Values stand one after the other, with white space between them or without.
// With list set, they may also be the elements of one array. With lines set, a
// value ends at the end of its line (NDJSON), so that a broken one is seen as
// soon as its line is there.
type splitter struct {
	src         io.Reader
	pool        mem.BufferPool
	limit       int64 // of one value, in bytes
	list, lines bool

	buf     *[]byte // the value being cut, and what was read after it
	at      int     // how far buf was looked at
	start   int     // of the value
	phase   splitPhase
	depth   int  // of objects and arrays
	text    bool // inside a string
	escaped bool // after a backslash
	err     error
}

type splitPhase int

const (
	splitBegin  splitPhase = iota // nothing but space yet
	splitGap                      // between two values
	splitFirst                    // after "[": a value, or the end of the list
	splitItem                     // after ",": a value
	splitComma                    // after a value of the list
	splitOver                     // after the list
	splitNested                   // in an object, array or string
	splitScalar                   // in a number or literal
)

// Why a text cannot be cut further.
var (
	errSplitEnd   = errors.New("it ends inside a value")
	errSplitList  = errors.New("it is not a JSON array")
	errSplitLarge = errors.New("a message is too large")
	errSplitRest  = errors.New("something follows the array")
	errSplitOpen  = errors.New("it ends before its array does")
)

// next returns the next value, which is valid until the next call, and io.EOF
// after the last.
func (s *splitter) next() ([]byte, error) {
	if s.buf == nil {
		s.buf = s.pool.Get(minBuffer)
		*s.buf = (*s.buf)[:0]
	}
	for {
		value, ok, err := s.scan()
		if ok && int64(len(value)) > s.limit {
			return nil, errSplitLarge
		}
		if ok || err != nil {
			return value, err
		}
		if s.err != nil {
			return s.end()
		}
		if s.inside() && int64(s.at-s.start) > s.limit {
			return nil, errSplitLarge
		}
		s.fill()
	}
}

func (s *splitter) inside() bool { return s.phase == splitNested || s.phase == splitScalar }

// fill reads more, after it has moved what is still needed to the front.
func (s *splitter) fill() {
	b := *s.buf
	keep := s.at
	if s.inside() {
		keep = s.start
	}
	if keep > 0 {
		b = b[:copy(b, b[keep:])]
		s.start, s.at = s.start-keep, s.at-keep
	}
	if len(b) == cap(b) {
		b = slices.Grow(b, cap(b))
	}
	n, err := s.src.Read(b[len(b):cap(b)])
	*s.buf = b[:len(b)+n]
	s.err = err
}

// scan looks on until a value has ended, or the text it has has.
func (s *splitter) scan() (value []byte, ok bool, err error) {
	b := *s.buf
	for ; s.at < len(b); s.at++ {
		c := b[s.at]
		switch s.phase {
		case splitNested:
			if s.nested(c) {
				if s.lines && c == '\n' {
					return s.take(b, s.at), true, nil
				}
				return s.take(b, s.at+1), true, nil
			}
		case splitScalar:
			if endsScalar(c) {
				return s.take(b, s.at), true, nil
			}
		default:
			if isSpace(c) {
				continue
			}
			if err := s.between(c); err != nil {
				return nil, false, err
			}
		}
	}
	return nil, false, nil
}

// between takes the first byte after a value, or of the next one.
func (s *splitter) between(c byte) error {
	switch {
	case s.phase == splitBegin && s.list && c == '[':
		s.phase = splitFirst
		return nil
	case s.phase == splitOver:
		return errSplitRest
	case s.phase == splitFirst && c == ']':
		s.phase = splitOver
		return nil
	case s.phase == splitComma:
		switch c {
		case ',':
			s.phase = splitItem
		case ']':
			s.phase = splitOver
		default:
			return errSplitList
		}
		return nil
	case s.phase == splitBegin:
		s.list = false
	}
	if s.list && (c == ',' || c == ']') {
		return errSplitList
	}
	s.start, s.phase = s.at, splitScalar
	switch c {
	case '{', '[':
		s.phase, s.depth, s.text = splitNested, 1, false
	case '"':
		s.phase, s.depth, s.text = splitNested, 0, true
	}
	s.escaped = false
	return nil
}

// nested looks at a byte inside a value and reports whether it ends it.
func (s *splitter) nested(c byte) bool {
	if c == '\n' && s.lines {
		return true
	}
	if s.text {
		switch {
		case s.escaped:
			s.escaped = false
		case c == '\\':
			s.escaped = true
		case c == '"':
			s.text = false
			return s.depth == 0
		}
		return false
	}
	switch c {
	case '"':
		s.text = true
	case '{', '[':
		s.depth++
	case '}', ']':
		s.depth--
		return s.depth == 0
	}
	return false
}

// take returns the value that ends before end.
func (s *splitter) take(b []byte, end int) []byte {
	s.at, s.phase = end, splitGap
	if s.list {
		s.phase = splitComma
	}
	return b[s.start:end]
}

// end says what the end of the text means.
func (s *splitter) end() ([]byte, error) {
	if s.err != io.EOF { //nolint:errorlint // only io.EOF itself is the end
		return nil, s.err
	}
	switch s.phase {
	case splitScalar:
		if !s.list {
			return s.take(*s.buf, len(*s.buf)), nil
		}
		return nil, errSplitOpen
	case splitNested:
		return nil, errSplitEnd
	case splitFirst, splitItem, splitComma:
		return nil, errSplitOpen
	}
	return nil, io.EOF
}

// close gives the memory back.
func (s *splitter) close() {
	if s.buf != nil {
		s.pool.Put(s.buf)
		s.buf = nil
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func endsScalar(c byte) bool {
	switch c {
	case ',', ']', '}', '[', '{', '"', ':':
		return true
	}
	return isSpace(c)
}
