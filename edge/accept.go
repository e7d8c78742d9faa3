package edge

import (
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/transomhq/transom/edge/framing"
	"github.com/transomhq/transom/rpc"
)

// listener is one address with what its connections need.
type listener struct {
	net.Listener
	opts  Listener
	certs *certs // nil without TLS
}

func (s *Server) newListener(opts Listener) (*listener, error) {
	ln := &listener{opts: opts}
	if opts.TLS == nil {
		return ln, nil
	}
	var err error
	ln.certs, err = newCerts(*opts.TLS, s.log)
	return ln, err
}

// removeStale removes the socket that a process left which did not end well.
func removeStale(path string) {
	if fi, err := os.Lstat(path); err != nil || fi.Mode()&os.ModeSocket == 0 {
		return
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = c.Close() // somebody listens: let Listen say so
		return
	}
	_ = os.Remove(path)
}

// Stats are counts since the start, but Connections and Calls, which are now.
type Stats struct {
	Connections     int64 // open
	Calls           int64 // in progress
	Accepted        int64
	RefusedTotal    int64 // connections over Limits.Connections
	RefusedClient   int64 // connections over Limits.ConnectionsPerClient
	HandshakeErrors int64 // TLS handshakes and PROXY headers
	TooSlow         int64 // heads, bodies and readers that the watch ended
}

type stats struct{ accepted, refusedTotal, refusedClient, handshakeErrors, tooSlow atomic.Int64 }

// Stats returns the edge's counts.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	open := len(s.conns)
	s.mu.Unlock()
	return Stats{
		Connections: int64(open), Calls: s.calls.Load(), Accepted: s.stats.accepted.Load(),
		RefusedTotal: s.stats.refusedTotal.Load(), RefusedClient: s.stats.refusedClient.Load(),
		HandshakeErrors: s.stats.handshakeErrors.Load(), TooSlow: s.stats.tooSlow.Load(),
	}
}

// accept accepts connections until the listener is closed. What is over the
// limits is closed here, without a goroutine.
func (s *Server) accept(ln *listener) {
	wait := 5 * time.Millisecond
	for {
		sock, err := ln.Accept()
		if s.stopped.Err() != nil || s.onDrain.Err() != nil {
			if err == nil {
				_ = sock.Close()
			}
			return
		}
		if err != nil { // out of file descriptors, most likely
			s.warn("accept", "address", ln.opts.Address, "error", err)
			select {
			case <-time.After(wait):
			case <-s.onDrain.Done():
			case <-s.stopped.Done():
			}
			wait = min(2*wait, time.Second)
			continue
		}
		wait = 5 * time.Millisecond
		c := s.newConn(ln, sock)
		if !s.admit(c) {
			abort(sock)
			continue
		}
		s.intakes.Go(c.intake)
	}
}

func (s *Server) newConn(ln *listener, sock net.Conn) *conn {
	c := &conn{Conn: sock, sock: sock, s: s, ln: ln, remote: sock.RemoteAddr(), guard: framing.NewGuard(&s.framing)}
	c.local = localAddr{sock.LocalAddr(), c}
	c.peer = rpc.AddrOf(c.remote)
	c.trusted = s.trust.has(c.peer)
	c.idle.Store(s.now())
	return c
}

// abort closes a socket at once and frees what the kernel keeps for it.
func abort(sock net.Conn) {
	if tcp, ok := sock.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = sock.Close()
}

// admit puts c on the list of connections, if the limits allow.
func (s *Server) admit(c *conn) bool {
	s.stats.accepted.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped.Err() != nil { // under the lock: cutOff has seen all that are on the list
		return false
	}
	if len(s.conns) >= s.opts.Limits.Connections {
		s.stats.refusedTotal.Add(1)
		s.warn("connection refused: too many are open", "limit", s.opts.Limits.Connections)
		return false
	}
	if !c.ln.opts.ProxyProtocol && !s.countClient(c) {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

// countClient counts c for its client. The caller holds s.mu.
func (s *Server) countClient(c *conn) bool {
	limit := s.opts.Limits.ConnectionsPerClient
	if limit < 0 || c.trusted || !c.peer.IsValid() || limit == 0 && c.peer.IsLoopback() {
		return true
	}
	if limit == 0 {
		limit = 2048
	}
	key := network(c.peer)
	if s.perAddr[key] >= limit {
		s.stats.refusedClient.Add(1)
		s.warn("connection refused: the client has too many", "client", key, "limit", limit)
		return false
	}
	s.perAddr[key]++
	c.counted = true
	return true
}

// forget takes c off the list.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if !c.counted {
		return
	}
	key := network(c.peer)
	if s.perAddr[key]--; s.perAddr[key] == 0 {
		delete(s.perAddr, key)
	}
}

// network is what counts as one client: an IPv4 address, an IPv6 /64.
func network(a netip.Addr) netip.Addr {
	if a.Is4() {
		return a
	}
	p, _ := a.WithZone("").Prefix(64) // 64 bits fit every IPv6 address
	return p.Addr()
}

// openConns returns the connections that are open.
func (s *Server) openConns(dst []*conn) []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		dst = append(dst, c)
	}
	return dst
}

// warn logs what clients can cause as often as they like, at most once a second.
func (s *Server) warn(msg string, args ...any) {
	now, last := time.Now().Unix(), s.lastWarn.Load()
	if now != last && s.lastWarn.CompareAndSwap(last, now) {
		s.log.Warn(msg, args...)
	}
}
