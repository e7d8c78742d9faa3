package grpcweb

import (
	"io"
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

// Door serves gRPC-Web. It is immutable and safe for concurrent use.
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

// Is reports whether r speaks gRPC-Web: its content type is
// application/grpc-web or application/grpc-web-text, alone or with a +codec or
// parameters.
func Is(r *http.Request) bool {
	_, ok := parseType(r.Header.Get("Content-Type"))
	return ok
}

// mediaType is a content type of gRPC-Web.
type mediaType struct {
	text  bool   // base64
	codec string // "" where none is named
}

func parseType(contentType string) (mediaType, bool) {
	const base, text = "application/grpc-web", "-text"
	var m mediaType
	s, _, _ := strings.Cut(contentType, ";")
	s = strings.ToLower(strings.TrimSpace(s))
	rest, ok := strings.CutPrefix(s, base)
	if !ok {
		return m, false
	}
	rest, m.text = strings.CutPrefix(rest, text)
	if rest == "" {
		return m, true
	}
	m.codec = rest[1:]
	return m, rest[0] == '+'
}

func (m mediaType) String() string {
	s := "application/grpc-web"
	if m.text {
		s += "-text"
	}
	if m.codec != "" {
		s += "+" + m.codec
	}
	return s
}

// Serve runs one call: call.Method is the method that the path names, nil for
// an unknown one. It returns when the answer is written.
func (d *Door) Serve(w http.ResponseWriter, r *http.Request, call *rpc.Call) {
	call.Door = "grpcweb"
	in, _ := parseType(r.Header.Get("Content-Type"))
	c := newExchange(w, call, answerType(in, r.Header.Get("Accept")))
	a, err := d.check(r, call, in)
	if err != nil {
		c.refuse(err)
		return
	}
	md, err := serverstream.Incoming(r, ofDoor)
	if err != nil {
		err.Code = codes.Internal // as in native gRPC
		c.refuse(err)
		return
	}
	c.reader = envelope.Reader{Src: requestBody(r, in), Max: d.max, Malformed: codes.Internal}
	defer c.reader.Close()
	if !call.Method.Unary() {
		c.stream()
	}
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

// check refuses what is no proper gRPC-Web request, and reads what its headers announce.
func (d *Door) check(r *http.Request, call *rpc.Call, in mediaType) (a serverstream.Announced, err *rpc.Error) {
	if err := serverstream.CheckPost(r); err != nil {
		return a, err
	}
	if !Is(r) || in.codec != "" && in.codec != "proto" {
		return a, rpc.Errorf(codes.InvalidArgument, "content type %q is not served: use application/grpc-web+proto or application/grpc-web-text+proto",
			r.Header.Get("Content-Type")).WithHTTPStatus(http.StatusUnsupportedMediaType)
	}
	if call.Method == nil {
		return a, serverstream.UnknownMethod(r)
	}
	return serverstream.ReadAnnounced(r.Header)
}

// answerType is the content type of the answer: text or binary as Accept
// names it, else as the request came.
func answerType(in mediaType, accept string) string {
	for item := range strings.SplitSeq(accept, ",") {
		if out, ok := parseType(item); ok {
			in.text = out.text
			break
		}
	}
	return in.String()
}

func requestBody(r *http.Request, in mediaType) io.Reader {
	if in.text {
		return &textReader{src: r.Body}
	}
	return r.Body
}

// ofDoor names headers that are this protocol's own.
func ofDoor(key string) bool {
	switch key {
	case "content-type", "accept", "accept-encoding", "content-encoding", "x-grpc-web":
		return true
	}
	return false
}
