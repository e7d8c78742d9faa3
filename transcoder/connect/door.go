package connect

import (
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/codec"
	"github.com/transomhq/transom/transcoder/envelope"
	"github.com/transomhq/transom/transcoder/serverstream"
)

// Defaults of Options.
const (
	DefaultMaxReceiveBytes  = 4 << 20
	DefaultCompressMinBytes = 1 << 10
)

// Options are the parts and limits of a door.
type Options struct {
	// Handler runs the calls.
	Handler rpc.Handler
	// Codec makes the JSON plans, each at the first JSON call of its method;
	// nil serves protobuf only.
	Codec codec.Codec
	// Resolver finds the types inside google.protobuf.Any; nil finds none.
	Resolver codec.Resolver
	// MaxReceiveBytes bounds one request message, before and after
	// decompression; 0 means DefaultMaxReceiveBytes.
	MaxReceiveBytes int
	// CompressMinBytes is the size from which a response message is compressed
	// for a client that accepts it; 0 means DefaultCompressMinBytes, a negative
	// number compresses all.
	CompressMinBytes int
}

// Door serves the Connect protocol for the methods of one schema snapshot. It
// is safe for concurrent use.
type Door struct {
	handler  rpc.Handler
	plans    *plans // nil without JSON
	max, min int
	gzip     *envelope.Gzip
}

// New returns a door.
func New(o Options) *Door {
	if o.MaxReceiveBytes == 0 {
		o.MaxReceiveBytes = DefaultMaxReceiveBytes
	}
	if o.CompressMinBytes == 0 {
		o.CompressMinBytes = DefaultCompressMinBytes
	}
	d := &Door{handler: o.Handler, max: o.MaxReceiveBytes, min: o.CompressMinBytes, gzip: new(envelope.Gzip)}
	if o.Codec != nil {
		d.plans = &plans{codec: o.Codec, resolver: o.Resolver}
	}
	return d
}

// The header that marks a Connect request of any version.
const versionHeader = "Connect-Protocol-Version"

// Is reports whether r speaks Connect: by a content type of application/connect+…,
// by the header Connect-Protocol-Version, or as a GET with connect=v1 in its query.
// A plain JSON POST without that header is not told from REST, and is REST's.
func Is(r *http.Request) bool {
	if _, ok := r.Header[versionHeader]; ok {
		return true
	}
	if r.Method == http.MethodGet {
		return strings.Contains(r.URL.RawQuery, "connect=v1") && r.URL.Query().Get("connect") == "v1"
	}
	const stream = streamPrefix
	contentType := r.Header.Get("Content-Type")
	return len(contentType) >= len(stream) && strings.EqualFold(contentType[:len(stream)], stream)
}

// Serve runs one call: call.Method is the method that the path names, nil for
// an unknown one. It returns when the answer is written.
func (d *Door) Serve(w http.ResponseWriter, r *http.Request, call *rpc.Call) {
	call.Door = "connect"
	req, err := d.parse(r, call.Method)
	var x exchange
	if req.stream {
		x = d.newStreaming(w, r, call, req)
	} else {
		x = d.newUnary(w, r, call, req)
	}
	if err != nil {
		call.SetResult(err)
		x.finish(nil, nil, err)
		return
	}
	md, err := serverstream.Incoming(r, ofDoor)
	if err != nil {
		err.HTTPStatus = 0 // the protocol's own mapping
		call.SetResult(err)
		x.finish(nil, nil, err)
		return
	}
	defer x.close()
	stream := serverstream.New(serverstream.Options{
		Call: call, Request: r, Response: w, Wire: x, Metadata: md, Timeout: req.timeout,
	})
	defer stream.Close()
	result := stream.Run(d.handler)
	header, trailer, _ := stream.End()
	x.finish(header, trailer, result)
}

// ofDoor names headers that are this protocol's own.
func ofDoor(key string) bool {
	switch key {
	case "content-type", "content-encoding", "accept", "accept-encoding":
		return true
	}
	return strings.HasPrefix(key, "connect-")
}

// unsupported is the answer to a content type that the method does not take.
func unsupported(contentType, accept string) *rpc.Error {
	e := rpc.Errorf(codes.InvalidArgument, "content type %q is not served here: use %s", contentType, accept).
		WithHTTPStatus(http.StatusUnsupportedMediaType)
	e.Header = []string{"Accept-Post", accept}
	return e
}
