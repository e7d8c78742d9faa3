package native

import (
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/envelope"
	"github.com/transomhq/transom/transcoder/serverstream"
)

// DefaultMaxReceiveBytes is the largest message that a client may send where
// Options say nothing: 4 MiB, as in grpc-go.
const DefaultMaxReceiveBytes = 4 << 20

// Options are the parts and limits of a door.
type Options struct {
	// Handler runs the calls.
	Handler rpc.Handler
	// MaxReceiveBytes bounds one request message, before and after
	// decompression; 0 means DefaultMaxReceiveBytes.
	MaxReceiveBytes int
}

// Door serves native gRPC. It is immutable and safe for concurrent use.
type Door struct {
	handler rpc.Handler
	max     int
	gzip    *envelope.Gzip
}

// New returns a door.
func New(o Options) *Door {
	if o.MaxReceiveBytes == 0 {
		o.MaxReceiveBytes = DefaultMaxReceiveBytes
	}
	return &Door{handler: o.Handler, max: o.MaxReceiveBytes, gzip: new(envelope.Gzip)}
}

// Is reports whether r speaks native gRPC: its content type is
// application/grpc, alone or with a +codec or parameters.
func Is(r *http.Request) bool {
	_, ok := codec(r.Header.Get("Content-Type"))
	return ok
}

// codec returns the codec that a content type of gRPC names, "" for none.
func codec(contentType string) (name string, ok bool) {
	const base = "application/grpc"
	if len(contentType) < len(base) || !strings.EqualFold(contentType[:len(base)], base) {
		return "", false
	}
	rest, _, _ := strings.Cut(contentType[len(base):], ";")
	rest = strings.TrimSpace(rest)
	if rest == "" {
		return "", true
	}
	if rest[0] != '+' {
		return "", false
	}
	return strings.ToLower(rest[1:]), true
}

// Serve runs one call: call.Method is the method that the path names, nil for
// an unknown one. It returns when the answer is written.
func (d *Door) Serve(w http.ResponseWriter, r *http.Request, call *rpc.Call) {
	call.Door = "grpc"
	timeout, err := d.check(r, call)
	if err != nil {
		refuse(w, r, call, err)
		return
	}
	md, err := serverstream.Incoming(r, nil)
	if err != nil {
		err.Code = codes.Internal // as grpc-go has it
		refuse(w, r, call, err)
		return
	}
	c := &exchange{door: d, w: w, call: call, contentType: r.Header.Get("Content-Type")}
	c.reader = envelope.Reader{Src: r.Body, Max: d.max, Malformed: codes.Internal}
	c.writer = envelope.Writer{Dst: w}
	defer c.reader.Close()
	if r.Header.Get("Grpc-Encoding") == envelope.GzipName {
		c.reader.Gzip = d.gzip
		if accept := r.Header.Values("Grpc-Accept-Encoding"); envelope.AcceptsGzip(strings.Join(accept, ",")) {
			c.writer.Gzip = d.gzip // answer as asked
		}
	}
	stream := serverstream.New(serverstream.Options{
		Call: call, Request: r, Response: w, Wire: c, Metadata: md, Timeout: timeout,
	})
	defer stream.Close()
	if call.Method.Unary() {
		c.finish(stream, d.unary(call, stream))
		return
	}
	c.finish(stream, d.handler.Stream(call, stream))
}

// unary runs a call of one message each way. The answer is written, but not
// yet flushed, so that it leaves together with the trailers.
func (d *Door) unary(call *rpc.Call, stream *serverstream.Stream) error {
	req := rpc.NewLazyMessage(call.Method.Desc.Input(), stream)
	defer req.Free()
	resp, err := d.handler.Unary(stream.Context(), call, req)
	if resp != nil && resp != req {
		defer resp.Free()
	}
	if err != nil {
		return err
	}
	if resp == nil {
		return rpc.Errorf(codes.Internal, "the method gave no response")
	}
	payload, err := resp.Buffers()
	if err != nil {
		return err
	}
	return stream.Write(payload)
}

// check refuses what is no proper gRPC request, and returns the call's
// timeout, nil for none.
func (d *Door) check(r *http.Request, call *rpc.Call) (*time.Duration, *rpc.Error) {
	if r.ProtoMajor != 2 {
		return nil, rpc.Errorf(codes.Internal, "gRPC needs HTTP/2, this is %s: use an HTTP/2 connection, or gRPC-Web", r.Proto).
			WithHTTPStatus(http.StatusHTTPVersionNotSupported)
	}
	if r.Method != http.MethodPost {
		e := rpc.Errorf(codes.Internal, "the HTTP method of a gRPC call is POST, this is %s", r.Method).
			WithHTTPStatus(http.StatusMethodNotAllowed)
		e.Header = []string{"Allow", http.MethodPost}
		return nil, e
	}
	contentType := r.Header.Get("Content-Type")
	if name, ok := codec(contentType); !ok || name != "" && name != "proto" {
		return nil, rpc.Errorf(codes.InvalidArgument, "content type %q is not served: use application/grpc or application/grpc+proto", contentType).
			WithHTTPStatus(http.StatusUnsupportedMediaType)
	}
	if call.Method == nil {
		return nil, rpc.Errorf(codes.Unimplemented, "unknown method %s", r.URL.EscapedPath())
	}
	switch enc := r.Header.Get("Grpc-Encoding"); enc {
	case "", envelope.Identity, envelope.GzipName:
	default:
		e := rpc.Errorf(codes.Unimplemented, "grpc: Decompressor is not installed for grpc-encoding %q", enc)
		e.Header = []string{"Grpc-Accept-Encoding", envelope.Encodings}
		return nil, e
	}
	v := r.Header["Grpc-Timeout"]
	if len(v) == 0 {
		return nil, nil
	}
	timeout, ok := serverstream.ParseTimeout(v[len(v)-1])
	if !ok {
		return nil, rpc.Errorf(codes.Internal, "malformed grpc-timeout %q: at most 8 digits and one of H, M, S, m, u, n", v[len(v)-1]).
			WithHTTPStatus(http.StatusBadRequest)
	}
	return &timeout, nil
}
