package lean

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

// Options describe a pool. Targets are required.
type Options struct {
	// Targets are addresses, "host:port", "dns:///host:port" or "unix:path".
	Targets []string
	// TLS secures the connections; nil speaks plaintext HTTP/2.
	TLS *tls.Config
	// Connections is how many connections each address gets; 0 means 1.
	Connections int
	// MaxReceiveBytes bounds a message from the backend; 0 means 4 MiB.
	MaxReceiveBytes int
	// Keepalive pings an idle connection after this long; 0 never does.
	Keepalive time.Duration
	// DialTimeout bounds one connection attempt; 0 means 5 s.
	DialTimeout time.Duration
	// Authority is the :authority of calls; "" follows the address.
	Authority string
	// UserAgent is the user-agent of calls.
	UserAgent string
}

// Pool is connections to a set of backends. It is safe for concurrent use.
type Pool struct {
	opts      Options
	endpoints []*endpoint
	next      atomic.Uint32
	wg        sync.WaitGroup
	ctx       context.Context //nolint:containedctx // the pool's life, which its goroutines share
	cancel    context.CancelFunc
}

var _ grpc.ClientConnInterface = (*Pool)(nil)

// New returns a pool that connects in the background.
func New(opts Options) (*Pool, error) {
	if opts.MaxReceiveBytes == 0 {
		opts.MaxReceiveBytes = 4 << 20
	}
	if opts.DialTimeout == 0 {
		opts.DialTimeout = 5 * time.Second
	}
	p := &Pool{opts: opts}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	for _, target := range opts.Targets {
		network, addr, err := address(target)
		if err != nil {
			p.cancel()
			return nil, err
		}
		for range max(opts.Connections, 1) {
			p.endpoints = append(p.endpoints, &endpoint{pool: p, network: network, addr: addr})
		}
	}
	if len(p.endpoints) == 0 {
		p.cancel()
		return nil, errors.New("no target")
	}
	for _, e := range p.endpoints {
		e.mu.Lock()
		e.connect()
		e.mu.Unlock()
	}
	return p, nil
}

// address returns what to dial for a target.
func address(target string) (network, addr string, err error) {
	if path, ok := strings.CutPrefix(target, "unix:"); ok {
		return "unix", strings.TrimPrefix(path, "//"), nil
	}
	addr = strings.TrimPrefix(target, "dns:///")
	if _, _, err := net.SplitHostPort(addr); err != nil || strings.Contains(addr, "/") {
		return "", "", fmt.Errorf(`target %q: the lean transport takes "host:port", "dns:///host:port" and "unix:path"`, target)
	}
	return "tcp", addr, nil
}

// pick returns a connection that takes a call now: of the next endpoint whose
// connection is there, else of the first that can be reached.
func (p *Pool) pick(ctx context.Context) (*conn, error) {
	start := p.next.Add(1)
	n := uint32(len(p.endpoints))
	for i := range n {
		if c := p.endpoints[(start+i)%n].current.Load(); c != nil && c.open() {
			return c, nil
		}
	}
	var last error
	for i := range n {
		c, err := p.endpoints[(start+i)%n].wait(ctx)
		if err == nil {
			return c, nil
		}
		last = err
		if ctx.Err() != nil {
			break
		}
	}
	return nil, last
}

// State returns the state of the pool's best connection.
func (p *Pool) State() connectivity.State {
	state := connectivity.TransientFailure
	if p.ctx.Err() != nil {
		return connectivity.Shutdown
	}
	for _, e := range p.endpoints {
		if c := e.current.Load(); c != nil && c.open() {
			return connectivity.Ready
		}
		e.mu.Lock()
		if e.attempt != nil {
			state = connectivity.Connecting
		}
		e.mu.Unlock()
	}
	return state
}

// Close ends every connection and call, and waits for all goroutines.
func (p *Pool) Close() error {
	p.cancel()
	for _, e := range p.endpoints {
		e.mu.Lock()
		c := e.current.Load()
		e.mu.Unlock()
		if c != nil {
			c.fail(status.Error(codes.Canceled, "grpc: the client connection is closing"))
		}
	}
	p.wg.Wait()
	return nil
}

// endpoint is one address and its connection.
type endpoint struct {
	pool          *Pool
	network, addr string
	current       atomic.Pointer[conn]

	mu      sync.Mutex
	attempt chan struct{} // closed at the end of the attempt that runs; nil: none runs
	err     error         // why the last attempt failed
	failed  int           // attempts in a row that failed
	until   time.Time     // no attempt before
}

const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 10 * time.Second
)

// wait returns the endpoint's connection, waiting for an attempt that runs.
// Between failed attempts it fails at once, with what the last one met.
func (e *endpoint) wait(ctx context.Context) (*conn, error) {
	e.mu.Lock()
	for {
		if c := e.current.Load(); c != nil && c.open() {
			e.mu.Unlock()
			return c, nil
		}
		if e.pool.ctx.Err() != nil {
			e.mu.Unlock()
			return nil, status.Error(codes.Canceled, "grpc: the client connection is closing")
		}
		if e.attempt == nil && time.Now().Before(e.until) {
			err := e.err
			e.mu.Unlock()
			return nil, status.Error(codes.Unavailable, fmt.Sprintf("connection error: %v", err))
		}
		if e.attempt == nil {
			e.connect()
		}
		attempt := e.attempt
		e.mu.Unlock()
		select {
		case <-attempt:
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
		e.mu.Lock()
	}
}

// connect starts an attempt. The caller holds mu.
func (e *endpoint) connect() {
	done := make(chan struct{})
	e.attempt = done
	e.pool.wg.Go(func() {
		c, err := e.dial()
		if err == nil && !e.took(c) {
			c.fail(status.Error(codes.Canceled, "grpc: the client connection is closing"))
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		defer close(done)
		e.attempt = nil
		if err != nil {
			e.err = err
			e.until = time.Now().Add(min(minBackoff<<min(e.failed, 10), maxBackoff))
			e.failed++
			return
		}
		e.failed, e.until = 0, time.Time{}
	})
}

// took makes c the endpoint's connection, unless the pool is closed.
func (e *endpoint) took(c *conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.current.Store(c)
	return e.pool.ctx.Err() == nil
}

// dial opens the connection and waits for the server's settings.
func (e *endpoint) dial() (*conn, error) {
	ctx, cancel := context.WithTimeout(e.pool.ctx, e.pool.opts.DialTimeout)
	defer cancel()
	nc, err := (&net.Dialer{}).DialContext(ctx, e.network, e.addr)
	if err != nil {
		return nil, err
	}
	authority, scheme := e.addr, "http"
	if e.network == "unix" {
		authority = "localhost"
	}
	if cfg := e.pool.opts.TLS; cfg != nil {
		cfg = cfg.Clone()
		cfg.NextProtos = []string{"h2"}
		if host, _, err := net.SplitHostPort(authority); err == nil && cfg.ServerName == "" {
			cfg.ServerName = host
		}
		secure := tls.Client(nc, cfg)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = nc.Close()
			return nil, err
		}
		if secure.ConnectionState().NegotiatedProtocol != "h2" {
			_ = nc.Close()
			return nil, errors.New("the server does not speak HTTP/2 (ALPN)")
		}
		nc, scheme = secure, "https"
	}
	if e.pool.opts.Authority != "" {
		authority = e.pool.opts.Authority
	}
	c := newConn(e, nc, scheme, authority)
	if err := c.start(ctx); err != nil {
		c.fail(status.Error(codes.Unavailable, "connection error: "+err.Error()))
		return nil, err
	}
	return c, nil
}

// lost is told by c that it takes no more calls, so that the next one is
// there before it is asked for.
func (e *endpoint) lost(c *conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current.Load() == c && e.attempt == nil && e.pool.ctx.Err() == nil {
		e.connect()
	}
}
