package frame

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"unicode/utf8"
)

// Reader reads a client's messages. It is for one goroutine at a time. Its
// memory grows with what has arrived, never with what a header claims.
type Reader struct {
	// Src is the connection.
	Src *bufio.Reader
	// Max is the largest message in bytes, inflated; 0 or less: none is taken.
	Max int
	// Compression says that permessage-deflate was agreed on.
	Compression bool
	// Control is called for each control frame that is well-formed, with a
	// payload that is valid during the call. Its error ends Next.
	Control func(op Opcode, payload []byte) error
	// Frame, if any, is called for each frame before it is read: its error ends Next.
	Frame func() error

	header  [maxHeader]byte
	control [MaxControl]byte
}

// piece is how much of a payload is waited for at once.
const piece = 32 << 10

// head is a frame's header.
type head struct {
	op         Opcode
	fin        bool
	compressed bool
	length     int64
	key        [4]byte
}

// Next appends the next message, whole, to dst and says whether it is text. An
// *Error is the client's violation; io.EOF the end of the connection between
// messages; any other error is the connection's or Control's. Text is valid UTF-8.
func (r *Reader) Next(dst []byte) (message []byte, text bool, err error) {
	start, checked := len(dst), len(dst)
	begun, compressed := false, false
	for {
		h, err := r.head()
		if err != nil {
			if begun && errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return dst, text, err
		}
		if h.op >= Close {
			if err := r.readControl(h); err != nil {
				return dst, text, err
			}
			continue
		}
		if begun != (h.op == Continuation) {
			return dst, text, sequence(begun)
		}
		if h.compressed && (begun || !r.Compression) {
			return dst, text, &Error{CodeProtocol, "reserved bit RSV1 is set"}
		}
		if !begun {
			begun, text, compressed = true, h.op == Text, h.compressed
		}
		if h.length > int64(r.Max-(len(dst)-start)) {
			return dst, text, tooBig()
		}
		if dst, err = r.payload(dst, h); err != nil {
			return dst, text, err
		}
		if text && !compressed {
			if checked, err = checkText(dst, checked, h.fin); err != nil {
				return dst, text, err
			}
		}
		if h.fin {
			return r.finish(dst, start, text, compressed)
		}
	}
}

// finish inflates a message that is compressed.
func (r *Reader) finish(dst []byte, start int, text, compressed bool) ([]byte, bool, error) {
	if !compressed {
		return dst, text, nil
	}
	plain, err := inflate(dst[start:], r.Max)
	if err != nil {
		return dst, text, err
	}
	dst = append(dst[:start], plain...)
	if text {
		_, err = checkText(dst, start, true)
	}
	return dst, text, err
}

func sequence(begun bool) *Error {
	if begun {
		return &Error{CodeProtocol, "a new message begins before the last one has ended"}
	}
	return &Error{CodeProtocol, "a continuation frame continues no message"}
}

func tooBig() *Error { return &Error{CodeTooBig, "the message is larger than the limit"} }

// checkText checks dst from checked on, up to a rune that is not whole yet, and
// returns how far it got.
func checkText(dst []byte, checked int, whole bool) (int, error) {
	end := len(dst)
	if !whole { // the last rune may be cut
		for back := 1; back <= utf8.UTFMax-1 && end-back >= checked; back++ {
			if b := dst[end-back]; utf8.RuneStart(b) {
				if !utf8.FullRune(dst[end-back:]) {
					end -= back
				}
				break
			}
		}
	}
	if !utf8.Valid(dst[checked:end]) {
		return checked, &Error{CodeInvalidData, "a text message is not UTF-8"}
	}
	return end, nil
}

// head reads and checks a frame's header.
func (r *Reader) head() (h head, err error) {
	b := r.header[:]
	if _, err := io.ReadFull(r.Src, b[:2]); err != nil {
		return h, err
	}
	h.op, h.fin, h.compressed = Opcode(b[0]&0x0f), b[0]&finBit != 0, b[0]&rsv1Bit != 0
	if err := checkHead(b[0], b[1], r.Compression); err != nil {
		return h, err
	}
	if r.Frame != nil {
		if err := r.Frame(); err != nil {
			return h, err
		}
	}
	h.length = int64(b[1] &^ maskBit)
	size := 4
	switch h.length {
	case length16:
		size += 2
	case length64:
		size += 8
	}
	if _, err := io.ReadFull(r.Src, b[:size]); err != nil {
		return h, unexpected(err)
	}
	switch h.length {
	case length16:
		if h.length = int64(binary.BigEndian.Uint16(b)); h.length < length16 {
			return h, badLength()
		}
	case length64:
		n := binary.BigEndian.Uint64(b)
		if n <= 0xffff || n >= 1<<63 {
			return h, badLength()
		}
		h.length = int64(n)
	}
	copy(h.key[:], b[size-4:size])
	return h, nil
}

func badLength() *Error {
	return &Error{CodeProtocol, "a frame's length is not in its shortest form"}
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// checkHead checks the first two bytes of a frame. The order is that of the bits.
func checkHead(first, second byte, compression bool) error {
	op := Opcode(first & 0x0f)
	control := op >= Close
	switch {
	case first&reservedBits != 0, first&rsv1Bit != 0 && (control || !compression):
		return &Error{CodeProtocol, "a reserved bit is set"}
	case op > Binary && op < Close, op > Pong:
		return &Error{CodeProtocol, "a frame has a reserved opcode"}
	case second&maskBit == 0:
		return &Error{CodeProtocol, "a client's frames must be masked"}
	case control && first&finBit == 0:
		return &Error{CodeProtocol, "a control frame is fragmented"}
	case control && second&^maskBit > MaxControl:
		return &Error{CodeProtocol, "a control frame is longer than 125 bytes"}
	}
	return nil
}

// payload appends a frame's payload to dst, unmasked.
func (r *Reader) payload(dst []byte, h head) ([]byte, error) {
	for done := 0; int64(done) < h.length; {
		n := int(min(h.length-int64(done), piece))
		dst = slices.Grow(dst, n)
		part := dst[len(dst) : len(dst)+n]
		if _, err := io.ReadFull(r.Src, part); err != nil {
			return dst, unexpected(err)
		}
		unmask(part, h.key, done)
		dst = dst[:len(dst)+n]
		done += n
	}
	return dst, nil
}

func (r *Reader) readControl(h head) error {
	p := r.control[:h.length]
	if _, err := io.ReadFull(r.Src, p); err != nil {
		return unexpected(err)
	}
	unmask(p, h.key, 0)
	return r.Control(h.op, p)
}
