package frame

import (
	"crypto/sha1" //nolint:gosec // RFC 6455, section 4.2.2, asks for it; nothing depends on its strength
	"encoding/base64"
	"encoding/binary"
	"unicode/utf8"
)

// Opcode is what a frame is (RFC 6455, section 5.2).
type Opcode byte

// The opcodes.
const (
	Continuation Opcode = 0x0
	Text         Opcode = 0x1
	Binary       Opcode = 0x2
	Close        Opcode = 0x8
	Ping         Opcode = 0x9
	Pong         Opcode = 0xA
)

// The close codes of RFC 6455, section 7.4.1, and of the IANA registry that we
// send or meet.
const (
	CodeNormal         = 1000
	CodeGoingAway      = 1001
	CodeProtocol       = 1002
	CodeUnsupported    = 1003
	CodeNone           = 1005 // never sent: a close frame without a code
	CodeInvalidData    = 1007
	CodePolicy         = 1008
	CodeTooBig         = 1009
	CodeInternal       = 1011
	CodeRestart        = 1012
	CodeTryAgain       = 1013
	MaxControl         = 125            // bytes of a control frame's payload
	MaxReason          = MaxControl - 2 // bytes of a close frame's reason
	finBit, rsv1Bit    = 0x80, 0x40
	maskBit            = 0x80
	maxHeader          = 14
	reservedBits       = 0x30
	acceptGUID         = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
	length16, length64 = 126, 127
)

// Error is how a client broke the protocol: the close code that this deserves,
// and a public reason of at most MaxReason bytes.
type Error struct {
	Code   int
	Reason string
}

func (e *Error) Error() string { return e.Reason }

// Accept returns the Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455, section 4.2.2).
func Accept(key string) string {
	sum := sha1.Sum([]byte(key + acceptGUID)) //nolint:gosec // as above
	return base64.StdEncoding.EncodeToString(sum[:])
}

// AppendHeader appends the header of a server's frame that is a whole message,
// or control frame, of length bytes. compressed sets RSV1 (RFC 7692, section 6).
func AppendHeader(dst []byte, op Opcode, length int, compressed bool) []byte {
	first := finBit | byte(op)
	if compressed {
		first |= rsv1Bit
	}
	switch {
	case length < length16:
		return append(dst, first, byte(length))
	case length <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, first, length16), uint16(length))
	}
	return binary.BigEndian.AppendUint64(append(dst, first, length64), uint64(length))
}

// AppendClose appends the payload of a close frame. The reason is cut to fit,
// at a rune, and made valid UTF-8; CodeNone is an empty payload.
func AppendClose(dst []byte, code int, reason string) []byte {
	if code == CodeNone {
		return dst
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(code))
	return append(dst, CutReason(reason)...)
}

// CutReason returns reason as valid UTF-8 of at most MaxReason bytes.
func CutReason(reason string) string {
	if len(reason) <= MaxReason && utf8.ValidString(reason) {
		return reason
	}
	var out []byte
	for _, r := range reason { // invalid bytes become U+FFFD
		if len(out)+utf8.RuneLen(r) > MaxReason {
			break
		}
		out = utf8.AppendRune(out, r)
	}
	return string(out)
}

// ParseClose reads the payload of a close frame (RFC 6455, section 5.5.1). One
// without a code is CodeNone.
func ParseClose(p []byte) (code int, reason string, err *Error) {
	if len(p) == 0 {
		return CodeNone, "", nil
	}
	if len(p) == 1 {
		return 0, "", &Error{CodeProtocol, "a close frame has a code of two bytes, or nothing"}
	}
	code = int(binary.BigEndian.Uint16(p))
	if !validCode(code) {
		return 0, "", &Error{CodeProtocol, "a close frame has a code that no peer may send"}
	}
	if !utf8.Valid(p[2:]) {
		return 0, "", &Error{CodeInvalidData, "the reason of a close frame is not UTF-8"}
	}
	return code, string(p[2:]), nil
}

// validCode reports whether a peer may send code: RFC 6455, section 7.4, and
// the codes that IANA has registered since.
func validCode(code int) bool {
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014, code >= 3000 && code <= 4999:
		return true
	}
	return false
}

// unmask applies the masking key to p, whose first byte is byte pos of the
// payload (RFC 6455, section 5.3).
func unmask(p []byte, key [4]byte, pos int) {
	var k [8]byte
	for i := range k {
		k[i] = key[(pos+i)&3]
	}
	word := binary.LittleEndian.Uint64(k[:])
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^word)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= k[i]
	}
}
