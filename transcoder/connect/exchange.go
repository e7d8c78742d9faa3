package connect

import (
	"io"
	"net/http"
	"strconv"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"

	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/envelope"
	"github.com/transomhq/transom/transcoder/serverstream"
)

// exchange is the wire of one call, in either form.
type exchange interface {
	serverstream.Wire
	// finish ends the answer. header counts only if none was written.
	finish(header, trailer metadata.MD, err error)
	// close gives memory back.
	close()
}

// unary is a call as one HTTP request and response. Trailers and status stand
// in the response's header, so all is held until the end.
type unary struct {
	door    *Door
	w       http.ResponseWriter
	r       *http.Request
	call    *rpc.Call
	req     request
	read    bool
	header  metadata.MD
	payload mem.BufferSlice // of the response, as it goes out
}

func (d *Door) newUnary(w http.ResponseWriter, r *http.Request, call *rpc.Call, q request) *unary {
	return &unary{door: d, w: w, r: r, call: call, req: q}
}

// WriteHeader implements serverstream.Wire.
func (u *unary) WriteHeader(md metadata.MD) error {
	u.header = md
	return nil
}

// WriteMessage implements serverstream.Wire.
func (u *unary) WriteMessage(payload mem.BufferSlice) (err error) {
	if u.req.json != nil {
		u.payload, err = u.req.json.toJSON(payload)
		return err
	}
	payload.Ref()
	u.payload = payload
	return nil
}

// Flush implements serverstream.Wire.
func (u *unary) Flush() error { return nil }

// ReadMessage implements serverstream.Wire.
func (u *unary) ReadMessage() (mem.BufferSlice, error) {
	if u.read {
		return nil, io.EOF
	}
	u.read = true
	body, err := u.body()
	if err != nil {
		return nil, err
	}
	if u.req.gzip && body.Len() > 0 {
		inflated, err := u.door.gzip.Inflate(body, u.door.max, codes.InvalidArgument)
		body.Free()
		if err != nil {
			return nil, err
		}
		body = inflated
	}
	if u.req.json != nil {
		return u.req.json.toWire(body)
	}
	return body, nil
}

func (u *unary) body() (mem.BufferSlice, error) {
	if u.req.get {
		if len(u.req.message) > u.door.max {
			return nil, tooLarge(u.door.max)
		}
		return mem.BufferSlice{mem.SliceBuffer(u.req.message)}, nil
	}
	if u.r.ContentLength > int64(u.door.max) {
		return nil, tooLarge(u.door.max)
	}
	body, err := envelope.ReadBody(u.r.Body, u.door.max)
	u.call.BytesIn.Add(int64(body.Len()))
	return body, err
}

func tooLarge(limit int) *rpc.Error {
	return rpc.Errorf(codes.ResourceExhausted, "the message is larger than %d bytes", limit)
}

func (u *unary) finish(header, trailer metadata.MD, err error) {
	if u.header != nil {
		header = u.header
	}
	h := u.w.Header()
	serverstream.AppendTo(h, "", header)
	serverstream.AppendTo(h, "Trailer-", trailer)
	if u.req.get {
		h.Add("Vary", "Accept-Encoding")
	}
	status := http.StatusOK
	if err != nil {
		status = httpStatus(err)
		addHeader(h, err, u.call)
		if plain(status) {
			writePlain(u.w, u.call, status, err)
			return
		}
		h["Content-Type"] = []string{"application/json"}
		u.payload.Free()
		u.payload = mem.BufferSlice{mem.SliceBuffer(errorJSON(err))}
	} else {
		h["Content-Type"] = []string{"application/" + u.req.codec}
	}
	u.send(h, status)
}

// send writes the response, compressed where that is wanted and worth it.
func (u *unary) send(h http.Header, status int) {
	if n := u.payload.Len(); u.req.gzipAnswer && n > 0 && n >= u.door.min {
		if deflated, err := u.door.gzip.Deflate(u.payload); err == nil {
			u.payload.Free()
			u.payload = deflated
			h["Content-Encoding"] = []string{envelope.GzipName}
		}
	}
	h["Content-Length"] = []string{strconv.Itoa(u.payload.Len())}
	u.w.WriteHeader(status)
	u.call.Update(func(o *rpc.Outcome) { o.HTTPStatus = status })
	for _, b := range u.payload {
		n, err := u.w.Write(b.ReadOnlyData())
		u.call.BytesOut.Add(int64(n))
		if err != nil {
			return
		}
	}
}

func (u *unary) close() {
	u.payload.Free()
	u.payload = nil
}

// streaming is a call whose messages are envelopes, both ways.
type streaming struct {
	w      http.ResponseWriter
	call   *rpc.Call
	req    request
	sent   bool
	reader envelope.Reader
	writer envelope.Writer
	batch  *envelope.Batch
}

func (d *Door) newStreaming(w http.ResponseWriter, r *http.Request, call *rpc.Call, q request) *streaming {
	s := &streaming{w: w, call: call, req: q, batch: envelope.NewBatch(w, http.NewResponseController(w).Flush)}
	s.reader = envelope.Reader{Src: r.Body, Max: d.max, Malformed: codes.InvalidArgument}
	s.writer = envelope.Writer{Dst: s.batch, GzipMin: d.min}
	if q.gzip {
		s.reader.Gzip = d.gzip
	}
	if q.gzipAnswer {
		s.writer.Gzip = d.gzip
	}
	return s
}

// WriteHeader implements serverstream.Wire.
func (s *streaming) WriteHeader(md metadata.MD) error {
	s.sent = true
	h := s.w.Header()
	h["Content-Type"] = []string{streamPrefix + s.req.codec}
	if s.writer.Gzip != nil {
		h["Connect-Content-Encoding"] = []string{envelope.GzipName}
	}
	serverstream.AppendTo(h, "", md)
	s.writeStatus(http.StatusOK)
	return nil
}

func (s *streaming) writeStatus(status int) {
	s.w.WriteHeader(status)
	s.call.Update(func(o *rpc.Outcome) { o.HTTPStatus = status })
}

// WriteMessage implements serverstream.Wire.
func (s *streaming) WriteMessage(payload mem.BufferSlice) error {
	if s.req.json != nil {
		text, err := s.req.json.toJSON(payload)
		if err != nil {
			return err
		}
		payload = text
	}
	return s.write(0, payload)
}

func (s *streaming) write(flags byte, payload mem.BufferSlice) error {
	n, err := s.writer.Write(flags, payload)
	s.call.BytesOut.Add(int64(n))
	return err
}

// Flush implements serverstream.Wire.
func (s *streaming) Flush() error { return s.batch.Flush() }

// ReadMessage implements serverstream.Wire.
func (s *streaming) ReadMessage() (mem.BufferSlice, error) {
	flags, payload, err := s.reader.Next()
	s.call.BytesIn.Store(s.reader.BytesRead())
	if err == nil && flags != 0 {
		payload.Free()
		return nil, rpc.Errorf(codes.InvalidArgument, "an envelope of the request has flags %#02x: only 0x01, compressed, is known", flags)
	}
	if err == nil && s.req.json != nil {
		return s.req.json.toWire(payload)
	}
	return payload, err
}

// finish writes the end of the stream. A request that HTTP itself refuses, by
// its method, path or content type, gets that status and no stream.
func (s *streaming) finish(header, trailer metadata.MD, err error) {
	if !s.sent {
		addHeader(s.w.Header(), err, s.call)
		if status := overridden(err); plain(status) || status == http.StatusNotFound {
			writePlain(s.w, s.call, status, err)
			return
		}
		_ = s.WriteHeader(header)
	}
	_ = s.write(envelope.FlagEndStream, mem.BufferSlice{mem.SliceBuffer(endStreamJSON(trailer, err))})
	_ = s.batch.Flush()
	_ = s.batch.Close() // its failure is the client's end
}

func (s *streaming) close() { s.reader.Close() }
