package lean

import (
	"context"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/transomhq/transom/rpc"
)

// callOptions are those of grpc.CallOption that the transport knows.
type callOptions struct {
	header, trailer *metadata.MD
	peer            *peer.Peer
	max             int
	onFinish        []func(error)
}

func (p *Pool) options(opts []grpc.CallOption) callOptions {
	o := callOptions{max: p.opts.MaxReceiveBytes}
	for _, opt := range opts {
		switch opt := opt.(type) {
		case grpc.HeaderCallOption:
			o.header = opt.HeaderAddr
		case grpc.TrailerCallOption:
			o.trailer = opt.TrailerAddr
		case grpc.PeerCallOption:
			o.peer = opt.PeerAddr
		case grpc.MaxRecvMsgSizeCallOption:
			o.max = opt.MaxRecvMsgSize
		case grpc.OnFinishCallOption:
			o.onFinish = append(o.onFinish, opt.OnFinish)
		}
	}
	return o
}

// settle fills in what the options asked for.
func (o *callOptions) settle(s *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.header != nil {
		*o.header = s.header
	}
	if o.trailer != nil {
		*o.trailer = s.trailer
	}
	if o.peer != nil {
		*o.peer = s.conn.peer
	}
}

// attempts is how often a call is made that no backend has begun.
const attempts = 3

// Invoke makes a unary call.
func (p *Pool) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	o := p.options(opts)
	bufs, err := rpc.Codec{}.Marshal(args)
	if err != nil {
		return err
	}
	defer bufs.Free()
	for i := 1; ; i++ {
		err = p.unary(ctx, method, bufs, reply, &o)
		if !errors.Is(err, errRefused) {
			break
		}
		if i == attempts {
			err = status.Error(codes.Unavailable, "the connection is draining")
			break
		}
	}
	for _, f := range o.onFinish {
		f(err)
	}
	return err
}

func (p *Pool) unary(ctx context.Context, method string, bufs mem.BufferSlice, reply any, o *callOptions) error {
	s := &stream{ctx: ctx, method: method, unary: true, max: o.max, wake: make(chan struct{}, 1)}
	if err := p.begin(s); err != nil {
		return err
	}
	if _, err := s.send(bufs, true); err != nil {
		s.abandon(http2.ErrCodeCancel)
		return err
	}
	s.conn.flush()
	for !s.isEnded() {
		select {
		case <-s.wake:
		case <-ctx.Done():
			s.cancel()
		}
	}
	o.settle(s)
	return s.result(reply)
}

func (s *stream) isEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// result makes the one message the reply, or returns why there is none.
func (s *stream) result(reply any) error {
	msgs := mem.BufferSlice(s.msgs)
	s.msgs = nil
	defer msgs.Free()
	switch {
	case s.refused:
		return errRefused
	case s.status != nil && s.status.Code() != codes.OK:
		return s.status.Err()
	case len(msgs) == 0:
		return status.Error(codes.Internal, "cardinality violation: received no response message from non-server-streaming RPC")
	case len(msgs) > 1:
		return status.Error(codes.Internal, "cardinality violation: more than one response")
	}
	if err := (rpc.Codec{}).Unmarshal(msgs, reply); err != nil {
		return status.Error(codes.Internal, "grpc: failed to unmarshal the received message: "+err.Error())
	}
	return nil
}

// NewStream opens a call of any other kind.
func (p *Pool) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	o := p.options(opts)
	s := &stream{ctx: ctx, method: method, max: o.max, wake: make(chan struct{}, 1), done: make(chan struct{}), onEnd: o.onFinish}
	if err := p.begin(s); err != nil {
		return nil, err
	}
	if o.peer != nil {
		*o.peer = s.conn.peer
	}
	if desc.ClientStreams {
		s.conn.flush()
	}
	if ctx.Done() != nil {
		p.wg.Go(s.watch)
	}
	return &clientStream{stream: s, desc: desc, call: &o}, nil
}

// begin gives s a connection and puts its header there.
func (p *Pool) begin(s *stream) error {
	for {
		if err := s.ctx.Err(); err != nil {
			return status.FromContextError(err).Err()
		}
		c, err := p.pick(s.ctx)
		if err != nil {
			return err
		}
		room, err := c.enter(s, &p.opts)
		switch {
		case err != nil:
			return err
		case room == nil && s.conn != nil:
			return nil
		case room == nil: // it has just ended: the next
			continue
		}
		select {
		case <-room:
		case <-s.ctx.Done():
		case <-c.dead:
		}
	}
}

// enter opens a stream for s. It returns what to wait for where the backend
// takes no more streams now, and neither that nor an error where the
// connection has ended.
func (c *conn) enter(s *stream, opts *Options) (<-chan struct{}, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil || c.closing.Load():
		return nil, nil //nolint:nilnil // see above
	case uint32(len(c.streams)) >= c.maxStreams: //nolint:gosec // a count
		return c.waiting(), nil
	case c.nextID >= 1<<31-1:
		c.closing.Store(true)
		return nil, nil //nolint:nilnil // see above
	}
	s.conn, s.id, s.window = c, c.nextID, c.peerWindow
	c.nextID += 2
	c.streams[s.id] = s
	c.writeHeader(s, opts)
	return nil, nil //nolint:nilnil // see above
}

// writeHeader appends the request's header. The caller holds mu.
func (c *conn) writeHeader(s *stream, opts *Options) {
	c.hbuf.b = c.hbuf.b[:0]
	c.field(":method", "POST", false)
	c.field(":scheme", c.scheme, false)
	c.field(":path", s.method, false)
	c.field(":authority", c.authority, false)
	c.field("content-type", "application/grpc", false)
	c.field("user-agent", opts.UserAgent, false)
	c.field("te", "trailers", false)
	if deadline, ok := s.ctx.Deadline(); ok {
		c.field("grpc-timeout", encodeTimeout(time.Until(deadline)), true)
	}
	md, _ := metadata.FromOutgoingContext(s.ctx)
	for key, values := range md {
		if key == "" || key[0] == ':' || reserved(key) {
			continue
		}
		binary := strings.HasSuffix(key, "-bin")
		for _, v := range values {
			if binary {
				v = base64.RawStdEncoding.EncodeToString([]byte(v))
			}
			c.field(key, v, passing(key))
		}
	}
	block := c.hbuf.b
	first := min(len(block), c.maxFrame)
	var flags http2.Flags
	if first == len(block) {
		flags = http2.FlagHeadersEndHeaders
	}
	c.out = append(appendFrame(c.out, http2.FrameHeaders, flags, s.id, first), block[:first]...)
	for block = block[first:]; len(block) > 0; {
		n := min(len(block), c.maxFrame)
		flags = 0
		if n == len(block) {
			flags = http2.FlagContinuationEndHeaders
		}
		c.out = append(appendFrame(c.out, http2.FrameContinuation, flags, s.id, n), block[:n]...)
		block = block[n:]
	}
}

// field encodes one field; a value that will not come again is not indexed.
func (c *conn) field(name, value string, once bool) {
	_ = c.henc.WriteField(hpack.HeaderField{Name: name, Value: value, Sensitive: once}) // a buffer takes everything
}

// passing reports whether a key's values are different in every call.
func passing(key string) bool {
	switch key {
	case "x-request-id", "x-forwarded-for", "traceparent", "tracestate", "idempotency-key", "authorization":
		return true
	}
	return false
}

func reserved(key string) bool {
	switch key {
	case "content-type", "user-agent", "grpc-message-type", "grpc-encoding", "grpc-message", "grpc-status", "grpc-timeout", "te":
		return true
	}
	return false
}

// encodeTimeout writes a TimeoutValue of at most 8 digits, rounded up.
func encodeTimeout(d time.Duration) string {
	if d <= 0 {
		return "0n"
	}
	for _, u := range [...]struct {
		unit time.Duration
		sign byte
	}{{time.Nanosecond, 'n'}, {time.Microsecond, 'u'}, {time.Millisecond, 'm'}, {time.Second, 'S'}, {time.Minute, 'M'}} {
		if n := (d + u.unit - 1) / u.unit; n < 1e8 {
			return strconv.FormatInt(int64(n), 10) + string(u.sign)
		}
	}
	return strconv.FormatInt(int64(d/time.Hour)+1, 10) + "H"
}
