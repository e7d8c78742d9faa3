package edge

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/transomhq/transom/edge/framing"
)

// phase is what the bytes of a connection are.
type phase int32

const (
	phaseIntake   phase = iota // PROXY header, TLS handshake, first head
	phaseHTTP1                 // guarded, and read by net/http
	phaseHTTP2                 // read by x/net/http2
	phaseUpgraded              // hijacked: a WebSocket, say
)

// directRead is how large a server's buffer must be to be read into without a
// stop in the stash.
const directRead = 1024

// conn is one client connection. In phase http1 it shows every byte to the
// framing guard, and hands the server one request at a time, each head whole:
// what comes later waits in the stash, and a head that is refused was never
// seen by net/http. There is no request in progress then, so the answer is
// simply written.
type conn struct {
	net.Conn // the *tls.Conn, or else the socket
	sock     net.Conn
	s        *Server
	ln       *listener
	local    localAddr
	remote   net.Addr
	peer     netip.Addr // of the socket, or as the PROXY header says
	counted  bool       // in the limit per client
	trusted  bool       // peer is a trusted proxy
	tls      *tls.ConnectionState

	// Read by the one goroutine that reads.
	guard framing.Guard
	busy  bool   // a request was handed over, and not finished
	stash []byte // read, and not handed over
	ready int    // bytes of stash that may be handed over
	waste int64  // since when a body that no handler wants is read, or 0

	phase   atomic.Int32
	closed  atomic.Bool
	inBody  atomic.Bool  // a body was not read to its end
	expired atomic.Bool  // the watch gave up on the head
	idle    atomic.Int64 // since when no request is in progress, or 0
	head    atomic.Int64 // since when a head is awaited, or 0
	writing atomic.Int64 // since when a write has not progressed, or 0

	wanted  atomic.Bool  // the handler reads the body
	discard atomic.Int64 // waste, during a read, or 0

	mu        sync.Mutex
	exchanges *exchange // a list of those in progress
}

// localAddr is a connection's own address, and leads from a request's
// http.LocalAddrContextKey to the connection without another context key.
type localAddr struct {
	net.Addr
	conn *conn
}

func connOf(r *http.Request) *conn {
	return r.Context().Value(http.LocalAddrContextKey).(*localAddr).conn
}

// tlsConn is a conn over TLS, whose state servers put on requests.
type tlsConn struct{ *conn }

// ConnectionState returns the state after the handshake.
func (c tlsConn) ConnectionState() tls.ConnectionState { return *c.tls }

func (c *conn) asNetConn() net.Conn {
	if c.tls != nil {
		return tlsConn{c}
	}
	return c
}

func (c *conn) is(p phase) bool { return phase(c.phase.Load()) == p }

// LocalAddr returns the address that the client connected to.
func (c *conn) LocalAddr() net.Addr { return &c.local }

// RemoteAddr returns the peer's address, as the PROXY header says where there is one.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// Read reads what the server may see.
func (c *conn) Read(p []byte) (int, error) {
	switch {
	case c.ready > 0:
		return c.deliver(p), nil
	case !c.is(phaseHTTP1):
		if len(c.stash) > 0 {
			c.ready = len(c.stash)
			return c.deliver(p), nil
		}
		return c.Conn.Read(p)
	case c.guard.Err() != nil && c.guard.Between():
		return 0, io.EOF // refused; net/http closes without a word
	case !c.guard.Between():
		return c.readBody(p)
	case c.busy:
		return c.readAhead(p)
	}
	return c.readHead(p)
}

// deliver hands over bytes of the stash that are ready.
func (c *conn) deliver(p []byte) int {
	n := copy(p, c.stash[:c.ready])
	c.ready -= n
	if c.stash = c.stash[n:]; len(c.stash) == 0 {
		c.stash = nil
	}
	return n
}

// readBody reads more of the body of the request in progress.
func (c *conn) readBody(p []byte) (int, error) {
	if err := c.guard.Err(); err != nil {
		return 0, err
	}
	if !c.wanted.Load() {
		if c.waste == 0 {
			c.waste = c.s.now()
		}
		c.discard.Store(c.waste)
	}
	n, err := c.Conn.Read(p)
	c.discard.Store(0)
	_, pass, ferr := c.guard.Next(p[:n])
	if c.guard.Between() {
		c.inBody.Store(false)
	}
	switch {
	case ferr != nil && pass == 0:
		return 0, ferr
	case pass < n && ferr == nil:
		c.stash = append(c.stash, p[pass:n]...)
	}
	if pass > 0 {
		return pass, nil
	}
	return 0, err
}

// readAhead serves net/http's read in the background, which finds out whether
// the client is still there while a handler runs. What it finds is kept, unread,
// until it is known what the bytes are: the next head, or the other protocol
// of an upgrade. It returns 0 and no error then, which ends that read.
func (c *conn) readAhead(p []byte) (int, error) {
	if len(c.stash) > 0 || len(p) == 0 {
		return 0, nil
	}
	n, err := c.Conn.Read(p[:1])
	c.stash = append(c.stash, p[:n]...)
	return 0, err
}

// readHead waits for the next whole head.
func (c *conn) readHead(p []byte) (int, error) {
	for {
		if len(c.stash) == 0 && len(p) >= directRead {
			n, err := c.Conn.Read(p)
			if n == 0 {
				return 0, c.headError(err)
			}
			skip, pass, ferr := c.admit(p[:n])
			if skip+pass < n {
				c.stash = append(c.stash, p[skip+pass:n]...)
			}
			if pass > 0 {
				c.begin()
				return copy(p, p[skip:skip+pass]), nil
			}
			if ferr != nil {
				return 0, c.refuse(ferr)
			}
			c.startHead()
		}
		if ok, err := c.headFromStash(); ok {
			return c.deliver(p), nil
		} else if err != nil {
			return 0, err
		}
	}
}

// headFromStash looks for a head in the stash, and reads once where there is none.
func (c *conn) headFromStash() (bool, error) {
	if len(c.stash) > 0 {
		skip, pass, ferr := c.admit(c.stash)
		c.stash = c.stash[skip:]
		switch {
		case pass > 0:
			c.ready = pass
			c.begin()
			return true, nil
		case ferr != nil:
			return false, c.refuse(ferr)
		}
		c.startHead()
	}
	return false, c.fill()
}

// admit shows b to the guard: an empty line, a head, and what there is of its body.
func (c *conn) admit(b []byte) (skip, pass int, err *framing.Error) {
	skip, pass, err = c.guard.Next(b)
	for skip > 0 && pass == 0 && err == nil && skip < len(b) {
		var more int
		if more, pass, err = c.guard.Next(b[skip:]); more == 0 {
			break
		}
		skip += more
	}
	if pass > 0 && !c.guard.Between() && skip+pass < len(b) {
		var n int
		_, n, err = c.guard.Next(b[skip+pass:])
		pass += n
	}
	return skip, pass, err
}

// fill reads once into the stash.
func (c *conn) fill() error {
	if cap(c.stash)-len(c.stash) < 256 {
		c.stash = append(make([]byte, 0, max(512, 2*len(c.stash))), c.stash...)
	}
	n, err := c.Conn.Read(c.stash[len(c.stash):cap(c.stash)])
	c.stash = c.stash[:len(c.stash)+n]
	if n > 0 {
		return nil
	}
	return c.headError(err)
}

// begin marks that a request is in progress.
func (c *conn) begin() {
	c.busy = true
	if !c.guard.Between() {
		c.inBody.Store(true)
	}
	c.head.Store(0)
	c.idle.Store(0)
	c.waste = 0
}

// rest marks that the request in progress is finished. The server calls it, on
// the goroutine that reads, before it waits for the next one.
func (c *conn) rest() {
	c.busy = false
	c.idle.Store(c.s.now())
}

// startHead marks that a part of a head was seen.
func (c *conn) startHead() {
	if c.head.Load() == 0 {
		c.head.Store(c.s.now())
	}
}

// headError turns the end of patience with a head into an answer. Nobody is
// answered who sent nothing.
func (c *conn) headError(err error) error {
	if c.expired.Load() && len(c.stash) > 0 {
		return c.refuse(&framing.Error{Status: http.StatusRequestTimeout, Message: "the request's head arrived too slowly"})
	}
	return err
}

// writePiece is how much is written before progress is noted: at least this
// much per WriteIdle must reach the client.
const writePiece = 64 << 10

// Write writes p, and lets the watch see whether the client takes it.
func (c *conn) Write(p []byte) (n int, err error) {
	for {
		c.writing.Store(c.s.now())
		m, err := c.Conn.Write(p[n:min(n+writePiece, len(p))])
		c.writing.Store(0)
		n += m
		if err != nil || n == len(p) {
			return n, err
		}
	}
}

// CloseWrite tells the client that nothing more comes.
func (c *conn) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
}

// Close closes the connection, and gives back its place in the limits.
func (c *conn) Close() error {
	if !c.closed.CompareAndSwap(false, true) {
		return net.ErrClosed
	}
	if c.inBody.Load() && c.is(phaseHTTP1) {
		c.linger()
	}
	err := c.Conn.Close()
	c.s.forget(c)
	return err
}

const (
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 256 << 10
)

// linger lets the client see the answer before the connection is closed: to
// close a socket with bytes unread resets it, and the answer may be lost. What
// a client still sends is read for a moment; one that sends on and on waits.
func (c *conn) linger() {
	_ = c.CloseWrite()
	end := time.Now().Add(lingerTime)
	_ = c.Conn.SetReadDeadline(end)
	if n, _ := io.CopyN(io.Discard, c.Conn, lingerBytes); n < lingerBytes {
		return // it closed, or the time is over
	}
	select {
	case <-time.After(time.Until(end)):
	case <-c.s.stopped.Done():
	}
}
