package grpcweb

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"

	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/envelope"
	"github.com/transomhq/transom/transcoder/serverstream"
)

// exchange is the wire of one call.
type exchange struct {
	w           http.ResponseWriter
	call        *rpc.Call
	contentType string      // of the answer
	text        *textWriter // nil in binary
	reader      envelope.Reader
	writer      envelope.Writer
	batch       *envelope.Batch // nil for a unary call, whose answer is one message
}

func newExchange(w http.ResponseWriter, call *rpc.Call, contentType string) *exchange {
	c := &exchange{w: w, call: call, contentType: contentType}
	var dst io.Writer = w
	if m, _ := parseType(contentType); m.text {
		c.text = &textWriter{dst: w}
		dst = c.text
	}
	c.writer = envelope.Writer{Dst: dst}
	return c
}

// stream lets messages that wait go out together.
func (c *exchange) stream() {
	c.batch = envelope.NewBatch(c.w, http.NewResponseController(c.w).Flush)
	if c.text != nil {
		c.text.dst = c.batch
	} else {
		c.writer.Dst = c.batch
	}
}

// WriteHeader implements serverstream.Wire.
func (c *exchange) WriteHeader(md metadata.MD) error {
	h := c.w.Header()
	h["Content-Type"] = []string{c.contentType}
	if c.writer.Gzip != nil {
		h["Grpc-Encoding"] = []string{envelope.GzipName}
	}
	serverstream.AppendTo(h, "", md)
	c.writeStatus(http.StatusOK)
	return nil
}

func (c *exchange) writeStatus(status int) {
	c.w.WriteHeader(status)
	c.call.Update(func(o *rpc.Outcome) { o.HTTPStatus = status })
}

// WriteMessage implements serverstream.Wire.
func (c *exchange) WriteMessage(payload mem.BufferSlice) error {
	return c.write(0, payload)
}

func (c *exchange) write(flags byte, payload mem.BufferSlice) error {
	n, err := c.writer.Write(flags, payload)
	c.call.BytesOut.Add(int64(n))
	return err
}

// Flush implements serverstream.Wire.
func (c *exchange) Flush() error {
	if c.text != nil {
		if err := c.text.pad(); err != nil {
			return err
		}
	}
	if c.batch != nil {
		return c.batch.Flush()
	}
	return http.NewResponseController(c.w).Flush()
}

// ReadMessage implements serverstream.Wire.
func (c *exchange) ReadMessage() (mem.BufferSlice, error) {
	flags, payload, err := c.reader.Next()
	c.call.BytesIn.Store(c.reader.BytesRead())
	if err == nil && flags != 0 {
		payload.Free()
		return nil, rpc.Errorf(codes.Internal, "grpc: received unexpected payload format %d", flags)
	}
	return payload, err
}

// finish writes the trailers, status among them, as the last frame. They are
// never in the header: a browser's script may not see a header that CORS
// does not expose.
func (c *exchange) finish(stream *serverstream.Stream, err error) {
	header, trailer, sent := stream.End()
	if !sent {
		_ = c.WriteHeader(header)
	}
	h := http.Header{}
	serverstream.AppendTo(h, "", trailer)
	c.writer.Gzip = nil // every client understands plain trailers
	_ = c.write(envelope.FlagTrailer, mem.BufferSlice{mem.SliceBuffer(trailerBlock(h, err, c.call))})
	if c.text != nil {
		_ = c.text.pad()
	}
	if c.batch != nil {
		_ = c.batch.Flush()
		_ = c.batch.Close() // its failure is the client's end
	}
}

// refuse answers a request that never became a call: the status is in the
// trailers as always, and where HTTP has an error of its own, in the header, too.
func (c *exchange) refuse(e *rpc.Error) {
	c.call.SetResult(e)
	h := c.w.Header()
	h["Content-Type"] = []string{c.contentType}
	for i := 0; i+1 < len(e.Header); i += 2 {
		h.Set(e.Header[i], e.Header[i+1])
	}
	status := http.StatusOK
	if e.HTTPStatus != 0 {
		status = e.HTTPStatus
		code, message, _ := serverstream.StatusFields(e.GRPCStatus())
		h.Set("Grpc-Status", code)
		h.Set("Grpc-Message", message)
	}
	c.writeStatus(status)
	_ = c.write(envelope.FlagTrailer, mem.BufferSlice{mem.SliceBuffer(trailerBlock(http.Header{}, e, c.call))})
	if c.text != nil {
		_ = c.text.pad()
	}
}

// trailerBlock writes trailers and the status of err as HTTP/1 header lines
// with lower-case names.
func trailerBlock(trailer http.Header, err error, call *rpc.Call) []byte {
	code, message, details := serverstream.StatusFields(rpc.StatusOf(err))
	var b bytes.Buffer
	line := func(name, value string) {
		b.WriteString(name)
		b.WriteString(": ")
		b.WriteString(value)
		b.WriteString("\r\n")
	}
	line("grpc-status", code)
	if message != "" {
		line("grpc-message", message)
	}
	if details != "" {
		line("grpc-status-details-bin", details)
	}
	if v := rpc.ProxyStatus(err, call); v != "" {
		line("proxy-status", v)
	}
	names := make([]string, 0, len(trailer))
	for name := range trailer {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, v := range trailer[name] {
			line(strings.ToLower(name), v)
		}
	}
	return b.Bytes()
}
