package lean

import (
	"context"
	"errors"
	"io"
	"sync"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/transomhq/transom/rpc"
)

// stream is one call. The reader fills it, the call's goroutines empty it.
type stream struct {
	conn   *conn
	ctx    context.Context //nolint:containedctx // a stream is a call
	method string
	id     uint32
	unary  bool // answered by at most one message: nobody looks before the end
	max    int
	onEnd  []func(error)

	window int64 // what may be sent; under conn.mu
	closed bool  // half-closed; of the sender
	sent   bool  // the end of the request, or a reset, was written; under conn.mu

	wake chan struct{} // something changed
	done chan struct{} // of a stream: the end; nil for unary

	mu       sync.Mutex
	header   metadata.MD
	headed   bool // the header has come, or never will
	trailer  metadata.MD
	msgs     []mem.Buffer
	ended    bool
	refused  bool // the backend never began
	status   *status.Status
	consumed int64 // bytes taken, and not given back to the window

	// The message that comes in; of the reader.
	prefix  [5]byte
	prefixN int
	body    *[]byte
	length  int
}

// receive takes data of n bytes on the wire. What it returns ends the call.
func (s *stream) receive(data []byte, n int64) (http2.ErrCode, *status.Status) {
	if !s.isHeaded() {
		return http2.ErrCodeProtocol, status.New(codes.Internal, "http2: data before the header")
	}
	credit := n - int64(len(data)) // padding
	if s.unary {
		credit = n // bounded by the message's own limit
	}
	for len(data) > 0 {
		if s.body == nil {
			m := copy(s.prefix[s.prefixN:], data)
			s.prefixN += m
			data = data[m:]
			if s.prefixN < len(s.prefix) {
				break
			}
			if st := s.begin(); st != nil {
				return http2.ErrCodeCancel, st
			}
		}
		m := min(s.length-len(*s.body), len(data))
		*s.body = append(*s.body, data[:m]...)
		data = data[m:]
		if !s.unary && large(s.length) { // nobody can take it before all of it is there
			credit += int64(m)
		}
		if len(*s.body) == s.length {
			s.push(mem.NewBuffer(s.body, mem.DefaultBufferPool()))
			s.body, s.prefixN = nil, 0
		}
	}
	if credit > 0 {
		s.giveBack(credit)
	}
	return 0, nil
}

// large reports whether a message takes too much of the stream's window to
// wait for its reader.
func large(length int) bool { return length > streamWindow/4 }

func (s *stream) isHeaded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.headed
}

// grown is how much of a message is allocated before its bytes have come.
const grown = 1 << 20

func (s *stream) begin() *status.Status {
	p := s.prefix
	s.length = int(uint32(p[1])<<24 | uint32(p[2])<<16 | uint32(p[3])<<8 | uint32(p[4]))
	switch {
	case p[0] == 1:
		return status.New(codes.Internal, "grpc: Decompressor is not installed for grpc-encoding \"\"")
	case p[0] != 0:
		return status.Newf(codes.Internal, "grpc: received unexpected payload format %d", p[0])
	case s.length > s.max:
		return status.Newf(codes.ResourceExhausted, "grpc: received message larger than max (%d vs. %d)", s.length, s.max)
	}
	s.body = mem.DefaultBufferPool().Get(min(s.length, grown))
	*s.body = (*s.body)[:0]
	return nil
}

func (s *stream) push(m mem.Buffer) {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		m.Free()
		return
	}
	s.msgs = append(s.msgs, m)
	s.mu.Unlock()
	if !s.unary {
		s.notify()
	}
}

func (s *stream) notify() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// giveBack lets the backend send n bytes more, in larger pieces.
func (s *stream) giveBack(n int64) {
	s.mu.Lock()
	s.consumed += n
	due := s.consumed
	if due < streamWindow/4 || s.ended {
		s.mu.Unlock()
		return
	}
	s.consumed = 0
	s.mu.Unlock()
	c := s.conn
	c.mu.Lock()
	c.out = appendWindowUpdate(c.out, s.id, uint32(due)) //nolint:gosec // less than a window
	c.mu.Unlock()
	c.nudge()
}

// headers takes the header of the answer.
func (s *stream) headers(h *headerBlock) *status.Status {
	if len(h.http) == 3 && h.http[0] == '1' { // interim
		return nil
	}
	if s.isHeaded() {
		return status.New(codes.Internal, "http2: a second header")
	}
	st := h.check()
	s.mu.Lock()
	s.header, s.headed = h.md, true
	s.mu.Unlock()
	if !s.unary {
		s.notify()
	}
	return st
}

// trailers takes the end of the answer, which may be all of it.
func (s *stream) trailers(h *headerBlock) {
	s.mu.Lock()
	headed := s.headed
	s.trailer = h.md
	s.mu.Unlock()
	if !headed {
		if st := h.check(); st != nil && !(h.http == "200" && h.grpc != "" && h.bad == "") {
			s.end(st, false)
			return
		}
	}
	if s.prefixN > 0 {
		s.end(status.New(codes.Internal, io.ErrUnexpectedEOF.Error()), false)
		return
	}
	if h.grpc == "" {
		s.end(status.New(codes.Internal, "server closed the stream without sending trailers"), false)
		return
	}
	s.end(h.status(), false)
}

// end settles how the call went; the first end counts.
func (s *stream) end(st *status.Status, refused bool) {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return
	}
	s.ended, s.headed, s.status, s.refused = true, true, st, refused
	s.mu.Unlock()
	if s.done != nil {
		close(s.done)
	}
	s.notify()
	for _, f := range s.onEnd {
		f(st.Err())
	}
}

// abandon tells the backend that nobody waits any more.
func (s *stream) abandon(code http2.ErrCode) {
	c := s.conn
	c.mu.Lock()
	known := c.streams[s.id] == s && c.err == nil
	if known {
		c.out = appendReset(c.out, s.id, code)
		s.sent = true
	}
	c.mu.Unlock()
	c.remove(s)
}

// cancel ends the call for its context's reason.
func (s *stream) cancel() {
	s.end(status.FromContextError(s.ctx.Err()), false)
	s.abandon(http2.ErrCodeCancel)
}

// send writes one message, in as many frames as the windows allow, with the
// end of the request behind it if last. It reports false when the call ended.
func (s *stream) send(bufs mem.BufferSlice, last bool) (bool, error) {
	length := bufs.Len()
	if uint64(length) > 1<<32-1 {
		return false, status.Errorf(codes.ResourceExhausted, "grpc: message too large (%d bytes)", length)
	}
	prefix := [5]byte{0, byte(length >> 24), byte(length >> 16), byte(length >> 8), byte(length)}
	rest := payload{head: prefix[:], bufs: bufs}
	c := s.conn
	left := length + len(prefix)
	for left > 0 {
		c.mu.Lock()
		if c.err != nil || c.streams[s.id] != s {
			c.mu.Unlock()
			return false, nil //nolint:nilerr // whoever receives is told why
		}
		n := int(min(int64(left), int64(c.maxFrame), c.window, s.window))
		if n <= 0 {
			room := c.waiting()
			c.mu.Unlock()
			c.flush()
			if !s.await(room) {
				return false, nil
			}
			continue
		}
		var flags http2.Flags
		if left -= n; left == 0 && last {
			flags = http2.FlagDataEndStream
			s.sent = true
		}
		c.window -= int64(n)
		s.window -= int64(n)
		c.out = rest.appendTo(appendFrame(c.out, http2.FrameData, flags, s.id, n), n)
		full := len(c.out) > 1<<20
		c.mu.Unlock()
		if full {
			c.flush()
		}
	}
	return true, nil
}

// await waits for room to send, false when the call ends before.
func (s *stream) await(room <-chan struct{}) bool {
	select {
	case <-room:
		return true
	case <-s.ctx.Done():
		s.cancel()
	case <-s.conn.dead:
	}
	return false
}

// payload is a message while it is cut into frames.
type payload struct {
	head []byte
	bufs mem.BufferSlice
	at   int // in bufs[0]
}

func (p *payload) appendTo(b []byte, n int) []byte {
	m := min(n, len(p.head))
	b, p.head, n = append(b, p.head[:m]...), p.head[m:], n-m
	for n > 0 {
		data := p.bufs[0].ReadOnlyData()[p.at:]
		m := min(n, len(data))
		b, n, p.at = append(b, data[:m]...), n-m, p.at+m
		if m == len(data) {
			p.bufs, p.at = p.bufs[1:], 0
		}
	}
	return b
}

// clientStream is a stream as grpc.ClientStream.
type clientStream struct {
	*stream
	desc *grpc.StreamDesc
	got  bool // the one answer has been read
	call *callOptions
}

var _ grpc.ClientStream = (*clientStream)(nil)

// Context returns the call's context.
func (s *clientStream) Context() context.Context { return s.ctx }

// Header waits for the header of the answer.
func (s *clientStream) Header() (metadata.MD, error) {
	s.conn.flush()
	for {
		s.mu.Lock()
		headed, ended, header, st := s.headed, s.ended, s.header, s.status
		s.mu.Unlock()
		if headed {
			s.notify() // whoever else waits looks again
			if ended && header == nil && st != nil {
				return nil, st.Err()
			}
			return header, nil
		}
		select {
		case <-s.wake:
		case <-s.ctx.Done():
			s.cancel()
		}
	}
}

// Trailer returns what came with the status.
func (s *clientStream) Trailer() metadata.MD {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trailer
}

// CloseSend ends the request.
func (s *clientStream) CloseSend() error {
	if s.closed {
		return nil
	}
	s.closed = true
	c := s.conn
	c.mu.Lock()
	if c.err == nil && c.streams[s.id] == s.stream {
		c.out = appendFrame(c.out, http2.FrameData, http2.FlagDataEndStream, s.id, 0)
		s.sent = true
	}
	c.mu.Unlock()
	c.flush()
	return nil
}

// SendMsg writes a message. io.EOF says that the call has ended: RecvMsg knows how.
func (s *clientStream) SendMsg(m any) error {
	bufs, err := rpc.Codec{}.Marshal(m)
	if err != nil {
		s.end(status.Convert(err), false)
		s.abandon(http2.ErrCodeCancel)
		return err
	}
	defer bufs.Free()
	if s.closed {
		return status.Error(codes.Internal, "SendMsg called after CloseSend")
	}
	last := !s.desc.ClientStreams
	ok, err := s.send(bufs, last)
	s.closed = s.closed || last
	if err != nil {
		return err
	}
	s.conn.flush()
	if !ok {
		return io.EOF
	}
	return nil
}

// RecvMsg reads the next message; io.EOF is the good end.
func (s *clientStream) RecvMsg(m any) error {
	buf, err := s.next()
	if err != nil {
		return err
	}
	if s.got && !s.desc.ServerStreams {
		buf.Free()
		s.end(status.New(codes.Internal, "cardinality violation: more than one response"), false)
		s.abandon(http2.ErrCodeCancel)
		return status.Error(codes.Internal, "cardinality violation: more than one response")
	}
	s.got = true
	n := int64(5)
	if !large(buf.Len()) {
		n += int64(buf.Len())
	}
	data := mem.BufferSlice{buf}
	err = rpc.Codec{}.Unmarshal(data, m)
	data.Free()
	s.giveBack(n)
	if err != nil {
		return status.Error(codes.Internal, "grpc: failed to unmarshal the received message: "+err.Error())
	}
	return nil
}

func (s *clientStream) next() (mem.Buffer, error) {
	for {
		s.mu.Lock()
		if len(s.msgs) > 0 {
			m := s.msgs[0]
			s.msgs = s.msgs[1:]
			s.mu.Unlock()
			return m, nil
		}
		ended, st := s.ended, s.status
		s.mu.Unlock()
		if ended {
			s.call.settle(s.stream)
			switch {
			case st != nil && st.Code() != codes.OK:
				return nil, st.Err()
			case !s.desc.ServerStreams && !s.got:
				return nil, status.Error(codes.Internal, "cardinality violation: received no response message from non-server-streaming RPC")
			}
			return nil, io.EOF
		}
		select {
		case <-s.wake:
		case <-s.ctx.Done():
			s.cancel()
		}
	}
}

// watch ends a stream whose context ends while nobody reads or writes it.
func (s *stream) watch() {
	select {
	case <-s.done:
	case <-s.ctx.Done():
		s.cancel()
	}
}

var errRefused = errors.New("refused before it began")
