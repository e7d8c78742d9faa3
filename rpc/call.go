package rpc

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
)

// Call is one call and its record: opened at the edge, filled on the way, and
// finished once, when it becomes one structured log line.
//
// The fields of the first block are set before the first interceptor runs and
// are read-only from then on. The setters may be called from any goroutine.
type Call struct {
	Method     *Method  // nil while the method is not known
	Binding    *Binding // nil where no HTTP binding was used
	Door       string   // which door: "rest", "grpc", "grpcweb", "connect", "sse", "websocket"
	Start      time.Time
	RequestID  string
	Client     netip.Addr // the client's address, behind trusted proxies only
	Host       string     // the host asked for, without port
	HTTPMethod string
	Path       string // the escaped path; never the query, which may hold secrets
	UserAgent  string
	Proto      string               // "HTTP/1.1", "HTTP/2.0"
	TLS        *tls.ConnectionState // nil without TLS
	Carried    []Carried            // credentials that came outside of metadata

	// Traffic as the client's side of the door saw it.
	BytesIn, BytesOut       atomic.Int64
	MessagesIn, MessagesOut atomic.Int64

	mu       sync.Mutex
	outcome  Outcome
	finish   func(*Call)
	finished bool
	renew    func(ctx context.Context, credential string) error
}

// Carried is a credential that a client could not send as metadata: a browser
// sets no header on a WebSocket. Whoever takes it off the request removes it
// there; it is never logged.
type Carried struct {
	Carrier string // "query:access_token", "subprotocol:bearer."
	Text    string
}

// Outcome is how a call went.
type Outcome struct {
	Code       codes.Code // the real gRPC code, on every door
	HTTPStatus int        // the HTTP status sent, 0 where none was
	Err        error      // private: the whole error, for the log
	Principal  *Principal
	Cluster    string // the upstream cluster asked, "" where none was
	Endpoint   string // the address that answered
	Attempts   int    // upstream attempts
	Attrs      []slog.Attr
}

// NewCall returns a call that started now; finish, if any, runs once at its end.
func NewCall(finish func(*Call)) *Call { return &Call{Start: time.Now(), finish: finish} }

// Child opens a call of method that arrived on the same connection as c, as on
// a socket that carries many calls. It is finished on its own.
func (c *Call) Child(method *Method) *Call {
	return &Call{
		Method: method, Door: c.Door, Start: time.Now(), RequestID: c.RequestID, Client: c.Client, Host: c.Host,
		HTTPMethod: c.HTTPMethod, Path: c.Path, UserAgent: c.UserAgent, Proto: c.Proto, TLS: c.TLS, Carried: c.Carried,
		finish: c.finish,
	}
}

// Finish closes the record. Only the first call does something.
func (c *Call) Finish() {
	c.mu.Lock()
	done := c.finished
	c.finished = true
	c.mu.Unlock()
	if !done && c.finish != nil {
		c.finish(c)
	}
}

// Outcome returns what is known of the call's end.
func (c *Call) Outcome() Outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.outcome
}

// Update changes the outcome under the call's lock. f must not block.
func (c *Call) Update(f func(*Outcome)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.outcome)
}

// SetResult records the call's end: its gRPC code and private error.
func (c *Call) SetResult(err error) {
	code := StatusOf(err).Code()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outcome.Code, c.outcome.Err = code, err
}

// Principal returns who is calling, nil while nobody has proved it.
func (c *Call) Principal() *Principal {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.outcome.Principal
}

// SetPrincipal records who is calling. Only authentication calls it.
func (c *Call) SetPrincipal(p *Principal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outcome.Principal = p
}

// SetRenewal gives the call a way to be renewed, nil takes it away. Only
// authentication calls it, for calls that end with their credential.
func (c *Call) SetRenewal(renew func(ctx context.Context, credential string) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.renew = renew
}

// Renew lets a running call go on with a fresh credential of the same caller,
// which came in band. An error leaves the call as it was, and is the client's
// to read; a call that needs no renewal refuses with FAILED_PRECONDITION.
func (c *Call) Renew(ctx context.Context, credential string) error {
	c.mu.Lock()
	renew := c.renew
	c.mu.Unlock()
	if renew == nil {
		return Errorf(codes.FailedPrecondition, "the call does not end with a credential: there is nothing to renew")
	}
	return renew(ctx, credential)
}

type contextKey struct{}

// NewContext returns ctx carrying call: the one context key of the house.
func NewContext(ctx context.Context, call *Call) context.Context {
	return context.WithValue(ctx, contextKey{}, call)
}

// FromContext returns the call that ctx carries, nil where there is none, as
// in a gRPC server that uses our interceptors without the gateway.
func FromContext(ctx context.Context) *Call {
	call, _ := ctx.Value(contextKey{}).(*Call)
	return call
}
