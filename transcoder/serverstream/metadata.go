package serverstream

import (
	"encoding/base64"
	"maps"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/transomhq/transom/rpc"
)

// Incoming returns the headers of r as the metadata of a gRPC call, with
// ":authority" from the host. Left out is what belongs to the connection, to
// HTTP or to the gRPC protocol itself, and what the door's own skip (lower-case
// names) names; skip may be nil. Values of "-bin" keys are base64, padded or not,
// several joined by commas. A malformed one is INVALID_ARGUMENT with its key.
//
// Values are shared with r.Header and must not be changed.
func Incoming(r *http.Request, skip func(key string) bool) (metadata.MD, *rpc.Error) {
	md := make(metadata.MD, len(r.Header)+1)
	if r.Host != "" {
		md[":authority"] = []string{r.Host}
	}
	for name, values := range r.Header {
		key := lower(name)
		if reservedIn(key) || skip != nil && skip(key) {
			continue
		}
		if !strings.HasSuffix(key, "-bin") {
			md[key] = values
			continue
		}
		decoded, ok := decodeBinary(values)
		if !ok {
			return nil, rpc.Errorf(codes.InvalidArgument, "malformed binary metadata in header %q: not base64", key).
				WithHTTPStatus(http.StatusBadRequest)
		}
		md[key] = decoded
	}
	return md, nil
}

// AppendTo adds md to h, each key prefixed. Keys that gRPC or HTTP reserve,
// and keys or values that no header may have, are left out.
func AppendTo(h http.Header, prefix string, md metadata.MD) {
	for key, values := range md {
		if reservedOut(key) || !validKey(key) {
			continue
		}
		name := prefix + http.CanonicalHeaderKey(key)
		binary := strings.HasSuffix(key, "-bin")
		for _, v := range values {
			switch {
			case binary:
				h[name] = append(h[name], base64.RawStdEncoding.EncodeToString([]byte(v)))
			case printable(v):
				h[name] = append(h[name], v)
			}
		}
	}
}

// decodeBinary decodes the values of a "-bin" header.
func decodeBinary(values []string) ([]string, bool) {
	out := make([]string, 0, len(values))
	for _, list := range values {
		for v := range strings.SplitSeq(list, ",") {
			enc := base64.RawStdEncoding
			b, err := enc.DecodeString(strings.TrimRight(strings.TrimSpace(v), "="))
			if err != nil {
				return nil, false
			}
			out = append(out, string(b))
		}
	}
	return out, true
}

// lower returns a header's name as metadata spells it. net/http hands out
// canonical names; those that come with every call cost nothing.
func lower(name string) string {
	switch name {
	case "Content-Type":
		return "content-type"
	case "User-Agent":
		return "user-agent"
	case "Te":
		return "te"
	case "Grpc-Timeout":
		return "grpc-timeout"
	case "Grpc-Accept-Encoding":
		return "grpc-accept-encoding"
	case "Grpc-Encoding":
		return "grpc-encoding"
	case "Authorization":
		return "authorization"
	case "Accept-Encoding":
		return "accept-encoding"
	case "Content-Length":
		return "content-length"
	case "Traceparent":
		return "traceparent"
	}
	return strings.ToLower(name)
}

// reservedIn names what never becomes metadata of a request.
func reservedIn(key string) bool {
	switch key {
	case "te", "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade", "trailer",
		"http2-settings", "content-length", "host", "expect":
		return true
	case "grpc-previous-rpc-attempts", "grpc-trace-bin", "grpc-tags-bin": // reserved, but metadata by design
		return false
	}
	return strings.HasPrefix(key, "grpc-") || strings.HasPrefix(key, ":")
}

// reservedOut names what a handler cannot set in a response.
func reservedOut(key string) bool {
	switch key {
	case "te", "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade", "trailer",
		"content-length", "content-type", "host", "date":
		return true
	case "grpc-retry-pushback-ms", "grpc-trace-bin", "grpc-tags-bin", "grpc-server-stats-bin": // reserved, but metadata by design
		return false
	}
	return strings.HasPrefix(key, "grpc-") || strings.HasPrefix(key, ":")
}

// validate refuses metadata that gRPC cannot carry, as grpc-go's server does.
func validate(md metadata.MD) error {
	for key, values := range md {
		if strings.HasPrefix(key, ":") {
			continue
		}
		if !validKey(key) {
			return rpc.Errorf(codes.Internal, "header key %q contains illegal characters not in [0-9a-z-_.]", key)
		}
		if strings.HasSuffix(key, "-bin") {
			continue
		}
		if !slices.ContainsFunc(values, func(v string) bool { return !printable(v) }) {
			continue
		}
		return rpc.Errorf(codes.Internal, "header key %q contains value with non-printable ASCII characters", key)
	}
	return nil
}

func validKey(key string) bool {
	for i := range len(key) {
		c := key[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return key != ""
}

func printable(v string) bool {
	for i := range len(v) {
		if v[i] < ' ' || v[i] > '~' {
			return false
		}
	}
	return true
}

// join adds more to md, which is nil at first. The result shares no memory
// that either side appends to.
func join(md, more metadata.MD) metadata.MD {
	if md == nil {
		md = maps.Clone(more)
		for key, values := range md {
			md[key] = slices.Clip(values)
		}
		return md
	}
	for key, values := range more {
		md[key] = append(md[key], values...)
	}
	return md
}
