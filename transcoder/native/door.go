package native

import (
	"net/http"
	"strings"

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
	a, err := d.check(r, call)
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
	c := &exchange{w: w, call: call, contentType: r.Header.Get("Content-Type")}
	c.reader = envelope.Reader{Src: r.Body, Max: d.max, Malformed: codes.Internal}
	c.writer = envelope.Writer{Dst: w}
	if !call.Method.Unary() {
		c.batch = envelope.NewBatch(w, http.NewResponseController(w).Flush)
		c.writer.Dst = c.batch
	}
	defer c.reader.Close()
	if a.Gzip {
		c.reader.Gzip = d.gzip
	}
	if a.GzipAnswer {
		c.writer.Gzip = d.gzip
	}
	stream := serverstream.New(serverstream.Options{
		Call: call, Request: r, Response: w, Wire: c, Metadata: md, Timeout: a.Timeout,
	})
	defer stream.Close()
	c.finish(stream, stream.Run(d.handler))
}

// check refuses what is no proper gRPC request, and reads what its headers announce.
func (d *Door) check(r *http.Request, call *rpc.Call) (a serverstream.Announced, err *rpc.Error) {
	if r.ProtoMajor != 2 {
		return a, rpc.Errorf(codes.Internal, "gRPC needs HTTP/2, this is %s: use an HTTP/2 connection, or gRPC-Web", r.Proto).
			WithHTTPStatus(http.StatusHTTPVersionNotSupported)
	}
	if err := serverstream.CheckPost(r); err != nil {
		return a, err
	}
	contentType := r.Header.Get("Content-Type")
	if name, ok := codec(contentType); !ok || name != "" && name != "proto" {
		return a, rpc.Errorf(codes.InvalidArgument, "content type %q is not served: use application/grpc or application/grpc+proto", contentType).
			WithHTTPStatus(http.StatusUnsupportedMediaType)
	}
	if call.Method == nil {
		return a, serverstream.UnknownMethod(r)
	}
	return serverstream.ReadAnnounced(r.Header)
}
