package framing

import "bytes"

// Preface is what an HTTP/2 client sends first (RFC 9113, section 3.4).
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// maxTrailer bounds the trailer section, in bytes: net/http looks for its end
// in one buffer of 4096 bytes.
const maxTrailer = 2048

// Limits bound one request's head and the overhead of its chunks. All must be
// positive.
type Limits struct {
	Head     int // bytes of the request line and the header fields together
	URI      int // bytes of the request target
	Fields   int // header fields
	ChunkExt int // bytes of chunk extensions, over the whole body
}

// Error is why a request is refused. Its text is public.
type Error struct {
	Status  int // the HTTP status: 400, 414, 431, 501 or 505
	Message string
}

// Error returns the public text.
func (e *Error) Error() string { return e.Message }

func bad(message string) *Error { return &Error{Status: 400, Message: message} }

// Guard follows one connection. Between requests and while a request's head is
// incomplete the caller keeps the bytes and shows them again with what came
// after them; the bytes of bodies are shown once.
//
// A Guard that returned an error is finished. It is not safe for concurrent use.
type Guard struct {
	lim   *Limits
	state state
	head  head
	body  chunks
	left  int64 // bytes left of a body with Content-Length
	err   *Error
}

type state uint8

const (
	inHead state = iota
	inLength
	inChunks
)

// NewGuard returns a guard for a new connection. lim is only read.
func NewGuard(lim *Limits) Guard { return Guard{lim: lim} }

// Between reports whether the guard is between two requests or in the head of
// one, so that it waits for a head and not for a body.
func (g *Guard) Between() bool { return g.state == inHead }

// Err returns the error that ended the guard, nil while it is fine.
func (g *Guard) Err() *Error { return g.err }

// Fail ends the guard with err, as when a head took too long.
func (g *Guard) Fail(err *Error) { g.err, g.state = err, inHead }

// Next looks at b, which begins where the bytes passed so far ended. The first
// skip bytes are to be dropped; the pass bytes after them may go on to the
// server. Both are 0 when b holds no more than a part of a head. It stops at
// the end of a head and at the end of a body.
//
// An error concerns what follows the passed bytes, and is final. Which error
// it is does not depend on how the input was cut into pieces.
func (g *Guard) Next(b []byte) (skip, pass int, err *Error) {
	if g.err != nil {
		return 0, 0, g.err
	}
	switch g.state {
	case inHead:
		skip, pass, g.err = g.nextHead(b)
		return skip, pass, g.err
	case inLength:
		pass = len(b)
		if int64(pass) >= g.left {
			pass = int(g.left)
			g.state = inHead
		}
		g.left -= int64(pass)
		return 0, pass, nil
	}
	pass, done, e := g.body.next(b, g.lim)
	if done {
		g.state = inHead
	}
	g.err = e
	return 0, pass, e
}

// nextHead looks for a whole head in b, line by line. What was looked at in an
// earlier call, with fewer bytes, is not looked at again.
func (g *Guard) nextHead(b []byte) (skip, pass int, err *Error) {
	h := &g.head
	if h.pos == 0 && len(b) > 0 {
		if !isToken[b[0]] && b[0] != '\r' || len(b) > 1 && b[0] == '\r' && b[1] != '\n' {
			return 0, 0, notHTTP(b[0])
		}
		if b[0] == '\r' {
			return h.emptyLine(len(b))
		}
	}
	for {
		n := bytes.IndexByte(b[h.scan:], '\n')
		end := h.scan + n + 1
		if n < 0 {
			h.scan, end = len(b), len(b)+1
		}
		if end > g.lim.Head {
			return 0, 0, h.tooLong()
		}
		if n < 0 {
			return 0, 0, nil
		}
		line := b[h.pos:end]
		if len(line) < 2 || line[len(line)-2] != '\r' {
			return 0, 0, bad("a line ends in LF without CR")
		}
		line = line[:len(line)-2]
		if len(line) == 0 && h.pos > 0 {
			if err := g.endHead(); err != nil {
				return 0, 0, err
			}
			return 0, end, nil
		}
		if err := h.line(b, line, g.lim); err != nil {
			return 0, 0, err
		}
		h.pos, h.scan = end, end
	}
}

// emptyLine skips the one empty line before a request line that is to be
// ignored (RFC 9112, section 2.2). n is how many bytes there are, from its CR on.
func (h *head) emptyLine(n int) (skip, pass int, err *Error) {
	if n < 2 {
		return 0, 0, nil
	}
	if h.skipped {
		return 0, 0, bad("empty lines before the request line")
	}
	h.skipped = true
	return 2, 0, nil // the caller drops it and shows the rest
}

// endHead decides how the body is framed, once all fields are known.
func (g *Guard) endHead() *Error {
	h := g.head
	g.head = head{}
	switch {
	case !h.host && !h.http10:
		return bad("missing Host header field")
	case h.chunked && h.hasLength:
		return bad("Content-Length together with Transfer-Encoding")
	case h.chunked && h.http10:
		return bad("Transfer-Encoding in an HTTP/1.0 request")
	case h.chunked:
		g.state, g.body = inChunks, chunks{}
	case h.length > 0:
		g.state, g.left = inLength, h.length
	}
	return nil
}

func notHTTP(first byte) *Error {
	if first == 0x16 {
		return bad("this is a plain HTTP port, and the client began with TLS")
	}
	return bad("malformed request line")
}
