package upstream

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/transomhq/transom/rpc"
)

// failure returns the call's error for err, which the cluster's connection
// returned. What the backend answered passes unchanged; what grpc-go itself
// says (addresses, sockets, TLS) becomes the private cause of a public text.
func failure(ctx context.Context, method *rpc.Method, err error, header, trailer metadata.MD) error {
	st, ok := status.FromError(err)
	var own *rpc.Error
	switch {
	case errors.As(err, &own): // a request that could not be read, seen by the codec
		return own
	case !ok:
		return unreachable(method, err)
	case fromBackend(st, header, trailer):
		return err
	}
	switch code := st.Code(); {
	case code == codes.DeadlineExceeded, (code == codes.Canceled || code == codes.Unavailable) && late(ctx):
		return rpc.Errorf(codes.DeadlineExceeded, "deadline exceeded").WithCause(err)
	case code == codes.Canceled:
		if ctx.Err() != nil {
			return rpc.Errorf(codes.Canceled, "canceled by the client").WithCause(err)
		}
		return unreachable(method, err)
	case code == codes.ResourceExhausted:
		return rpc.Errorf(codes.ResourceExhausted, "the answer of %s is larger than this gateway passes on", method.Service()).
			WithHTTPStatus(502).WithCause(err).WithProxy(rpc.HTTPResponseBodySize)
	case code == codes.Unavailable:
		return unreachable(method, err)
	}
	return rpc.Errorf(codes.Internal, "%s answered in a way that is not gRPC", method.Service()).
		WithHTTPStatus(502).WithCause(err).WithProxy(rpc.HTTPProtocolError).
		WithDetails(&errdetails.ErrorInfo{Reason: "UPSTREAM_PROTOCOL_ERROR", Domain: "transom", Metadata: map[string]string{"service": method.Service()}})
}

// late reports whether the call's time is over. A backend whose clock sees it
// first resets the stream before our own timer has fired.
func late(ctx context.Context) bool {
	end, ok := ctx.Deadline()
	return ok && time.Until(end) < time.Millisecond
}

func unreachable(method *rpc.Method, cause error) error {
	return rpc.Errorf(codes.Unavailable, "%s cannot be reached; try again later", method.Service()).WithCause(cause).WithProxy(whyUnreachable(cause)).
		WithDetails(&errdetails.ErrorInfo{Reason: "UPSTREAM_UNREACHABLE", Domain: "transom", Metadata: map[string]string{"service": method.Service()}})
}

// fromBackend reports whether st was sent by the backend rather than made by
// grpc-go. A status from the wire always comes with metadata: its response has
// at least a content-type. After the header has come, grpc-go may still fail
// on its own; its texts for that are few and its own.
func fromBackend(st *status.Status, header, trailer metadata.MD) bool {
	if len(header) == 0 && len(trailer) == 0 {
		return false
	}
	if len(st.Proto().GetDetails()) > 0 {
		return true
	}
	for _, prefix := range ownTexts {
		if strings.HasPrefix(st.Message(), prefix) {
			return false
		}
	}
	return true
}

// ownTexts are how the messages begin that grpc-go's client makes itself.
var ownTexts = []string{ //nolint:gochecknoglobals // a constant list
	"error reading from server: ", "connection error: ", "transport: ", "the connection is draining", "stream terminated by RST_STREAM",
	"grpc: received message larger than max", "grpc: failed to ", "grpc: Decompressor is not installed", "grpc: the client connection is closing",
	"context deadline exceeded", "context canceled", "unexpected EOF", "keepalive ping failed", "server closed the stream without sending trailers",
	"malformed header: ", "unexpected HTTP status code received from server", "cardinality violation", "http2: ", "EOF",
	"internal: ", "client: ", "received prior goaway",
}
