package native

import (
	"net/http"

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
	contentType string
	reader      envelope.Reader
	writer      envelope.Writer
	batch       *envelope.Batch // nil for a unary call, whose answer is one message
}

// WriteHeader implements serverstream.Wire.
func (c *exchange) WriteHeader(md metadata.MD) error {
	h := c.w.Header()
	commonHeader(h, c.contentType)
	if c.writer.Gzip != nil {
		h["Grpc-Encoding"] = []string{envelope.GzipName}
	}
	serverstream.AppendTo(h, "", md)
	c.w.WriteHeader(http.StatusOK)
	c.call.Update(func(o *rpc.Outcome) { o.HTTPStatus = http.StatusOK })
	return nil
}

// WriteMessage implements serverstream.Wire.
func (c *exchange) WriteMessage(payload mem.BufferSlice) error {
	n, err := c.writer.Write(0, payload)
	c.call.BytesOut.Add(int64(n))
	return err
}

// Flush implements serverstream.Wire.
func (c *exchange) Flush() error {
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

// finish writes the status: in the trailers, or, where nothing was sent yet,
// in the header of an answer without trailers.
func (c *exchange) finish(stream *serverstream.Stream, err error) {
	header, trailer, sent := stream.End()
	if c.batch != nil {
		_ = c.batch.Close() // its failure is the client's end
	}
	h, prefix := c.w.Header(), http.TrailerPrefix
	switch {
	case sent:
	case len(header) > 0:
		_ = c.WriteHeader(header)
	default:
		commonHeader(h, c.contentType)
		prefix = ""
	}
	serverstream.AppendTo(h, prefix, trailer)
	writeStatus(h, prefix, err, c.call)
	if prefix == "" {
		c.w.WriteHeader(http.StatusOK)
		c.call.Update(func(o *rpc.Outcome) { o.HTTPStatus = http.StatusOK })
	}
}

// refuse answers a request that never became a call.
func refuse(w http.ResponseWriter, r *http.Request, call *rpc.Call, e *rpc.Error) {
	status := http.StatusOK
	if e.HTTPStatus != 0 {
		status = e.HTTPStatus
	}
	call.SetResult(e)
	call.Update(func(o *rpc.Outcome) { o.HTTPStatus = status })
	h := w.Header()
	if r.ProtoMajor < 2 { // no gRPC client is there to read a status
		http.Error(w, e.Message, status)
		return
	}
	commonHeader(h, "application/grpc")
	for i := 0; i+1 < len(e.Header); i += 2 {
		h.Set(e.Header[i], e.Header[i+1])
	}
	writeStatus(h, "", e, call)
	w.WriteHeader(status)
}

// writeStatus adds the status of err to h, each name prefixed.
func writeStatus(h http.Header, prefix string, err error, call *rpc.Call) {
	if err == nil {
		h[prefix+"Grpc-Status"] = []string{"0"}
		return
	}
	code, message, details := serverstream.StatusFields(rpc.StatusOf(err))
	h[prefix+"Grpc-Status"] = []string{code}
	if message != "" {
		h[prefix+"Grpc-Message"] = []string{message}
	}
	if details != "" {
		h[prefix+"Grpc-Status-Details-Bin"] = []string{details}
	}
	if v := rpc.ProxyStatus(err, call); v != "" {
		h[prefix+rpc.ProxyStatusHeader] = []string{v}
	}
}

// commonHeader starts a response's header. gRPC servers send no Date, and a
// Content-Length, which net/http would add to short answers, is foreign to
// messages with trailers.
func commonHeader(h http.Header, contentType string) {
	h["Content-Type"] = []string{contentType}
	h["Date"] = nil
	h["Content-Length"] = nil
}
