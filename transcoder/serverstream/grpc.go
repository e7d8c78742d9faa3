package serverstream

import (
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/envelope"
)

// Announced is what the headers of a gRPC or gRPC-Web request say about the
// call, beside its metadata.
type Announced struct {
	// Timeout is the grpc-timeout, nil for none.
	Timeout *time.Duration
	// Gzip says that messages of the request may be gzip, GzipAnswer that
	// those of the response should be: what the client sends and accepts.
	Gzip, GzipAnswer bool
}

// ReadAnnounced reads them. Errors are those that grpc-go's server gives.
func ReadAnnounced(h http.Header) (Announced, *rpc.Error) {
	var a Announced
	switch enc := h.Get("Grpc-Encoding"); enc {
	case "", envelope.Identity:
	case envelope.GzipName:
		a.Gzip = true
		a.GzipAnswer = envelope.AcceptsGzip(strings.Join(h["Grpc-Accept-Encoding"], ","))
	default:
		e := rpc.Errorf(codes.Unimplemented, "grpc: Decompressor is not installed for grpc-encoding %q", enc)
		e.Header = []string{"Grpc-Accept-Encoding", envelope.Encodings}
		return a, e
	}
	v := h["Grpc-Timeout"]
	if len(v) == 0 {
		return a, nil
	}
	timeout, ok := ParseTimeout(v[len(v)-1])
	if !ok {
		return a, rpc.Errorf(codes.Internal, "malformed grpc-timeout %q: at most 8 digits and one of H, M, S, m, u, n", v[len(v)-1]).
			WithHTTPStatus(http.StatusBadRequest)
	}
	a.Timeout = &timeout
	return a, nil
}

// CheckPost refuses every HTTP method but POST.
func CheckPost(r *http.Request) *rpc.Error {
	if r.Method == http.MethodPost {
		return nil
	}
	e := rpc.Errorf(codes.Internal, "the HTTP method of a call is POST, this is %s", r.Method).
		WithHTTPStatus(http.StatusMethodNotAllowed)
	e.Header = []string{"Allow", http.MethodPost}
	return e
}

// UnknownMethod is the answer to a path that names no method.
func UnknownMethod(r *http.Request) *rpc.Error {
	return rpc.Errorf(codes.Unimplemented, "unknown method %s", r.URL.EscapedPath())
}
