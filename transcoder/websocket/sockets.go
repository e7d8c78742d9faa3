package websocket

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/websocket/frame"
)

// Limits bound what all sockets together may hold, and say how they live and end.
type Limits struct {
	// Sockets is how many there may be. 0: 16384; below 0: no bound.
	Sockets int
	// PerClient is how many one client may have: an IPv4 address or an IPv6 /64.
	// 0: 256, loopback not counted; below 0: no bound.
	PerClient int
	// PingInterval is how long a client may be silent before it is pinged. 0: 20
	// s; below 0: never.
	PingInterval time.Duration
	// PongTimeout is how long a ping may stay without a sign of life. 0: 20 s.
	PongTimeout time.Duration
	// DrainSpread is over how long a drain spreads its goodbyes. 0: 5 s; below 0: none.
	DrainSpread time.Duration
	// DrainPerSecond is how many sockets a drain ends in a second at most, even
	// where DrainSpread passes. 0: 2000.
	DrainPerSecond int
	// Tickets is how long a ticket may be used. 0: 30 s.
	Tickets time.Duration
}

// Sockets are all the sockets of a gateway, whatever configuration they began
// with. Run keeps them alive; Drain ends them. Its methods may be called from
// any goroutine.
type Sockets struct {
	limits  Limits
	buffers sync.Pool
	tickets tickets
	start   time.Time
	tick    atomic.Int64 // the clock: nanoseconds since start, as of the last look

	serving   sync.WaitGroup // sockets whose handlers have returned
	draining  chan struct{}
	drainOnce sync.Once

	mu      sync.Mutex
	open    map[*socket]struct{}
	count   int // with those that are in their handshake
	clients map[netip.Prefix]int
}

// NewSockets returns a set of none.
func NewSockets(l Limits) *Sockets {
	for v, def := range map[*int]int{&l.Sockets: 16384, &l.DrainPerSecond: 2000} {
		if *v == 0 {
			*v = def
		}
	}
	for v, def := range map[*time.Duration]time.Duration{
		&l.PingInterval: 20 * time.Second, &l.PongTimeout: 20 * time.Second, &l.DrainSpread: 5 * time.Second, &l.Tickets: 30 * time.Second,
	} {
		if *v == 0 {
			*v = def
		}
	}
	a := &Sockets{
		limits: l, start: time.Now(), draining: make(chan struct{}),
		open: map[*socket]struct{}{}, clients: map[netip.Prefix]int{},
	}
	a.tickets.life = l.Tickets
	a.buffers.New = func() any { b := make([]byte, 0, 2048); return &b }
	return a
}

// Len returns how many sockets are open.
func (a *Sockets) Len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.open)
}

func (a *Sockets) now() time.Time { return time.Now() }

// clock is the time in nanoseconds, never 0, as exact as Run looks.
func (a *Sockets) clock() int64 { return a.tick.Load() + 1 }

// admit takes a place for a socket of client, which release gives back.
func (a *Sockets) admit(client netip.Addr) (release func(), err *rpc.Error) {
	key, counted := a.clientKey(client)
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case <-a.draining:
		return nil, a.reopen(codes.Unavailable, "the gateway is ending: connect again")
	default:
	}
	perClient := a.limits.PerClient
	if perClient == 0 {
		perClient = 256
	}
	switch {
	case a.limits.Sockets > 0 && a.count >= a.limits.Sockets:
		return nil, a.reopen(codes.ResourceExhausted, "the gateway has no room for another socket: try later").WithHTTPStatus(http.StatusServiceUnavailable)
	case counted && a.clients[key] >= perClient:
		return nil, rpc.Errorf(codes.ResourceExhausted, "this client has %d sockets, the most that it may have: close one", perClient)
	}
	a.count++
	if counted {
		a.clients[key]++
	}
	return func() { a.release(key, counted) }, nil
}

func (a *Sockets) release(key netip.Prefix, counted bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count--
	if !counted {
		return
	}
	if a.clients[key]--; a.clients[key] == 0 {
		delete(a.clients, key)
	}
}

// clientKey returns whom a socket is counted for.
func (a *Sockets) clientKey(client netip.Addr) (netip.Prefix, bool) {
	if a.limits.PerClient < 0 || !client.IsValid() || a.limits.PerClient == 0 && client.IsLoopback() {
		return netip.Prefix{}, false
	}
	bits := 32
	if client.Is6() {
		bits = 64
	}
	key, err := client.WithZone("").Prefix(bits)
	return key, err == nil
}

func (a *Sockets) add(s *socket) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open[s] = struct{}{}
}

func (a *Sockets) remove(s *socket) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.open, s)
}

// Run looks after the sockets until ctx ends: pings the silent, ends the dead
// and the idle, and drains when Drain was called. It returns when, after that,
// the last socket has gone.
func (a *Sockets) Run(ctx context.Context) {
	defer a.serving.Wait()
	defer a.cutOff()
	ticker := time.NewTicker(a.precision())
	defer ticker.Stop()
	draining := a.draining
	var list []*socket
	for {
		select {
		case <-ctx.Done():
			return
		case <-draining:
			draining = nil
			a.drain(ctx)
		case <-ticker.C:
			a.tick.Store(int64(time.Since(a.start)))
			list = a.list(list[:0])
			for _, s := range list {
				s.look()
			}
			clear(list)
		}
	}
}

// cutOff wakes all that wait for their clients: the sockets end.
func (a *Sockets) cutOff() {
	for _, s := range a.list(nil) {
		_ = s.conn.SetDeadline(time.Unix(1, 0)) // fails where it is closed already
	}
}

// precision is how often Run looks.
func (a *Sockets) precision() time.Duration {
	p := time.Second
	for _, d := range []time.Duration{a.limits.PingInterval, a.limits.PongTimeout} {
		if d > 0 {
			p = min(p, max(d/4, 5*time.Millisecond))
		}
	}
	return p
}

func (a *Sockets) list(dst []*socket) []*socket {
	a.mu.Lock()
	defer a.mu.Unlock()
	for s := range a.open {
		dst = append(dst, s)
	}
	return dst
}

// look pings a silent client, and ends a dead or idle one.
func (s *socket) look() {
	now, l := s.all.clock(), &s.all.limits
	if since := s.idleSince.Load(); s.idleTimeout > 0 && since != 0 && time.Duration(now-since) > s.idleTimeout {
		s.close(ending{frame.CodeNormal, "idle: no call for too long"})
		return
	}
	if l.PingInterval <= 0 || s.stuck.Load() {
		return
	}
	if pinged := s.pinged.Load(); pinged != 0 {
		if time.Duration(now-pinged) > l.PongTimeout {
			_ = s.conn.SetDeadline(time.Unix(1, 0)) // wakes all that wait; the call ends
		}
		return
	}
	if time.Duration(now-s.heard.Load()) > l.PingInterval {
		s.pinged.Store(now)
		_ = s.writer.control(frame.Ping, nil) // a failure shows where it is read
	}
}

// Drain asks every socket to end, spread over Limits.DrainSpread, and refuses
// new ones from now on. It returns at once.
func (a *Sockets) Drain() {
	a.drainOnce.Do(func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		close(a.draining)
	})
}

// drain tells one socket after the other, in no order.
func (a *Sockets) drain(ctx context.Context) {
	list := a.list(nil)
	if len(list) == 0 {
		return
	}
	pause := max(max(a.limits.DrainSpread, 0)/time.Duration(len(list)), time.Second/time.Duration(max(a.limits.DrainPerSecond, 1)))
	began := time.Now()
	for i, s := range list {
		if wait := time.Until(began.Add(time.Duration(i) * pause)); wait > time.Millisecond {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return
			}
		}
		s.retire(a.retryAfter())
	}
}

// retryAfter is when a client that is sent away may come back: not all at once.
func (a *Sockets) retryAfter() time.Duration {
	spread := max(a.limits.DrainSpread, time.Second)
	return (time.Second/4 + rand.N(spread)).Round(time.Millisecond)
}

// reopen is a refusal with the time after which to come back.
func (a *Sockets) reopen(code codes.Code, text string) *rpc.Error {
	return rpc.Errorf(code, "%s", text).WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(a.retryAfter())})
}
