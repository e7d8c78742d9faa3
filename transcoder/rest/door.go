package rest

import (
	"errors"
	"net/http"
	"time"

	"google.golang.org/protobuf/reflect/protoregistry"

	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/codec"
)

// Options are what the door is built from. Handler and Codec are needed; the
// zero value of everything else is a safe default.
type Options struct {
	// Handler is the chain of interceptors with the upstream at its end.
	Handler rpc.Handler
	// Codec transcodes between JSON text and wire bytes.
	Codec codec.Codec
	// Resolver finds the types inside google.protobuf.Any. Nil: the types
	// linked into the program.
	Resolver codec.Resolver
	// Profile is whose clients are served.
	Profile Profile
	// Policy returns what is said about a method, nil where nothing is. It
	// wins over the profile.
	Policy func(*rpc.Method) *policyv1.Rest
	// Streams returns what is said about a method's streams, nil where nothing is.
	Streams func(*rpc.Method) *policyv1.Streams
	// StreamRetry is how long a browser is asked to wait before it reconnects
	// (SSE). 0: 2 s; below 0: it is not asked.
	StreamRetry time.Duration

	// RequestHeaders are the request header fields that become metadata under
	// their own name, beside Grpc-Metadata-*. Nil: DefaultRequestHeaders.
	RequestHeaders []string
	// ResponseHeaders are the metadata keys that become response header fields
	// under their own name; all others get the prefix Grpc-Metadata-. Nil:
	// DefaultResponseHeaders.
	ResponseHeaders []string
	// ReservedHeaders are names that clients can never set, in any spelling,
	// beside those of HTTP and gRPC itself: what the gateway asserts about a
	// caller. A name that ends in "*" is a prefix.
	ReservedHeaders []string
	// TimeoutHeader is a request header field with the client's deadline in
	// seconds ("1.5") or as a duration ("1500ms"), beside Grpc-Timeout. Empty: none.
	TimeoutHeader string
	// StatusHeader is the response metadata key that chooses the HTTP status
	// of a success. Empty: "x-http-code".
	StatusHeader string
	// SystemQuery are query parameters that are never fields, beside "$alt"
	// and "$fields": "access_token".
	SystemQuery []string
	// Challenge is the WWW-Authenticate of a 401 that brings none (RFC 9110,
	// section 11.6.1). Empty: `Bearer realm="api"`.
	Challenge string

	// MaxBodyBytes bounds a request's body, before and after decompression. 0: 4 MiB.
	MaxBodyBytes int64
	// MaxInflation bounds how many bytes one compressed byte may become. 0: 100.
	MaxInflation int64
	// MaxOutputBytes bounds a response's JSON. 0: 64 MiB.
	MaxOutputBytes int
	// MaxDepth bounds the nesting of messages. 0: 100.
	MaxDepth int
	// CompressMin is the size in bytes from which responses are compressed for
	// clients that accept it. 0: 1024; below 0: never.
	CompressMin int
}

// Door serves REST calls. It is immutable and safe for concurrent use.
type Door struct {
	opts    Options
	plans   []*plan
	headers *headerRules
	errors  *failures
	values  *values
	pool    *bufferPool
	coders  *coders
}

// New compiles a plan for each binding. It reports every binding that cannot
// be served, joined into one error.
func New(bindings []*rpc.Binding, opts Options) (*Door, error) {
	if opts.Handler == nil || opts.Codec == nil {
		return nil, errors.New("the REST door needs a handler and a codec")
	}
	opts.fill()
	d := &Door{opts: opts, headers: newHeaderRules(&opts), pool: newBufferPool(), coders: newCoders()}
	var err error
	if d.values, err = newValues(opts.Codec, opts.MaxDepth); err != nil {
		return nil, err
	}
	if d.errors, err = newFailures(&opts); err != nil {
		return nil, err
	}
	if d.plans, err = newPlans(bindings, &d.opts); err != nil {
		return nil, err
	}
	return d, nil
}

func (o *Options) fill() {
	if o.Resolver == nil {
		o.Resolver = protoregistry.GlobalTypes
	}
	if o.RequestHeaders == nil {
		o.RequestHeaders = DefaultRequestHeaders()
	}
	if o.ResponseHeaders == nil {
		o.ResponseHeaders = DefaultResponseHeaders()
	}
	if o.StatusHeader == "" {
		o.StatusHeader = "x-http-code"
	}
	if o.StreamRetry == 0 {
		o.StreamRetry = 2 * time.Second
	}
	if o.Challenge == "" {
		o.Challenge = `Bearer realm="api"`
	}
	orDefault(&o.MaxBodyBytes, defaultMaxBody)
	orDefault(&o.MaxInflation, 100)
	orDefault(&o.MaxOutputBytes, defaultMaxOutput)
	orDefault(&o.MaxDepth, 100)
	if o.CompressMin == 0 {
		o.CompressMin = 1024
	}
}

func orDefault[T int | int64](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// Serve answers r, which match says to be a call of match.Binding. call's
// fields that the edge knows are set; match stays the caller's and must not
// change before Serve returns.
func (d *Door) Serve(w http.ResponseWriter, r *http.Request, call *rpc.Call, match *rpc.Match) {
	call.Door, call.Binding, call.Method = "rest", match.Binding, match.Binding.Method
	x := &exchange{door: d, plan: d.plans[match.Binding.ID], call: call, w: w, r: r, match: match}
	err := x.serve()
	x.close()
	if err != nil {
		x.fail(err)
	}
}

// Refuse writes err, a refusal made before a binding was known (an unknown
// path, a wrong method, a limit of the edge), in the door's error form. call
// may be nil.
func (d *Door) Refuse(w http.ResponseWriter, r *http.Request, call *rpc.Call, err error) {
	if call == nil {
		call = rpc.NewCall(nil)
	}
	if call.Door == "" {
		call.Door = "rest"
	}
	x := &exchange{door: d, call: call, w: w, r: r}
	x.fail(d.errors.routing(err))
}
