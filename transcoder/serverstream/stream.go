package serverstream

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"

	"github.com/transomhq/transom/rpc"
)

// Wire is a door's protocol on one call. Its methods are called by one
// goroutine at a time, save that ReadMessage may run beside the other three.
type Wire interface {
	// WriteHeader writes the response header with md. It is called at most
	// once, before the first message, and does not flush.
	WriteHeader(md metadata.MD) error
	// WriteMessage writes one message, which stays the caller's, without
	// flushing.
	WriteMessage(payload mem.BufferSlice) error
	// Flush sends what was written to the client.
	Flush() error
	// ReadMessage returns the next message of the request, which is the
	// caller's to Free, and io.EOF after the last. It blocks until the client
	// sent it whole.
	ReadMessage() (mem.BufferSlice, error)
}

// Stream is one call as the handler sees it. It is a grpc.ServerStream;
// Transport is its other face. One goroutine may receive while another sends.
type Stream struct {
	ctx    context.Context
	cancel context.CancelFunc
	call   *rpc.Call
	wire   Wire

	response http.ResponseWriter
	rc       *http.ResponseController
	http1    bool
	spoiled  atomic.Bool // nothing can be read any more

	stop    func() bool // stops the deadline's watch; nil without a deadline
	watchMu sync.Mutex
	closed  bool // guarded by watchMu, as is
	hurried bool // writes have stallGrace left

	recvMu   sync.Mutex // held while receiving
	recvErr  error      // the end of the request, once known
	received bool       // the first message came

	sendMu sync.Mutex // held while writing to the wire
	done   bool       // the handler returned; guarded by both sendMu and recvMu

	mdMu            sync.Mutex
	header, trailer metadata.MD
	headerSent      bool
}

// stallGrace is how long what is left to write when the call's deadline passes,
// the status at last, may still wait for the client to read.
const stallGrace = time.Second

// Options are what a stream is made of.
type Options struct {
	Call     *rpc.Call // its Method is known
	Request  *http.Request
	Response http.ResponseWriter
	Wire     Wire
	Metadata metadata.MD // of the request
	Timeout  *time.Duration
}

// New returns the stream of a call. End and then Close must be called.
func New(o Options) *Stream {
	s := &Stream{
		call: o.Call, wire: o.Wire,
		response: o.Response, rc: http.NewResponseController(o.Response), http1: o.Request.ProtoMajor == 1,
	}
	if s.http1 && o.Call.Method.ClientStreams {
		// Without full duplex, the first write would read the request away; and
		// an answer that ends before the request leaves a spoiled connection.
		_ = s.rc.EnableFullDuplex()
		o.Response.Header().Set("Connection", "close")
	}
	ctx := o.Request.Context()
	if o.Timeout != nil {
		ctx, s.cancel = context.WithTimeout(ctx, *o.Timeout)
	} else {
		ctx, s.cancel = context.WithCancel(ctx)
	}
	s.ctx = newContext(ctx, s, o)
	if o.Timeout != nil {
		s.stop = context.AfterFunc(ctx, s.expire)
	}
	return s
}

// Context returns the call's context.
func (s *Stream) Context() context.Context { return s.ctx }

// SetHeader adds to the header of the response.
func (s *Stream) SetHeader(md metadata.MD) error {
	if md.Len() == 0 {
		return nil
	}
	if err := validate(md); err != nil {
		return err
	}
	s.mdMu.Lock()
	defer s.mdMu.Unlock()
	if s.headerSent {
		return rpc.Errorf(codes.Internal, "the response header was already sent")
	}
	s.header = join(s.header, md)
	return nil
}

// SendHeader adds to the header of the response and sends it.
func (s *Stream) SendHeader(md metadata.MD) error {
	if err := s.SetHeader(md); err != nil {
		return err
	}
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	if sent, err := s.writeHeader(); err != nil {
		return err
	} else if !sent {
		return rpc.Errorf(codes.Internal, "the response header was already sent")
	}
	return s.sendError(s.wire.Flush())
}

// SetTrailer adds to the trailer of the response. Keys and values that gRPC
// forbids are left out.
func (s *Stream) SetTrailer(md metadata.MD) {
	if md.Len() == 0 {
		return
	}
	s.mdMu.Lock()
	defer s.mdMu.Unlock()
	s.trailer = join(s.trailer, md)
}

// SendMsg sends m, a proto.Message, and the header before the first one.
func (s *Stream) SendMsg(m any) error {
	payload, err := rpc.Codec{}.Marshal(m)
	if err != nil {
		return rpc.Errorf(codes.Internal, "grpc: error while marshaling the response").WithCause(err)
	}
	defer payload.Free()
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	if err := s.write(payload); err != nil {
		return err
	}
	return s.sendError(s.wire.Flush())
}

// write writes the header, if that was not done, and payload. The caller holds sendMu.
func (s *Stream) write(payload mem.BufferSlice) error {
	if _, err := s.writeHeader(); err != nil {
		return err
	}
	if err := s.wire.WriteMessage(payload); err != nil {
		return s.sendError(err)
	}
	s.call.MessagesOut.Add(1)
	return nil
}

// writeHeader writes the header unless that was done before. The caller holds sendMu.
func (s *Stream) writeHeader() (first bool, err error) {
	if s.done {
		return false, rpc.Errorf(codes.Internal, "the call has ended")
	}
	if s.ctx.Err() != nil {
		return false, contextError(s.ctx, nil)
	}
	s.mdMu.Lock()
	first = !s.headerSent
	s.headerSent = true
	header := s.header
	s.mdMu.Unlock()
	if !first {
		return false, nil
	}
	return true, s.sendError(s.wire.WriteHeader(header))
}

// RecvMsg receives the next message into m, a proto.Message. It returns io.EOF
// after the last message of a client stream. Where the client sends one
// message, there must be exactly one.
func (s *Stream) RecvMsg(m any) error {
	s.recvMu.Lock()
	defer s.recvMu.Unlock()
	payload, err := s.receive()
	if err != nil {
		return err
	}
	defer payload.Free()
	if err := (rpc.Codec{}).Unmarshal(payload, m); err != nil {
		return rpc.Errorf(codes.Internal, "grpc: failed to unmarshal the received message").WithCause(err)
	}
	return nil
}

// receive returns the next message. The caller holds recvMu.
func (s *Stream) receive() (mem.BufferSlice, error) {
	if s.recvErr == nil && s.done {
		s.recvErr = rpc.Errorf(codes.Internal, "the call has ended")
	}
	if s.recvErr == nil && s.ctx.Err() != nil {
		s.recvErr = contextError(s.ctx, nil)
	}
	if s.recvErr != nil {
		return nil, s.recvErr
	}
	payload, err := s.wire.ReadMessage()
	if err == nil && !s.call.Method.ClientStreams {
		if err = s.expectEnd(); err != nil {
			payload.Free()
		}
	}
	if err != nil {
		s.recvErr = s.endOfRequest(err)
		return nil, s.recvErr
	}
	s.received = true
	s.call.MessagesIn.Add(1)
	return payload, nil
}

// expectEnd makes sure that the request had one message only.
func (s *Stream) expectEnd() error {
	extra, err := s.wire.ReadMessage()
	switch {
	case err == nil:
		extra.Free()
		return rpc.Errorf(codes.Unimplemented, "cardinality violation: received multiple request messages for non-client-streaming RPC")
	case errors.Is(err, io.EOF):
		s.recvErr = io.EOF // what the next RecvMsg says
		return nil
	}
	return err
}

// endOfRequest says what the end of the request means to the handler.
func (s *Stream) endOfRequest(err error) error {
	var e *rpc.Error
	switch {
	case err == io.EOF: //nolint:errorlint // only io.EOF itself is the end
		if !s.call.Method.ClientStreams && !s.received {
			return rpc.Errorf(codes.Unimplemented, "cardinality violation: received no request message from non-client-streaming RPC")
		}
		return io.EOF
	case errors.As(err, &e):
		return e
	}
	return readError(s.ctx, err)
}

// Load reads the message of a unary request into m: Stream is the rpc.Source
// of a lazy message.
func (s *Stream) Load(m *rpc.Message) error {
	s.recvMu.Lock()
	defer s.recvMu.Unlock()
	payload, err := s.receive()
	if err != nil {
		return err
	}
	m.SetBuffers(payload)
	return nil
}

// End ends the stream when the handler has returned: nothing that the handler
// left behind reads or writes the wire afterwards. It returns the header, if it
// was not sent, and the trailer.
func (s *Stream) End() (header, trailer metadata.MD, sent bool) {
	if !s.sendMu.TryLock() { // a sender was left behind: no status can follow it
		_ = s.rc.SetWriteDeadline(past())
		s.sendMu.Lock()
	}
	if !s.recvMu.TryLock() { // a receiver was left behind, waiting for the client
		s.stopReading()
		s.recvMu.Lock()
	}
	s.done = true
	s.recvMu.Unlock()
	s.sendMu.Unlock()
	s.mdMu.Lock()
	defer s.mdMu.Unlock()
	sent = s.headerSent
	s.headerSent = true
	if !sent && s.http1 && s.spoiled.Load() {
		s.response.Header().Set("Connection", "close")
	}
	return s.header, s.trailer, sent
}

// Close gives up the stream's context and its watch, once the answer is written.
func (s *Stream) Close() {
	if s.stop != nil && !s.stop() {
		s.watchMu.Lock() // waits for an expire that is under way, and bars a later one
		s.closed = true
		if s.hurried && s.http1 { // the next request's answer has time again
			_ = s.rc.SetWriteDeadline(time.Time{})
		}
		s.watchMu.Unlock()
	}
	s.cancel()
}

// expire runs when the call's deadline passes. A receiver waits no longer; a
// sender may finish if the client reads soon, so that the status can follow.
func (s *Stream) expire() {
	s.watchMu.Lock()
	defer s.watchMu.Unlock()
	if s.closed {
		return
	}
	if s.recvMu.TryLock() { // whoever receives from now on sees that the context is done
		s.recvMu.Unlock()
	} else {
		s.stopReading()
	}
	s.hurried = true
	_ = s.rc.SetWriteDeadline(time.Now().Add(stallGrace))
}

// stopReading makes a read under way, and every later one, fail. In HTTP/1.1
// that spoils the connection: the rest of the body would be taken for the next
// request, and net/http cancels the context of whatever comes after.
func (s *Stream) stopReading() {
	s.spoiled.Store(true)
	_ = s.rc.SetReadDeadline(past())
}
