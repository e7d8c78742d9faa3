package rest

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"

	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/envelope"
	"github.com/transomhq/transom/transcoder/serverstream"
)

// headerDelay is how long a stream whose request was taken may be silent until
// its header goes out without waiting for the backend's. What fails before has
// an HTTP status of its own.
const headerDelay = 200 * time.Millisecond

// stream serves a call of any kind but unary: a source of request messages by
// the form of the body, and a sink of responses by the form that Accept asks for.
func (x *exchange) stream() error {
	w := &streaming{x: x}
	if err := w.open(); err != nil {
		return err
	}
	md, err := x.door.headers.inbound(x.r.Header)
	if err != nil {
		return err
	}
	timeout, bounded, err := x.timeout()
	if err != nil {
		return err
	}
	opts := serverstream.Options{Call: x.call, Request: x.r, Response: x.w, Wire: w, Metadata: md}
	if bounded {
		opts.Timeout = &timeout
	}
	w.stream = serverstream.New(opts)
	defer w.stream.Close()
	err = x.door.opts.Handler.Stream(x.call, &callStream{Stream: w.stream})
	header, trailer, _ := w.stream.End()
	w.early.stop()
	w.beat.stop()
	w.in.close()
	return w.finish(header, trailer, err)
}

// streaming is the wire of a call that is not unary.
type streaming struct {
	x      *exchange
	in     source
	stream *serverstream.Stream
	batch  *envelope.Batch
	early  alarm // sends the header if the backend takes its time
	beat   alarm // keeps an idle stream visibly alive

	expected bool // early is set; for the reader

	mu     sync.Mutex // held while writing
	buf    *[]byte    // the frame being written
	header metadata.MD
	wrote  bool // the header is out
	sent   int  // messages
	last   time.Time
	answer *rpc.Message // of a call that streams nothing down
}

var _ serverstream.Wire = (*streaming)(nil)

// open chooses the forms of both directions.
func (s *streaming) open() (err error) {
	x := s.x
	down := x.plan.binding.Method.ServerStreams
	if down {
		x.form, err = x.negotiateStream()
	} else {
		x.form, err = x.negotiate()
	}
	if err != nil {
		return err
	}
	if s.in, err = x.source(); err != nil {
		return err
	}
	if x.plan.binding.Method.ClientStreams {
		x.freeBody()
	}
	if x.form.kind == formEvents {
		x.call.Door = "sse"
	}
	if down {
		s.batch = envelope.NewBatch(x.w, http.NewResponseController(x.w).Flush)
		s.buf = x.door.pool.get()
	}
	return nil
}

// freeBody lifts the limits on a whole body and on its pauses: each of its
// messages is bounded instead, and policies say how long it may be idle.
func (x *exchange) freeBody() {
	if b, ok := x.r.Body.(interface{ SetLimit(bytes int64) }); ok {
		b.SetLimit(-1)
	}
	_ = http.NewResponseController(x.w).SetReadDeadline(time.Time{}) // a server without deadlines has none to lift
}

// ReadMessage implements serverstream.Wire. Whoever reads has let the call
// pass, so the header need not wait for long any more: for the only message,
// once it is there; for the first of many, at once, since a client may wait for
// the header before it sends.
func (s *streaming) ReadMessage() (mem.BufferSlice, error) {
	if s.x.plan.binding.Method.ClientStreams {
		s.expectHeader()
		return s.in.next()
	}
	msg, err := s.in.next()
	if err == nil {
		s.expectHeader()
	}
	return msg, err
}

// expectHeader sends the header if nobody does so for a while.
func (s *streaming) expectHeader() {
	if s.expected || s.batch == nil || s.x.form.kind == formRaw {
		return
	}
	s.expected = true
	s.early.start(headerDelay, func() time.Duration {
		_ = s.stream.SendHeader(nil) // a client that has gone is noticed elsewhere
		return 0
	})
}

// WriteHeader implements serverstream.Wire.
func (s *streaming) WriteHeader(md metadata.MD) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.header = md
	if s.batch == nil || s.x.form.kind == formRaw {
		return nil // it goes out with what it is about
	}
	return s.writeHeader()
}

// writeHeader sends the status line and the header. The caller holds mu.
func (s *streaming) writeHeader() error {
	x := s.x
	s.wrote, s.last = true, time.Now()
	h := x.w.Header()
	x.door.headers.writeHeader(h, s.header)
	h["Content-Type"] = []string{x.form.media}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	if x.form.kind != formRaw {
		h["Vary"] = append(h["Vary"], "Accept")
		h["X-Accel-Buffering"] = []string{"no"} // nginx holds streams back otherwise
	}
	if x.form.kind == formEvents && len(h["Cache-Control"]) == 0 {
		h["Cache-Control"] = []string{"no-cache"}
	}
	if acceptsTrailers(x.r.Header) && x.door.opts.Profile != GRPCGateway {
		h["Trailer"] = append(h["Trailer"], "Grpc-Status", "Grpc-Message")
	}
	status := x.door.headers.httpStatus(s.header)
	if status == 0 || bodyless(status) {
		status = http.StatusOK
	}
	x.call.Update(func(o *rpc.Outcome) { o.HTTPStatus = status })
	x.w.WriteHeader(status)
	if x.r.Method == http.MethodHead {
		return errHead
	}
	return s.prelude()
}

// errHead ends the call of a HEAD request, whose answer is the header alone.
var errHead = rpc.Errorf(codes.Canceled, "HEAD asks for the header only")

func bodyless(status int) bool {
	return status == http.StatusNoContent || status == http.StatusResetContent || status == http.StatusNotModified
}

// prelude writes what stands before the first message.
func (s *streaming) prelude() error {
	switch s.x.form.kind {
	case formArray:
		return s.write([]byte{'['})
	case formEvents:
		if err := s.write(appendRetry(nil, s.x.door.opts.StreamRetry)); err != nil {
			return err
		}
		s.beat.start(s.x.plan.stream.heartbeat, s.heartbeat)
	}
	return nil
}

// WriteMessage implements serverstream.Wire.
func (s *streaming) WriteMessage(payload mem.BufferSlice) error {
	if s.batch == nil {
		s.answer = rpc.NewMessage(s.x.plan.binding.Method.Desc.Output())
		payload.Ref()
		s.answer.SetBuffers(payload)
		return nil
	}
	var wire []byte
	switch len(payload) {
	case 0:
	case 1:
		wire = payload[0].ReadOnlyData()
	default:
		one := payload.MaterializeToBuffer(s.x.door.pool)
		defer one.Free()
		wire = one.ReadOnlyData()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writeMessage(wire)
}

func (s *streaming) writeMessage(wire []byte) error {
	frame, err := s.appendFrame((*s.buf)[:0], wire)
	if cap(frame) <= maxArena {
		*s.buf = frame
	}
	if err != nil {
		return err
	}
	if !s.wrote { // raw: its content type came with the message
		if err := s.writeHeader(); err != nil {
			return err
		}
	}
	s.sent++
	return s.write(frame)
}

// write hands p to the client, together with what else is ready. The caller holds mu.
func (s *streaming) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	n, err := s.batch.Write(p)
	s.x.call.BytesOut.Add(int64(n))
	if s.x.form.kind == formEvents {
		s.last = time.Now()
	}
	return err
}

// Flush implements serverstream.Wire.
func (s *streaming) Flush() error {
	if s.batch == nil || !s.wrote {
		return nil
	}
	return s.batch.Flush()
}

// finish ends the answer. An error that it returns was not shown to the client
// yet, and may still have an HTTP status of its own.
func (s *streaming) finish(header, trailer metadata.MD, err error) error {
	x := s.x
	if s.buf != nil {
		defer x.door.pool.Put(s.buf)
	}
	if s.header != nil {
		header = s.header
	}
	if s.batch == nil {
		return s.finishOne(header, trailer, err)
	}
	switch {
	case s.wrote:
	case err != nil:
		if x.door.opts.Profile == GRPCGateway && x.call.MessagesIn.Load() > 0 && x.form.kind == formLines {
			return s.failEarly(header, trailer, err)
		}
		x.setMetadata(header, trailer)
		return err
	case s.done():
		x.setMetadata(header, trailer)
		x.send(http.StatusNoContent, "", nil, nil)
		return nil
	default:
		s.header = header
		if x.form.media == "" {
			x.form.media = "application/octet-stream"
		}
		err = s.writeHeader()
	}
	if x.r.Method == http.MethodHead {
		x.call.SetResult(nil)
		return nil
	}
	if err != nil {
		x.call.SetResult(err)
	}
	return s.end(trailer, err)
}

// done reports whether the client only asked whether there is more, and there
// is not: 204 tells an EventSource to stop asking (HTML, section 9.2.3).
func (s *streaming) done() bool {
	return s.x.form.kind == formEvents && s.sent == 0 && header(s.x.r.Header, "Last-Event-Id") != ""
}

// finishOne answers a call that streams nothing down as a unary one.
func (s *streaming) finishOne(header, trailer metadata.MD, err error) error {
	s.x.setMetadata(header, trailer)
	if err == nil && s.answer == nil {
		err = rpc.Errorf(codes.Internal, "internal error").WithCause(errors.New("the handler returned neither a message nor an error"))
	}
	if s.answer != nil {
		defer s.answer.Free()
	}
	if err != nil {
		return err
	}
	s.x.call.MessagesOut.Add(-1) // answer counts it
	return s.x.answer(s.answer)
}

// setMetadata hands over what a unary answer, or a failure, starts and ends with.
func (x *exchange) setMetadata(header, trailer metadata.MD) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.header, x.trailer = header, trailer
}

// end writes what stands after the last message. A form that cannot say that
// it failed is broken off: it must not look complete.
func (s *streaming) end(trailer metadata.MD, err error) error {
	s.mu.Lock()
	closing, whole := s.appendEnd((*s.buf)[:0], trailer, err)
	_ = s.write(closing) // a client that has gone needs no end
	s.mu.Unlock()
	_ = s.batch.Flush()
	_ = s.batch.Close()
	if !whole {
		panic(http.ErrAbortHandler)
	}
	if acceptsTrailers(s.x.r.Header) {
		s.writeTrailer(trailer, err)
	}
	return nil
}

func (s *streaming) writeTrailer(trailer metadata.MD, err error) {
	h, own := s.x.w.Header(), http.Header{}
	s.x.door.headers.writeTrailer(own, trailer)
	for name, values := range own {
		h[http.TrailerPrefix+name] = values
	}
	if s.x.door.opts.Profile != GRPCGateway {
		code, message, _ := serverstream.StatusFields(rpc.StatusOf(err))
		h["Grpc-Status"] = []string{code}
		if message != "" {
			h["Grpc-Message"] = []string{message}
		}
		if v := rpc.ProxyStatus(err, s.x.call); v != "" {
			h[http.TrailerPrefix+rpc.ProxyStatusHeader] = []string{v}
		}
	}
}

// callStream is the stream as the handler sees it. A backend's header that
// comes after the header had to go out becomes part of the trailer.
type callStream struct{ *serverstream.Stream }

// SendHeader implements grpc.ServerStream.
func (s *callStream) SendHeader(md metadata.MD) error {
	err := s.Stream.SendHeader(md)
	if err == nil || s.Context().Err() != nil || rpc.StatusOf(err).Code() != codes.Internal {
		return err
	}
	s.SetTrailer(md)
	return nil
}

// alarm runs a function after a while, and again as long as it says so.
type alarm struct {
	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
}

// start runs f after d, and then each time after what f returns, until it
// returns 0. Only the first start counts.
func (a *alarm) start(d time.Duration, f func() time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil || a.stopped || d <= 0 {
		return
	}
	a.timer = time.AfterFunc(d, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.stopped {
			return
		}
		if next := f(); next > 0 {
			a.timer.Reset(next)
		}
	})
}

// stop ends the alarm, and waits for its function if that runs.
func (a *alarm) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped = true
	if a.timer != nil {
		a.timer.Stop()
	}
}
