package websocket

import (
	"context"
	"maps"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/websocket/frame"
)

// many is a socket of many calls, each with an id that the client chose.
type many struct {
	*handshake
	enter func() (*Door, func())
	talk  dialect
	sock  *socket
	ctx   context.Context
	max   int // calls at the same time
	queue int // bytes of messages that may wait, of all calls together

	running sync.WaitGroup // the calls
	leaving sync.WaitGroup // what waits for them to end

	mu     sync.Mutex
	calls  map[uint64]*channel
	header http.Header // of the handshake, with the credential that holds now
	queued int
	goAway time.Duration
	gone   bool // nothing may begin any more
}

// channel is one call of many.
type channel struct {
	*stream
	ended bool // the client sends no more messages; of the reading goroutine
	ack   int  // messages taken that the client was not told of; under recvMu
}

// window is how many messages of a call a client may send ahead of its acks.
const window = 16

// ServeMany carries many calls over one socket. enter returns the door of the
// house that serves now, and what leaves it; nil when there is none. Each call
// enters for itself, so a socket outlives what it was opened in.
func (a *Sockets) ServeMany(w http.ResponseWriter, r *http.Request, call *rpc.Call, enter func() (*Door, func())) {
	d, leave := enter()
	if d == nil {
		http.Error(w, "the gateway has ended", http.StatusServiceUnavailable)
		return
	}
	m, err := d.openMany(w, r, call, enter)
	if err != nil {
		call.SetResult(err)
		d.opts.Refuse(w, r, call, err)
		leave()
		return
	}
	leave()
	if r.ProtoMajor == 2 { // the stream ends with its handler
		m.serve()
		return
	}
	// Most of what an idle socket would cost is net/http's, which lets go when
	// the handler returns. Run waits for those that go on without it.
	m.ctx = context.WithoutCancel(r.Context())
	a.serving.Go(m.serve)
}

func (d *Door) openMany(w http.ResponseWriter, r *http.Request, call *rpc.Call, enter func() (*Door, func())) (*many, *rpc.Error) {
	h, err := d.greet(w, r, call)
	if err != nil {
		return nil, err
	}
	if h.r.URL.RawQuery != "" {
		h.release()
		return nil, rpc.Errorf(codes.InvalidArgument, "a socket of many calls takes no query parameters but %q", ticketQuery)
	}
	m := &many{
		handshake: h, enter: enter, talk: d.dialect(h.protocol, true, nil),
		ctx: r.Context(), max: d.opts.MaxCalls, queue: 2 * d.opts.MaxMessageBytes, calls: map[uint64]*channel{}, header: h.r.Header,
	}
	conn, src, err := h.upgrade(true)
	if err != nil {
		h.release()
		return nil, err
	}
	m.sock = newSocket(d.opts.Sockets, conn, src, call, d, h.compression)
	m.sock.retire = m.retire
	m.sock.idleTimeout = d.opts.IdleTimeout
	m.sock.idleSince.Store(d.opts.Sockets.clock())
	// The door belongs to a house that may go; what a socket keeps is its own.
	m.handshake = &handshake{r: h.r, call: call, release: h.release}
	return m, nil
}

// serve reads until the client has gone, or the gateway ends.
func (m *many) serve() {
	defer m.release()
	ctx, cancel := context.WithCancelCause(m.ctx)
	m.ctx = ctx
	m.sock.all.add(m.sock)
	err := m.sock.read(m.take)
	cancel(failure(err)) // ends every call
	m.running.Wait()
	m.mu.Lock()
	m.gone = true
	m.mu.Unlock()
	m.leaving.Wait()
	read := make(chan struct{})
	close(read)
	m.sock.finish(ending{frame.CodeNormal, ""}, read)
}

// take handles one message of the client.
func (m *many) take(text bool, p []byte) error {
	var e event
	if err := m.talk.parse(text, p, &e); err != nil {
		return err
	}
	if e.auth {
		m.renew(e.token)
	}
	if e.pinged {
		m.note(noID, note{isPong: true, pong: e.ping})
	}
	if e.start != nil {
		if err := m.start(&e); err != nil {
			return err
		}
	}
	m.mu.Lock()
	c := m.calls[e.id]
	m.mu.Unlock()
	if c == nil { // it has ended, and the client does not know yet
		return nil
	}
	if e.kind != NoBody {
		m.deliver(c, request{body: append([]byte{}, e.body...), kind: e.kind})
	}
	if e.halfClose {
		m.deliver(c, request{end: true})
	}
	if e.ack > 0 && c.credits != nil {
		c.credits.add(e.ack)
	}
	if e.cancel {
		c.fail(rpc.Errorf(codes.Canceled, "canceled by the client"))
	}
	return nil
}

// start begins a call. An error is one that ends the socket.
func (m *many) start(e *event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.calls[e.id] != nil {
		return &frame.Error{Code: frame.CodeProtocol, Reason: "envelope: the id is that of a call that runs"}
	}
	switch {
	case m.goAway > 0:
		m.refuse(e.id, m.sock.all.reopen(codes.Unavailable, "the gateway is ending: connect again"))
		return nil
	case len(m.calls) >= m.max:
		m.refuse(e.id, rpc.Errorf(codes.ResourceExhausted, "this socket has %d calls, the most that it may have", m.max))
		return nil
	}
	d, leave := m.enter()
	if d == nil {
		m.refuse(e.id, m.sock.all.reopen(codes.Unavailable, "the gateway is ending: connect again"))
		return nil
	}
	c, err := m.open(d, e)
	if err != nil {
		leave()
		m.refuse(e.id, err)
		return nil
	}
	m.calls[e.id] = c
	m.sock.idleSince.Store(0)
	m.running.Go(func() {
		defer leave()
		m.run(d, c)
	})
	return nil
}

// open makes the stream of a call. The caller holds mu.
func (m *many) open(d *Door, e *event) (*channel, error) {
	method := d.opts.Method(e.start.method)
	if method == nil {
		return nil, rpc.Errorf(codes.Unimplemented, "unknown method %s", frame.CutReason(e.start.method))
	}
	shape, err := d.opts.Whole(method)
	if err != nil {
		return nil, err
	}
	header := maps.Clone(m.header)
	for name, values := range e.start.header {
		header[name] = values
	}
	md, err := d.opts.Metadata(header)
	if err != nil {
		return nil, err
	}
	timeout, _, err := d.opts.Timeout(e.start.header)
	if err != nil {
		return nil, err
	}
	if e.start.timeout > 0 && (timeout == 0 || e.start.timeout < timeout) {
		timeout = e.start.timeout
	}
	child := m.call.Child(method)
	s := &stream{
		call: child, shape: shape, talk: m.talk, id: e.id, wait: d.opts.HandshakeTimeout,
		requests: make(chan request, window+1), pool: &m.sock.all.buffers,
	}
	if e.start.credits != nil {
		s.credits = newCredits(*e.start.credits)
	}
	c := &channel{stream: s}
	s.send = func(ctx context.Context, text bool, p []byte) error {
		child.BytesOut.Add(int64(len(p)))
		return m.sock.send(ctx, text, p)
	}
	s.taken = func(n int) { m.taken(c, n) }
	s.begin(m.ctx, timeout)
	s.attach(m.r, md)
	return c, nil
}

// run makes a call, and tells its end.
func (m *many) run(d *Door, c *channel) {
	defer c.call.Finish()
	trailer, err := c.end(c.stream.run(d.opts.Handler))
	m.forget(c)
	ctx, cancel := context.WithTimeout(m.ctx, closeGrace)
	defer cancel()
	if text, p := m.talk.final(nil, c.id, rpc.StatusOf(err), trailer); p != nil {
		_ = m.sock.send(ctx, text, p) // a failure shows where the socket is read
	}
}

// forget takes a call that has ended off the list, with what waits for it.
func (m *many) forget(c *channel) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.calls, c.id)
	for {
		select {
		case q := <-c.requests:
			m.queued -= len(q.body)
			continue
		default:
		}
		break
	}
	if len(m.calls) == 0 {
		m.sock.idleSince.Store(m.sock.all.clock())
	}
}

// deliver hands a message to its call. It never waits: a client that does not
// wait for its acks loses the call, not the other calls their turn.
func (m *many) deliver(c *channel, q request) {
	if c.ended {
		if !q.end {
			c.fail(rpc.Errorf(codes.InvalidArgument, "a message came after the last one"))
		}
		return
	}
	c.ended = q.end || !c.call.Method.ClientStreams
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.calls[c.id] != c: // just ended
		return
	case !q.end && len(c.requests) >= window:
		c.fail(rpc.Errorf(codes.ResourceExhausted, "more than %d messages were sent ahead of the acks", window))
		return
	case m.queued+len(q.body) > m.queue:
		c.fail(rpc.Errorf(codes.ResourceExhausted, "more than %d bytes of messages wait on this socket", m.queue))
		return
	}
	m.queued += len(q.body)
	c.call.BytesIn.Add(int64(len(q.body)))
	c.requests <- q // there is room: this goroutine alone adds to it
}

// taken tells the client, every half window, that more messages are welcome.
func (m *many) taken(c *channel, n int) {
	m.mu.Lock()
	m.queued -= n
	m.mu.Unlock()
	if !c.call.Method.ClientStreams {
		return
	}
	if c.ack++; c.ack >= window/2 {
		m.note(c.id, note{ack: c.ack})
		c.ack = 0
	}
}

// renew makes token the credential of calls that begin later.
func (m *many) renew(token string) {
	if !printable(token) {
		m.sock.close(ending{closeCode(codes.Unauthenticated), "the credential is not a bearer token"})
		return
	}
	m.mu.Lock()
	m.header = maps.Clone(m.header)
	m.header["Authorization"] = []string{"Bearer " + token}
	m.mu.Unlock()
	m.note(noID, note{renewed: true})
}

// refuse ends a call that did not begin.
func (m *many) refuse(id uint64, err error) {
	if text, p := m.talk.final(nil, id, rpc.StatusOf(err), nil); p != nil {
		_ = m.sock.send(m.ctx, text, p) // a failure shows where the socket is read
	}
}

func (m *many) note(id uint64, n note) {
	if text, p := m.talk.note(nil, id, n); p != nil {
		_ = m.sock.send(m.ctx, text, p) // as above
	}
}

// retire tells the client to go, and closes the socket when its calls have ended.
func (m *many) retire(after time.Duration) {
	m.mu.Lock()
	if m.goAway > 0 || m.gone {
		m.mu.Unlock()
		return
	}
	m.goAway = after
	calls := make([]*channel, 0, len(m.calls))
	for _, c := range m.calls {
		calls = append(calls, c)
	}
	m.leaving.Add(1)
	m.mu.Unlock()
	go func() {
		defer m.leaving.Done()
		m.note(noID, note{goAway: after})
		for _, c := range calls {
			c.fail(m.sock.all.reopen(codes.Unavailable, "the gateway is ending: connect again"))
		}
		m.running.Wait()
		m.sock.close(restart(after))
	}()
}
