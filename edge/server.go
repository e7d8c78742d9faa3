package edge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"

	"github.com/transomhq/transom/edge/framing"
)

// Server is the edge. Its methods may be called from any goroutine.
type Server struct {
	opts       Options
	log        *slog.Logger
	trust      trust
	framing    framing.Limits
	header     []headerPair
	security   []headerPair // unless messages are framed
	hsts       []string
	forwarding []string
	precision  time.Duration

	listeners []*listener
	h1        *http.Server
	h2        *http2.Server //nolint:staticcheck // its ServeConn: docs/adr/0007
	h2base    *http.Server  // the settings of h2, and what makes it send GOAWAY
	handover  chan net.Conn

	base    context.Context // of every request; ends when connections are cut off
	cancel  context.CancelFunc
	ending  atomic.Bool     // onDrain has ended
	drain   context.Context // ends when draining begins
	onDrain context.Context // ends when connections are asked to end
	startDrain, startOnDrain,
	stop context.CancelFunc // of the listeners and all that belongs to Serve
	stopped  context.Context
	tick     atomic.Int64 // the watch's clock, in nanoseconds
	calls    atomic.Int64
	stats    stats
	own      sync.WaitGroup // the goroutines of Serve
	intakes  sync.WaitGroup // one for each connection until net/http has it
	served   chan struct{}  // closed when Serve returned
	serving  atomic.Bool
	mu       sync.Mutex
	conns    map[*conn]struct{}
	perAddr  map[netip.Addr]int
	lastWarn atomic.Int64
}

// New checks opts and loads the certificates. It opens nothing yet.
func New(opts Options) (*Server, error) {
	if opts.Handler == nil || len(opts.Listeners) == 0 {
		return nil, errors.New("edge: a handler and at least one listener are required")
	}
	opts.Limits, opts.Timeouts = opts.Limits.withDefaults(), opts.Timeouts.withDefaults()
	opts.ClientIPHeader = http.CanonicalHeaderKey(cmp.Or(opts.ClientIPHeader, "X-Forwarded-For"))
	s := &Server{
		opts: opts, log: cmp.Or(opts.Logger, slog.Default()), framing: opts.Limits.framing(), forwarding: forwardingFields(),
		precision: opts.Timeouts.precision(), handover: make(chan net.Conn), served: make(chan struct{}),
		conns: map[*conn]struct{}{}, perAddr: map[netip.Addr]int{},
	}
	var terr, herr error
	s.trust, terr = parseTrust(opts.TrustedProxies)
	s.header, herr = headerPairs(opts.ResponseHeader)
	if opts.SecurityHeaders {
		s.security = securityHeaders(s.header)
	}
	err := errors.Join(opts.Limits.validate(), terr, herr)
	for _, l := range opts.Listeners {
		ln, lerr := s.newListener(l)
		err = errors.Join(err, lerr)
		s.listeners = append(s.listeners, ln)
	}
	if err != nil {
		return nil, err
	}
	if opts.HSTS > 0 {
		s.hsts = []string{fmt.Sprintf("max-age=%d", int64(opts.HSTS.Seconds()))}
	}
	s.tick.Store(1)
	s.base, s.cancel = context.WithCancel(context.Background())
	s.stopped, s.stop = context.WithCancel(context.Background())
	s.drain, s.startDrain = context.WithCancel(context.Background())
	s.onDrain, s.startOnDrain = context.WithCancel(context.Background())
	return s, s.newServers()
}

// newServers makes the servers of both protocols.
func (s *Server) newServers() error {
	s.h1, s.h2base, s.h2 = s.newServer(), s.newServer(), &http2.Server{} //nolint:staticcheck // its ServeConn: docs/adr/0007
	s.h1.Protocols = new(http.Protocols)
	s.h1.Protocols.SetHTTP1(true)
	s.h2base.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: s.opts.Limits.Streams, SendPingTimeout: s.opts.Timeouts.Ping}
	return http2.ConfigureServer(s.h2base, s.h2) //nolint:staticcheck // its ServeConn: docs/adr/0007
}

// newServer returns a server whose own limits stay out of the way of the edge's.
func (s *Server) newServer() *http.Server {
	return &http.Server{
		Handler:                      http.HandlerFunc(s.serveHTTP),
		IdleTimeout:                  s.opts.Timeouts.Idle,
		MaxHeaderBytes:               s.opts.Limits.HeaderBytes + 16<<10,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ConnState:                    s.connState,
		BaseContext:                  func(net.Listener) context.Context { return s.base },
	}
}

// Listen opens all listeners, so that Addrs knows their ports. Serve does it
// where it was not done.
func (s *Server) Listen() error {
	for i, ln := range s.listeners {
		if ln.Listener != nil {
			continue
		}
		network, address := "tcp", ln.opts.Address
		if path, ok := strings.CutPrefix(address, "unix:"); ok {
			network, address = "unix", path
			removeStale(path)
		}
		l, err := net.Listen(network, address)
		if err != nil {
			for _, open := range s.listeners[:i] {
				_ = open.Close()
				open.Listener = nil
			}
			return fmt.Errorf("edge: listen at %s: %w", ln.opts.Address, err)
		}
		ln.Listener = l
	}
	return nil
}

// Addrs returns the addresses that are listened at, in the order of
// Options.Listeners; nil before Listen.
func (s *Server) Addrs() []net.Addr {
	var addrs []net.Addr
	for _, ln := range s.listeners {
		if ln.Listener != nil {
			addrs = append(addrs, ln.Addr())
		}
	}
	return addrs
}

// Serve serves until Drain has finished, and returns nil then, or until ctx
// ends, and cuts off what is in progress then. It is to be called once.
func (s *Server) Serve(ctx context.Context) error {
	if !s.serving.CompareAndSwap(false, true) {
		return errors.New("edge: Serve was called before")
	}
	defer close(s.served)
	if err := s.Listen(); err != nil {
		s.stop()
		s.cancel()
		return err
	}
	s.own.Go(func() { _ = s.h1.Serve(handoverListener{s}) })
	s.own.Go(s.watch)
	for _, ln := range s.listeners {
		s.own.Go(func() { s.accept(ln) })
		if ln.certs != nil {
			s.own.Go(func() { ln.certs.watch(s.stopped) })
		}
	}
	select {
	case <-ctx.Done():
		s.cutOff()
	case <-s.stopped.Done():
	}
	s.own.Wait()
	s.intakes.Wait()
	s.awaitCalls()
	return nil
}

// awaitCalls gives handlers whose connections were cut off the time to notice.
func (s *Server) awaitCalls() {
	for range 500 {
		if s.calls.Load() == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.log.Error("handlers do not end although their clients are gone", "calls", s.calls.Load())
}

// now is the time of the watch's last look, in nanoseconds: cheap, and exact
// enough for limits of seconds.
func (s *Server) now() int64 { return s.tick.Load() }

// connState follows both servers.
func (s *Server) connState(nc net.Conn, state http.ConnState) {
	var c *conn
	switch nc := nc.(type) {
	case *conn:
		c = nc
	case tlsConn:
		c = nc.conn
	}
	if c != nil && state == http.StateIdle && c.is(phaseHTTP1) {
		c.rest()
	}
}

// handoverListener gives net/http the connections that speak HTTP/1.1.
type handoverListener struct{ s *Server }

// Accept waits for the next one.
func (l handoverListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.s.handover:
		return c, nil
	case <-l.s.stopped.Done():
		return nil, net.ErrClosed
	}
}

// Close does nothing: stopping is the server's.
func (l handoverListener) Close() error { return nil }

// Addr returns an address of the server.
func (l handoverListener) Addr() net.Addr { return l.s.Addrs()[0] }
