package edge

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/edge/framing"
	"github.com/transomhq/transom/rpc"
)

// exchange is one request and its answer: the http.ResponseWriter that the
// handler gets, and the request's body.
type exchange struct {
	http.ResponseWriter
	s    *Server
	conn *conn
	call *rpc.Call
	id   [1]string // the value of X-Request-Id
	body body

	status      int
	reading     atomic.Int64 // since when the handler waits for the body, or 0
	writing     atomic.Int64 // since when it waits for the client to read, or 0
	bodyFree    atomic.Bool  // slow bodies are welcome
	writeFree   atomic.Bool  // slow readers are welcome
	readExpired atomic.Bool  // the watch gave up on the body

	prev, next *exchange // in the connection's list, under its lock
}

// begin puts x on its connection's list, where the watch finds it.
func (x *exchange) begin() {
	c := x.conn
	c.mu.Lock()
	if x.next = c.exchanges; x.next != nil {
		x.next.prev = x
	}
	c.exchanges = x
	c.mu.Unlock()
	c.s.calls.Add(1)
}

// end takes x off the list. The watch does not touch its writer afterwards.
func (x *exchange) end() {
	c := x.conn
	c.mu.Lock()
	if x.prev != nil {
		x.prev.next = x.next
	} else {
		c.exchanges = x.next
	}
	if x.next != nil {
		x.next.prev = x.prev
	}
	c.mu.Unlock()
	c.s.calls.Add(-1)
}

// Unwrap lets http.ResponseController find the server's writer.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// WriteHeader writes the head of the answer.
func (x *exchange) WriteHeader(status int) {
	if x.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		x.status = status
	}
	x.ResponseWriter.WriteHeader(status)
}

// Write writes a part of the answer's body.
func (x *exchange) Write(p []byte) (n int, err error) {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	for {
		piece := p[n:]
		if len(piece) > writePiece && !x.conn.is(phaseHTTP1) { // there, the connection notes progress
			piece = piece[:writePiece]
		}
		x.writing.Store(x.s.now())
		m, err := x.ResponseWriter.Write(piece)
		x.writing.Store(0)
		if n += m; err != nil || n == len(p) {
			return n, err
		}
	}
}

// Flush sends what was written so far.
func (x *exchange) Flush() { _ = x.FlushError() }

// FlushError is Flush with its error.
func (x *exchange) FlushError() error {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	x.writing.Store(x.s.now())
	err := x.ResponseWriter.(interface{ FlushError() error }).FlushError()
	x.writing.Store(0)
	return err
}

// Hijack hands over an HTTP/1.1 connection, for an upgrade. Its bytes are not
// looked at any more. Whoever takes it listens to Server.OnDrain.
func (x *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	h, ok := x.ResponseWriter.(http.Hijacker)
	if !ok {
		return nil, nil, http.ErrNotSupported
	}
	nc, rw, err := h.Hijack()
	if err == nil {
		x.conn.phase.Store(int32(phaseUpgraded))
		if x.status == 0 {
			x.status = http.StatusSwitchingProtocols
		}
	}
	return nc, rw, err
}

// SetReadDeadline sets the deadline for the body. The zero time also lifts the
// limits on slow bodies.
func (x *exchange) SetReadDeadline(t time.Time) error {
	x.bodyFree.Store(t.IsZero())
	return http.NewResponseController(x.ResponseWriter).SetReadDeadline(t)
}

// SetWriteDeadline sets the deadline for the answer. The zero time also lifts
// the limit on clients that do not read; that of the socket stays.
func (x *exchange) SetWriteDeadline(t time.Time) error {
	x.writeFree.Store(t.IsZero())
	return http.NewResponseController(x.ResponseWriter).SetWriteDeadline(t)
}

// body is a request's body within its limits.
type body struct {
	io.ReadCloser
	x     *exchange
	limit int64        // bytes; negative is none
	n     atomic.Int64 // bytes read
	waits atomic.Int64 // nanoseconds spent waiting for the client
	err   error
}

// SetLimit replaces the limit on the whole body, in bytes; negative is none. It
// must not be called during a Read.
func (b *body) SetLimit(n int64) { b.limit = n }

// Read reads from the body. Its errors are *rpc.Error where the client is at fault.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	done := b.n.Load()
	if b.limit >= 0 && int64(len(p)) > b.limit-done {
		p = p[:b.limit-done+1] // one more, to see whether there is more
	}
	began := b.x.s.now()
	b.x.reading.Store(began)
	b.x.conn.wanted.Store(true)
	n, err := b.ReadCloser.Read(p)
	b.x.conn.wanted.Store(false)
	b.x.reading.Store(0)
	if now := b.x.s.now(); now != began {
		b.waits.Add(now - began)
	}
	if b.limit >= 0 && done+int64(n) > b.limit {
		n, err = int(b.limit-done), tooLarge(b.limit)
	}
	b.n.Add(int64(n))
	if err != nil && err != io.EOF { //nolint:errorlint // only io.EOF itself is the end
		err = b.failure(err)
		b.err = err
	}
	return n, err
}

// failure says what went wrong with the body, and sees to it that the
// connection is not used again.
func (b *body) failure(err error) error {
	b.x.closeAfter()
	var known *rpc.Error
	var malformed *framing.Error
	switch {
	case errors.As(err, &known), errors.Is(err, http.ErrBodyReadAfterClose):
		return err
	case errors.As(err, &malformed):
		return fromFraming(malformed)
	case errors.Is(err, os.ErrDeadlineExceeded):
		if !b.x.readExpired.Load() {
			return err // a deadline of the handler's own
		}
		return rpc.Errorf(codes.DeadlineExceeded, "the request body arrived too slowly").
			WithHTTPStatus(http.StatusRequestTimeout)
	}
	return rpc.Errorf(codes.Canceled, "the request body ended early").WithCause(err)
}

// closeAfter makes an HTTP/1.1 connection end with this answer.
func (x *exchange) closeAfter() {
	if x.status == 0 && x.conn.is(phaseHTTP1) {
		x.Header().Set("Connection", "close")
	}
}

func tooLarge(limit int64) *rpc.Error {
	return rpc.Errorf(codes.ResourceExhausted, "request body is larger than %d bytes", limit).
		WithHTTPStatus(http.StatusRequestEntityTooLarge)
}
