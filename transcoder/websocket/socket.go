package websocket

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/websocket/frame"
)

// transport is the connection below a socket.
type transport interface {
	io.ReadWriteCloser
	SetDeadline(t time.Time) error
}

// socket is a connection after its upgrade.
type socket struct {
	all    *Sockets
	conn   transport
	call   *rpc.Call // its record of bytes
	reader frame.Reader
	writer writer
	client netip.Addr

	compression bool
	heard       atomic.Int64 // when the client was last heard, by the clock of all
	pinged      atomic.Int64 // when it was pinged without an answer, 0 for not
	stuck       atomic.Bool  // the reader waits for the application, and hears nothing
	idleSince   atomic.Int64 // without a call, 0 while there is one; of a socket of many
	idleTimeout time.Duration
	retire      func(retryAfter time.Duration) // asks the socket to end

	rate   rate
	ending sync.Once // sends the close frame
}

// closeGrace is how long the other side may take to answer a close frame.
const closeGrace = 5 * time.Second

func newSocket(all *Sockets, conn transport, src *bufio.Reader, call *rpc.Call, d *Door, compression bool) *socket {
	s := &socket{all: all, conn: conn, call: call, client: call.Client, compression: compression}
	s.writer.dst, s.writer.pool = counted{s}, &all.buffers
	s.reader = frame.Reader{Src: src, Max: d.opts.MaxMessageBytes, Compression: compression, Control: s.control, Frame: s.frame}
	s.rate = newRate(d.opts.MessagesPerSecond, all.now)
	s.heard.Store(all.clock())
	return s
}

// counted writes to the connection, and to the record.
type counted struct{ s *socket }

func (c counted) Write(p []byte) (int, error) {
	n, err := c.s.conn.Write(p)
	c.s.call.BytesOut.Add(int64(n))
	return n, err
}

// errRate ends a socket that sends too fast.
var errRate = &frame.Error{Code: frame.CodePolicy, Reason: "too many messages a second"}

// frame notes that the client lives, and that it does not say too much.
func (s *socket) frame() error {
	s.heard.Store(s.all.clock())
	s.pinged.Store(0)
	if !s.rate.allow() {
		return errRate
	}
	return nil
}

// errClosed is the client's close frame.
type errClosed struct{ ending }

func (e errClosed) Error() string { return "closed by the client" }

// control handles a control frame.
func (s *socket) control(op frame.Opcode, payload []byte) error {
	switch op {
	case frame.Ping:
		return s.writer.control(frame.Pong, payload)
	case frame.Close:
		code, reason, err := frame.ParseClose(payload)
		if err != nil {
			return err
		}
		s.close(ending{code, ""}) // echoed (RFC 6455, section 5.5.1)
		return errClosed{ending{code, reason}}
	}
	return nil
}

// read hands every message of the client to take, until the connection, or
// take's patience, ends. It closes the socket for a client that broke the
// protocol. Its error says why it ended.
func (s *socket) read(take func(text bool, p []byte) error) error {
	for {
		// Nothing is held while the client is silent.
		if _, err := s.reader.Src.Peek(1); err != nil {
			return err
		}
		buf := s.all.buffers.Get().(*[]byte)
		p, text, err := s.reader.Next((*buf)[:0])
		*buf = p
		if err == nil {
			s.call.BytesIn.Add(int64(len(p)))
			err = take(text, p)
		}
		s.writer.put(buf)
		if err != nil {
			return s.broken(err)
		}
	}
}

// broken closes the socket where the client is at fault. What it still sends
// is read for a moment: closing a connection with bytes unread resets it, and
// the client might never see why.
func (s *socket) broken(err error) error {
	var violation *frame.Error
	if !errors.As(err, &violation) {
		return err
	}
	s.close(ending{violation.Code, violation.Reason})
	s.writer.flush()
	if c, ok := s.conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
		_ = s.conn.SetDeadline(time.Now().Add(time.Second))
		_, _ = io.CopyN(io.Discard, s.conn, 1<<20)
	}
	return err
}

// send sends a message.
func (s *socket) send(ctx context.Context, text bool, payload []byte) error {
	op := frame.Binary
	if text {
		op = frame.Text
	}
	if !s.compression || len(payload) < compressMin {
		return s.writer.message(ctx, op, payload, false)
	}
	buf := s.all.buffers.Get().(*[]byte)
	defer s.writer.put(buf)
	small, err := frame.Deflate((*buf)[:0], payload)
	if err != nil {
		return err
	}
	*buf = small
	return s.writer.message(ctx, op, small, true)
}

// compressMin is the size from which messages are compressed: below, the
// overhead is more than the gain.
const compressMin = 512

// close sends the close frame, once. The client may take closeGrace to answer.
func (s *socket) close(e ending) {
	s.ending.Do(func() {
		_ = s.conn.SetDeadline(time.Now().Add(closeGrace))
		_ = s.writer.control(frame.Close, frame.AppendClose(nil, e.code, e.reason)) // who is gone needs no goodbye
	})
}

// failure says what the end of reading means to a call.
func failure(err error) *rpc.Error {
	var violation *frame.Error
	var known *rpc.Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &violation):
		code := codes.InvalidArgument
		if violation.Code == frame.CodeTooBig || violation.Code == frame.CodePolicy {
			code = codes.ResourceExhausted
		}
		return rpc.Errorf(code, "%s", violation.Reason)
	case errors.As(err, new(errClosed)), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		return rpc.Errorf(codes.Canceled, "canceled by the client").WithCause(err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return rpc.Errorf(codes.Canceled, "the client does not answer").WithCause(err)
	}
	return rpc.Errorf(codes.Canceled, "the client went away").WithCause(err)
}

// rate is a token bucket for one goroutine.
type rate struct {
	perSecond float64 // 0 or less: no bound
	tokens    float64
	last      time.Time
	now       func() time.Time
}

func newRate(perSecond int, now func() time.Time) rate {
	return rate{perSecond: float64(perSecond), tokens: float64(2 * perSecond), last: now(), now: now}
}

func (r *rate) allow() bool {
	if r.perSecond <= 0 {
		return true
	}
	if r.tokens < 1 { // only then is the time of interest
		now := r.now()
		r.tokens = min(r.tokens+now.Sub(r.last).Seconds()*r.perSecond, 2*r.perSecond)
		r.last = now
	}
	r.tokens--
	return r.tokens >= 0
}
