package websocket

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/websocket/frame"
)

// single is a socket of one call.
type single struct {
	*handshake
	stream *stream
	talk   dialect

	once sync.Once // upgrades
	err  *rpc.Error
	sock *socket // nil before the upgrade, and after one that failed
	read chan struct{}

	// Of the reading goroutine.
	ended   bool // the client sends no more messages
	greeted bool // the first credential came

	mu     sync.Mutex
	goAway time.Duration // when to come back, of a call that was sent away
	auth   chan string   // the first message's credential
}

// Serve makes one call, of match.Binding, over a socket. The chain runs before
// the upgrade: what it refuses is refused with an HTTP status. match stays the
// caller's and must not change before Serve returns.
func (d *Door) Serve(w http.ResponseWriter, r *http.Request, call *rpc.Call, match *rpc.Match) {
	call.Binding, call.Method = match.Binding, match.Binding.Method
	h, err := d.greet(w, r, call)
	if err != nil {
		call.SetResult(err)
		d.opts.Refuse(w, r, call, err)
		return
	}
	defer h.release()
	shape := d.opts.Bind(h.r, call, match)
	c := &single{handshake: h, talk: d.dialect(h.protocol, false, shape), read: make(chan struct{}), auth: make(chan string, 1)}
	c.stream = &stream{
		call: call, shape: shape, talk: c.talk, open: c.open, wait: d.opts.HandshakeTimeout,
		requests: make(chan request, 1), pool: &d.opts.Sockets.buffers,
		send: func(ctx context.Context, text bool, p []byte) error { return c.sock.send(ctx, text, p) },
	}
	c.serve()
}

// dialect returns what speaks a subprotocol.
func (d *Door) dialect(protocol string, many bool, shape Shape) dialect {
	switch {
	case protocol == protocolProto:
		return protoDialect{}
	case protocol == protocolJSON || many:
		return &jsonDialect{many: many, status: d.opts.Status}
	}
	return &bareDialect{proxy: d.opts.GRPCGateway, rawIn: shape.RawRequest(), rawOut: shape.RawResponse(), status: d.opts.Status}
}

func (c *single) serve() {
	// The socket outlives what net/http makes of the request's context when the
	// connection is taken over, but not the request itself.
	ctx, cancel := context.WithCancel(c.r.Context())
	defer cancel()
	err := c.begin(ctx)
	if err == nil {
		err = c.stream.run(c.d.opts.Handler)
	} else {
		c.call.SetResult(err)
	}
	c.finish(err)
}

// begin gives the stream its context. Where the credential is the first
// message, it waits for that, after the upgrade.
func (c *single) begin(ctx context.Context) error {
	timeout, _, err := c.d.opts.Timeout(c.r.Header)
	c.stream.begin(ctx, timeout)
	if err != nil {
		return err
	}
	if c.authFirst {
		if err := c.awaitAuth(); err != nil {
			return err
		}
	}
	md, err := c.d.opts.Metadata(c.r.Header)
	c.stream.attach(c.r, md)
	return err
}

// awaitAuth upgrades, and makes the first message the request's Authorization.
func (c *single) awaitAuth() error {
	if err := c.open(); err != nil {
		return err
	}
	timer := time.NewTimer(c.d.opts.HandshakeTimeout)
	defer timer.Stop()
	select {
	case token := <-c.auth:
		c.r.Header["Authorization"] = []string{"Bearer " + token}
		return nil
	case <-c.stream.base.Done():
		return c.stream.ended()
	case <-timer.C:
		return rpc.Errorf(codes.Unauthenticated, "no credential came as the first message within %v", c.d.opts.HandshakeTimeout)
	}
}

// open upgrades the connection, once.
func (c *single) open() error {
	c.once.Do(func() {
		conn, src, err := c.upgrade(false)
		if err != nil {
			c.err = err
			return
		}
		c.sock = newSocket(c.d.opts.Sockets, conn, src, c.call, c.d, c.compression)
		c.sock.retire = c.retire
		c.d.opts.Sockets.add(c.sock)
		go func() {
			defer close(c.read)
			c.stream.fail(failure(c.sock.read(c.take)))
		}()
	})
	if c.err != nil {
		return c.err
	}
	return nil
}

// retire ends the call of a gateway that ends.
func (c *single) retire(after time.Duration) {
	c.mu.Lock()
	c.goAway = after
	c.mu.Unlock()
	c.stream.fail(c.d.opts.Sockets.reopen(codes.Unavailable, "the gateway is ending: connect again"))
}

// take handles one message of the client. It is the socket's reading goroutine.
func (c *single) take(text bool, p []byte) error {
	var e event
	if err := c.talk.parse(text, p, &e); err != nil {
		return err
	}
	if e.auth {
		c.renew(e.token)
	}
	if e.kind != NoBody {
		c.deliver(request{body: append([]byte{}, e.body...), kind: e.kind, contentType: e.contentType})
	}
	if e.halfClose && !c.ended {
		c.deliver(request{end: true})
		c.ended = true
	}
	if e.cancel {
		c.stream.fail(rpc.Errorf(codes.Canceled, "canceled by the client"))
	}
	if e.pinged {
		c.note(note{isPong: true, pong: e.ping})
	}
	return nil
}

// deliver hands a message to the call, and waits until it is wanted.
func (c *single) deliver(q request) {
	if c.ended {
		c.stream.fail(rpc.Errorf(codes.InvalidArgument, "a message came after the last one"))
		return
	}
	if !q.end && !c.stream.call.Method.ClientStreams {
		if !c.stream.shape.TakesBody() {
			c.stream.fail(rpc.Errorf(codes.InvalidArgument, "the URL is the whole request: the call takes no messages"))
			return
		}
		c.ended = true
	}
	select {
	case c.stream.requests <- q:
		return
	default:
	}
	c.sock.stuck.Store(true)
	defer c.sock.stuck.Store(false)
	select {
	case c.stream.requests <- q:
	case <-c.stream.base.Done():
	}
}

// renew takes a credential: the first of a socket that waits for one, or a new
// one for the call that runs.
func (c *single) renew(token string) {
	if !printable(token) {
		c.stream.fail(rpc.Errorf(codes.Unauthenticated, "the credential is not a bearer token"))
		return
	}
	if c.authFirst && !c.greeted {
		c.greeted = true
		c.auth <- token
		c.note(note{renewed: true})
		return
	}
	if f := c.d.opts.Renew; f != nil {
		if err := f(c.stream.base, c.call, "Bearer "+token); err != nil {
			c.stream.fail(&rpc.Error{Code: rpc.StatusOf(err).Code(), Message: rpc.StatusOf(err).Message(), Cause: err})
			return
		}
	}
	c.note(note{renewed: true})
}

// note says something of the gateway's own.
func (c *single) note(n note) {
	if text, p := c.talk.note(nil, 0, n); p != nil {
		_ = c.sock.send(c.stream.base, text, p) // a failure shows where the call is served
	}
}

// finish tells the client how the call ended: with an HTTP error while there is
// no socket yet, else with the status, the close frame, and the end of the connection.
func (c *single) finish(err error) {
	trailer, err := c.stream.end(err)
	if c.sock == nil && err == nil {
		if e := c.open(); e != nil {
			err = e
			c.call.SetResult(err)
		}
	}
	if c.sock == nil {
		c.d.opts.Refuse(c.w, c.r, c.call, err)
		return
	}
	st := rpc.StatusOf(err)
	e := endingOf(st)
	c.mu.Lock()
	if c.goAway > 0 {
		e = restart(c.goAway)
	}
	c.mu.Unlock()
	// The status may wait a moment for a client that reads slowly.
	ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
	if text, p := c.talk.final(nil, 0, st, trailer); p != nil {
		_ = c.sock.send(ctx, text, p) // who is gone needs no status
	}
	cancel()
	c.sock.finish(e, c.read)
}

// restart is the end of a socket whose gateway ends.
func restart(after time.Duration) ending {
	return ending{frame.CodeRestart, "retry_after_ms=" + strconv.FormatInt(after.Milliseconds(), 10)}
}

// finish closes the socket, and waits until read, its reading goroutine, and
// all that was sent are done with the connection.
func (s *socket) finish(e ending, read <-chan struct{}) {
	s.close(e)
	<-read // the client's close frame, or the end of closeGrace
	s.writer.flush()
	s.all.remove(s)
	_ = s.conn.Close()
}
