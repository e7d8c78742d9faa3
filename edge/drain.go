package edge

import (
	"context"
	"time"
)

// idleGrace is how long a draining edge keeps an idle HTTP/1.1 connection: the
// next request on it may be on its way, and its answer will say that it is the
// last one.
const idleGrace = time.Second

// Draining is closed when Drain begins. Readiness fails from then on.
func (s *Server) Draining() <-chan struct{} { return s.drain.Done() }

// OnDrain calls f, in a goroutine of its own, when connections are asked to
// end: DrainDelay after Drain began. It is for those who took a connection over
// (WebSocket), which the edge cannot ask itself. stop takes f back, and reports
// whether it did so before f was called.
func (s *Server) OnDrain(f func()) (stop func() bool) { return context.AfterFunc(s.onDrain, f) }

// Drain ends the edge without failing a request: readiness fails, the edge
// still accepts for DrainDelay, then closes its listeners, asks every
// connection to end (GOAWAY, "Connection: close", OnDrain), and waits for what
// is in progress. When ctx ends first, the rest is cut off and the error of ctx
// returned. Serve returns after it.
func (s *Server) Drain(ctx context.Context) error {
	s.startDrain()
	select {
	case <-time.After(s.opts.DrainDelay):
	case <-ctx.Done():
	case <-s.stopped.Done():
	}
	s.ending.Store(true)
	s.startOnDrain()
	s.closeListeners()
	err := s.awaitConns(ctx)
	if err != nil {
		s.log.Warn("drain took too long: the rest is cut off", "calls", s.calls.Load())
	}
	s.cutOff()
	if s.serving.Load() {
		<-s.served
	}
	return err
}

// awaitConns waits until all connections are closed. It looks every few
// milliseconds: it runs once in a life.
func (s *Server) awaitConns(ctx context.Context) error {
	began := s.now()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	var conns []*conn
	for {
		// Its http.Server knows no connections, so this only makes the HTTP/2
		// server send GOAWAY on all that it did not tell yet.
		_ = s.h2base.Shutdown(ctx)
		conns = s.openConns(conns[:0])
		if len(conns) == 0 && s.calls.Load() == 0 {
			return nil
		}
		for _, c := range conns {
			idle := c.idle.Load()
			if idle != 0 && time.Duration(s.now()-max(idle, began)) > idleGrace {
				_ = c.sock.SetReadDeadline(past())
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.stopped.Done():
			return nil
		}
	}
}

func (s *Server) closeListeners() {
	for _, ln := range s.listeners {
		if ln.Listener != nil {
			_ = ln.Close()
		}
	}
}

// cutOff closes everything at once.
func (s *Server) cutOff() {
	s.stop()
	s.startDrain()
	s.startOnDrain()
	s.closeListeners()
	s.cancel()
	for _, c := range s.openConns(nil) {
		_ = c.sock.Close() // whoever serves it sees that, and gives it back
	}
	_ = s.h1.Close()
}
