package edge

import (
	"net/http"
	"time"
)

// watch is the edge's one clock for slow clients. Requests only note what they
// wait for and since when; here is seen who waits for too long. So a limit
// costs a request an atomic store, and no timer.
func (s *Server) watch() {
	start := time.Now()
	ticker := time.NewTicker(s.precision)
	defer ticker.Stop()
	var conns []*conn
	for {
		select {
		case <-s.stopped.Done():
			return
		case <-ticker.C:
		}
		s.tick.Store(int64(time.Since(start)) + 1)
		conns = s.openConns(conns[:0])
		for _, c := range conns {
			c.look()
		}
		clear(conns)
	}
}

// late reports whether what began at since took longer than limit. since may be
// older than the event by one precision.
func (s *Server) late(since int64, limit time.Duration) bool {
	return since != 0 && limit > 0 && time.Duration(s.now()-since) > limit+s.precision
}

// discardTime is how long a client may take to send the rest of a body that
// nobody wants. net/http reads it, up to 256 KiB, before it sends the answer, so
// that the connection can be used again.
const discardTime = time.Second

// past is a deadline that is over.
func past() time.Time { return time.Unix(1, 0) }

// look ends what takes too long on c. A deadline in the past wakes the
// goroutine that waits, and that one closes the connection.
func (c *conn) look() {
	to := &c.s.opts.Timeouts
	if c.s.late(c.head.Load(), to.ReadHeader) && !c.expired.Swap(true) {
		c.s.stats.tooSlow.Add(1)
		_ = c.sock.SetReadDeadline(past())
	}
	if c.s.late(c.writing.Load(), to.WriteIdle) {
		c.s.stats.tooSlow.Add(1)
		_ = c.sock.SetDeadline(past())
	}
	if c.s.late(c.discard.Load(), discardTime) {
		_ = c.sock.SetReadDeadline(past()) // the answer is sent, and the connection closed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for x := c.exchanges; x != nil; x = x.next {
		x.look()
	}
}

// look ends the exchange's wait for its client. The connection's lock is held,
// so the exchange is still in progress.
func (x *exchange) look() {
	if !x.bodyFree.Load() && x.bodyTooSlow() && !x.readExpired.Swap(true) {
		x.s.stats.tooSlow.Add(1)
		_ = http.NewResponseController(x.ResponseWriter).SetReadDeadline(past())
	}
	if x.conn.is(phaseHTTP2) && !x.writeFree.Load() && x.s.late(x.writing.Load(), x.s.opts.Timeouts.WriteIdle) {
		x.s.stats.tooSlow.Add(1)
		x.writeFree.Store(true) // once
		_ = http.NewResponseController(x.ResponseWriter).SetWriteDeadline(past())
	}
}

// bodyTooSlow reports whether the body stands still, or comes at less than the
// least rate. Only time spent waiting for the client counts.
func (x *exchange) bodyTooSlow() bool {
	to := &x.s.opts.Timeouts
	since := x.reading.Load()
	if since == 0 || to.BodyIdle <= 0 {
		return false
	}
	if x.s.late(since, to.BodyIdle) {
		return true
	}
	waited := time.Duration(x.body.waits.Load() + x.s.now() - since)
	return to.BodyRate > 0 && waited > to.BodyIdle+x.s.precision &&
		float64(x.body.n.Load()) < float64(to.BodyRate)*waited.Seconds()
}
