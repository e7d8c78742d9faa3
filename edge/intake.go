package edge

import (
	"crypto/tls"
	"errors"
	"time"

	"golang.org/x/net/http2"

	"github.com/transomhq/transom/edge/framing"
)

// intake takes a connection in: the PROXY header, the TLS handshake, and the
// first bytes, which tell the protocol. Only a connection that sent a whole
// head costs more than this goroutine and a few hundred bytes.
func (c *conn) intake() {
	if !c.greet() {
		_ = c.Close()
		return
	}
	if c.tls != nil && c.tls.NegotiatedProtocol == http2.NextProtoTLS {
		c.serveHTTP2()
		return
	}
	c.head.Store(c.s.now())
	for c.tls == nil && mayBePreface(c.stash) {
		if len(c.stash) >= len(framing.Preface) {
			c.serveHTTP2()
			return
		}
		if c.fill() != nil {
			_ = c.Close()
			return
		}
	}
	c.phase.Store(int32(phaseHTTP1))
	for {
		ok, err := c.headFromStash()
		if ok {
			break
		}
		if err != nil {
			_ = c.Close()
			return
		}
	}
	select {
	case c.s.handover <- c.asNetConn():
	case <-c.s.stopped.Done():
		_ = c.Close()
	}
}

func mayBePreface(b []byte) bool {
	n := min(len(b), len(framing.Preface))
	return string(b[:n]) == framing.Preface[:n]
}

// serveHTTP2 serves all of the connection's streams.
func (c *conn) serveHTTP2() {
	c.phase.Store(int32(phaseHTTP2))
	c.head.Store(0)
	c.idle.Store(0)
	//nolint:staticcheck // gives a GOAWAY before closing, and takes a connection that the guard has looked at: docs/adr/0007
	c.s.h2.ServeConn(c.asNetConn(), &http2.ServeConnOpts{Context: c.s.base, BaseConfig: c.s.h2base, Handler: c.s.h2base.Handler})
	_ = c.Close()
}

// greet reads the PROXY header and does the TLS handshake, as the listener wants.
func (c *conn) greet() bool {
	if !c.ln.opts.ProxyProtocol && c.ln.certs == nil {
		return true
	}
	if d := c.s.opts.Timeouts.Handshake; d > 0 {
		_ = c.sock.SetDeadline(time.Now().Add(d))
	}
	err := c.readProxyHeader()
	if err == nil {
		err = c.handshake()
	}
	_ = c.sock.SetDeadline(time.Time{})
	if err != nil {
		c.s.stats.handshakeErrors.Add(1)
		c.s.log.Debug("connection not taken in", "peer", c.remote.String(), "error", err)
		var plain tls.RecordHeaderError
		if errors.As(err, &plain) && plain.Conn != nil && looksLikeHTTP(plain.RecordHeader) {
			c.Conn = c.sock
			_ = c.refuse(&framing.Error{Status: 400, Message: "this is an HTTPS port, and the client sent plain HTTP"})
		}
	}
	return err == nil
}

func looksLikeHTTP(b [5]byte) bool {
	switch string(b[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "PATCH", "DELET":
		return true
	}
	return false
}

func (c *conn) handshake() error {
	if c.ln.certs == nil {
		return nil
	}
	tc := tls.Server(c.sock, c.ln.certs.config)
	c.Conn = tc
	if err := tc.Handshake(); err != nil {
		return err
	}
	state := tc.ConnectionState()
	c.tls = &state
	return nil
}

// readProxyHeader reads the PROXY header, and counts the client that it names.
func (c *conn) readProxyHeader() error {
	if !c.ln.opts.ProxyProtocol {
		return nil
	}
	if !c.trusted {
		return errors.New("PROXY header from a peer that is not a trusted proxy")
	}
	src, err := readProxyHeader(c.sock)
	if err != nil || !src.IsValid() { // LOCAL and UNKNOWN: the proxy speaks for itself
		return err
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.remote, c.peer = addrPort(src), src.Addr()
	c.trusted = c.s.trust.has(c.peer)
	if !c.s.countClient(c) {
		return errors.New("the client has too many connections")
	}
	return nil
}
