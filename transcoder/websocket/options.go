package websocket

import (
	"context"
	"net/http"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/transomhq/transom/rpc"
)

// Body is how the content of a message is written.
type Body int

// The bodies.
const (
	NoBody Body = iota // nothing but what the URL says
	JSON               // JSON text
	Proto              // protobuf wire format
	Raw                // the bytes of a google.api.HttpBody
)

// Shape is how the messages of one call look on a JSON door: by its binding,
// or whole. One goroutine may use AppendRequest while another uses AppendResponse.
type Shape interface {
	// TakesBody reports whether the client's messages say anything; where they do
	// not, the URL is the whole request.
	TakesBody() bool
	// RawRequest and RawResponse report whether the messages are google.api.HttpBody.
	RawRequest() bool
	RawResponse() bool
	// AppendRequest appends the wire bytes of the request that the URL and body
	// mean. contentType is that of a Raw body. Errors are the client's.
	AppendRequest(dst, body []byte, kind Body, contentType string) ([]byte, error)
	// AppendResponse appends a response, given as wire bytes, as kind, and says
	// the content type of a Raw one.
	AppendResponse(dst, wire []byte, kind Body) ([]byte, string, error)
}

// Options are what a door is built from. Sockets, Handler and what the REST
// door lends are required; the zero value of everything else is a safe default.
type Options struct {
	// Sockets holds the sockets of all doors that were and will be.
	Sockets *Sockets
	// Handler is the chain of interceptors with the upstream at its end.
	Handler rpc.Handler

	// Bind returns the shape of a call that r makes through match.
	Bind func(r *http.Request, call *rpc.Call, match *rpc.Match) Shape
	// Whole returns the shape of whole messages of a method.
	Whole func(m *rpc.Method) (Shape, error)
	// Method returns the method of a full name "/pkg.Service/Method", nil for none.
	Method func(name string) *rpc.Method
	// Metadata returns the metadata that a request's header means.
	Metadata func(h http.Header) (metadata.MD, error)
	// Timeout returns the deadline that a request's header asks for.
	Timeout func(h http.Header) (time.Duration, bool, error)
	// Status appends a status as the JSON of a google.rpc.Status.
	Status func(dst []byte, st *status.Status) []byte
	// Refuse answers a handshake with an HTTP error.
	Refuse func(w http.ResponseWriter, r *http.Request, call *rpc.Call, err error)

	// GRPCGateway makes sockets without a subprotocol look as clients of
	// grpc-websocket-proxy expect.
	GRPCGateway bool
	// Origins are the web origins that may open sockets beside the host's own:
	// "https://app.example.com", "https://*.example.com", "null", "*".
	Origins []string
	// Cookie is the cookie whose value is a bearer token. Empty: none is.
	Cookie string
	// MaxMessageBytes bounds a client's message, inflated. 0: 4 MiB.
	MaxMessageBytes int
	// MessagesPerSecond bounds a client's frames; twice as many may come at
	// once. 0: 1000; below 0: no bound.
	MessagesPerSecond int
	// MaxCalls bounds the calls at the same time on a socket of many. 0: 100.
	MaxCalls int
	// HandshakeTimeout is how long a message that the call cannot begin without,
	// or a credential, may take after the upgrade. 0: 10 s.
	HandshakeTimeout time.Duration
	// IdleTimeout ends a socket of many calls that has none for so long. 0: 5
	// min; below 0: never.
	IdleTimeout time.Duration
	// Compression takes permessage-deflate. Off, it costs nothing.
	Compression bool
	// Renew, if any, is told of a credential that a client sends for a call that
	// runs. An error ends the call.
	Renew func(ctx context.Context, call *rpc.Call, authorization string) error
}

func (o *Options) fill() {
	orDefault(&o.MaxMessageBytes, 4<<20)
	orDefault(&o.MaxCalls, 100)
	orDefault(&o.HandshakeTimeout, 10*time.Second)
	if o.MessagesPerSecond == 0 {
		o.MessagesPerSecond = 1000
	}
	if o.IdleTimeout == 0 {
		o.IdleTimeout = 5 * time.Minute
	}
}

func orDefault[T int | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// Door serves the sockets of one snapshot. It is immutable and safe for
// concurrent use.
type Door struct {
	opts    Options
	origins origins
}

// New returns a door. Its error names every origin that is none.
func New(opts Options) (*Door, error) {
	opts.fill()
	o, err := newOrigins(opts.Origins)
	if err != nil {
		return nil, err
	}
	return &Door{opts: opts, origins: o}, nil
}
