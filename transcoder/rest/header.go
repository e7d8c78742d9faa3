package rest

import (
	"encoding/base64"
	"math"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/transomhq/transom/rpc"
)

// The prefixes that grpc-gateway's users know.
const (
	metadataPrefix  = "Grpc-Metadata-"
	trailerPrefix   = "Grpc-Trailer-"
	permanentPrefix = "grpcgateway-"
)

// DefaultRequestHeaders returns the request header fields that become metadata
// under their own name unless Options say otherwise.
func DefaultRequestHeaders() []string {
	return []string{"Authorization", "X-Api-Key", "Idempotency-Key", "Accept-Language", "Traceparent", "Tracestate", "Baggage"}
}

// DefaultResponseHeaders returns the metadata keys that become response header
// fields under their own name unless Options say otherwise.
func DefaultResponseHeaders() []string {
	return []string{
		"Cache-Control", "Content-Disposition", "Content-Language", "Deprecation", "ETag", "Expires", "Last-Modified", "Link", "Location",
		"RateLimit", "RateLimit-Limit", "RateLimit-Policy", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After", "Sunset", "WWW-Authenticate",
	}
}

// headerRules say which header fields pass, and under which name.
type headerRules struct {
	profile Profile
	in      map[string]string // canonical request field to metadata key
	out     map[string]string // metadata key to canonical response field
	names   map[string]bool   // reserved, lower case, "-" for "_"
	prefix  []string          // reserved prefixes, the same
	status  string            // metadata key of the HTTP status
}

func newHeaderRules(opts *Options) *headerRules {
	h := &headerRules{profile: opts.Profile, in: map[string]string{}, out: map[string]string{}, names: map[string]bool{}, status: strings.ToLower(opts.StatusHeader)}
	for _, name := range []string{
		"connection", "keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate", "te", "trailer", "transfer-encoding", "upgrade",
		"host", "content-type", "content-length", "content-encoding", "accept-encoding", "expect", "user-agent", "date",
		"forwarded", "via", "x-real-ip", "x-forwarded-client-cert", "x-request-id",
	} {
		h.names[name] = true
	}
	h.prefix = []string{":", "grpc-", "x-forwarded-", "x-envoy-", permanentPrefix}
	for _, name := range opts.ReservedHeaders {
		if p, ok := strings.CutSuffix(plain(name), "*"); ok {
			h.prefix = append(h.prefix, p)
		} else {
			h.names[p] = true
		}
	}
	for _, name := range opts.RequestHeaders {
		if !h.reserved(strings.ToLower(name)) {
			h.in[textproto.CanonicalMIMEHeaderKey(name)] = strings.ToLower(name)
		}
	}
	for _, name := range opts.ResponseHeaders {
		h.out[strings.ToLower(name)] = textproto.CanonicalMIMEHeaderKey(name)
	}
	return h
}

// plain folds the spellings of a name that servers take for one another.
func plain(name string) string { return strings.ReplaceAll(strings.ToLower(name), "_", "-") }

// reserved reports whether a metadata key belongs to one connection, to gRPC,
// or to what the gateway itself says about a caller.
func (h *headerRules) reserved(key string) bool {
	if strings.IndexByte(key, '_') >= 0 {
		key = plain(key)
	}
	if h.names[key] {
		return true
	}
	for _, p := range h.prefix {
		if strings.HasPrefix(key, p) {
			return true
		}
	}
	return false
}

// inbound returns the metadata that a request's header means.
func (h *headerRules) inbound(header http.Header) (metadata.MD, error) {
	md := make(metadata.MD, 4)
	for name, values := range header {
		key, ok := h.in[name]
		if ok {
			if err := h.put(md, name, key, values); err != nil {
				return nil, err
			}
			if !h.permanent(name) {
				continue
			}
		}
		if key = h.key(header, name); key == "" {
			continue
		}
		if err := h.put(md, name, key, values); err != nil {
			return nil, err
		}
	}
	return md, nil
}

// key returns the metadata key of a field that the allow-list does not name,
// "" when it does not pass.
func (h *headerRules) key(header http.Header, name string) string {
	if len(name) > len(metadataPrefix) && name[:len(metadataPrefix)] == metadataPrefix {
		key := strings.ToLower(name[len(metadataPrefix):])
		if h.reserved(key) {
			return ""
		}
		// A field that passes under its own name is not sent twice: whoever
		// reads the first value and whoever reads the last see the same one.
		if own := textproto.CanonicalMIMEHeaderKey(key); h.in[own] != "" && len(header[own]) > 0 {
			return ""
		}
		return key
	}
	switch {
	case h.permanent(name):
		return permanentPrefix + strings.ToLower(name)
	case h.profile == Envoy && h.in[name] == "":
		if key := strings.ToLower(name); !h.reserved(key) {
			return key
		}
	}
	return ""
}

// permanent reports whether grpc-gateway passes the field with its own prefix.
func (h *headerRules) permanent(name string) bool {
	if h.profile != GRPCGateway {
		return false
	}
	switch name {
	case "Accept", "Accept-Charset", "Accept-Language", "Accept-Ranges", "Authorization", "Cache-Control", "Content-Type", "Cookie", "Date",
		"Expect", "From", "Host", "If-Match", "If-Modified-Since", "If-None-Match", "If-Schedule-Tag-Match", "If-Unmodified-Since",
		"Max-Forwards", "Origin", "Pragma", "Referer", "User-Agent", "Via", "Warning":
		return true
	}
	return false
}

// put adds the values of one field. The strict profile refuses what gRPC
// cannot carry; the others leave it out, as the gateways they follow do.
func (h *headerRules) put(md metadata.MD, name, key string, values []string) error {
	if !isMetadataKey(key) {
		if h.profile == Strict {
			return rpc.Errorf(codes.InvalidArgument, "header %q: not a name that gRPC metadata can have", clip(name))
		}
		return nil
	}
	binary := strings.HasSuffix(key, "-bin")
	if !binary && allText(values) {
		if old := md[key]; len(old) > 0 {
			values = append(old, values...)
		}
		md[key] = slices.Clip(values) // whoever adds to it copies it
		return nil
	}
	for _, v := range values {
		if binary {
			b, err := decodeBinary(v)
			if err != nil {
				return rpc.Errorf(codes.InvalidArgument, "header %q: not base64", clip(name))
			}
			md[key] = append(md[key], b)
		} else if isText(v) {
			md[key] = append(md[key], v)
		} else if h.profile == Strict {
			return rpc.Errorf(codes.InvalidArgument, "header %q: only printable ASCII can be sent on", clip(name))
		}
	}
	return nil
}

func decodeBinary(v string) (string, error) {
	b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(v, "="))
	return string(b), err
}

func isMetadataKey(key string) bool {
	for i := range len(key) {
		switch c := key[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return key != ""
}

func allText(values []string) bool {
	for _, v := range values {
		if !isText(v) {
			return false
		}
	}
	return true
}

func isText(v string) bool {
	for i := range len(v) {
		if v[i] < ' ' || v[i] > '~' {
			return false
		}
	}
	return true
}

// writeHeader adds the metadata that a response starts with to its header.
func (h *headerRules) writeHeader(dst http.Header, md metadata.MD) {
	for key, values := range md {
		if key == h.status {
			continue
		}
		own, named := h.out[key]
		if named {
			addValues(dst, own, key, values)
			if h.profile != GRPCGateway {
				continue
			}
		}
		switch {
		case h.hidden(key):
		case h.profile == Envoy:
			if !h.reserved(key) && !strings.HasPrefix(key, "access-control-") {
				addValues(dst, textproto.CanonicalMIMEHeaderKey(key), key, values)
			}
		default:
			addValues(dst, textproto.CanonicalMIMEHeaderKey(metadataPrefix+key), key, values)
		}
	}
}

// hidden reports whether a key of the backend's answer is of no use to a
// client even under a prefix.
func (h *headerRules) hidden(key string) bool {
	return key == "" || key[0] == ':' || strings.HasPrefix(key, "grpc-") || h.profile != GRPCGateway && h.names[key]
}

func addValues(dst http.Header, name, key string, values []string) {
	for _, v := range values {
		if strings.HasSuffix(key, "-bin") {
			v = base64.RawStdEncoding.EncodeToString([]byte(v))
		} else if !isText(v) {
			continue
		}
		dst[name] = append(dst[name], v)
	}
}

// trailerNames announces the trailers that writeTrailer will send.
func (h *headerRules) trailerNames(dst http.Header, md metadata.MD) {
	for key := range md {
		if !h.hidden(key) {
			dst["Trailer"] = append(dst["Trailer"], textproto.CanonicalMIMEHeaderKey(trailerPrefix+key))
		}
	}
}

func (h *headerRules) writeTrailer(dst http.Header, md metadata.MD) {
	for key, values := range md {
		if !h.hidden(key) {
			addValues(dst, textproto.CanonicalMIMEHeaderKey(trailerPrefix+key), key, values)
		}
	}
}

// httpStatus returns the status that the backend chose for a success, 0 for none.
func (h *headerRules) httpStatus(md metadata.MD) int {
	values := md[h.status]
	if len(values) == 0 {
		return 0
	}
	n, err := strconv.Atoi(values[len(values)-1])
	if err != nil || n < 200 || n > 399 {
		return 0
	}
	return n
}

// acceptsTrailers reports whether the client asked for trailers (RFC 9110,
// section 6.5.1): without, they are not sent.
func acceptsTrailers(header http.Header) bool {
	for _, v := range header["Te"] {
		for part := range strings.SplitSeq(v, ",") {
			name, _, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(name), "trailers") {
				return true
			}
		}
	}
	return false
}

// header returns the first value of a field given by its canonical name.
func header(h http.Header, name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// timeout returns the deadline that the client asks for, the shorter where it
// names two.
func (x *exchange) timeout() (time.Duration, bool, error) {
	var d time.Duration
	ok := false
	if v := header(x.r.Header, "Grpc-Timeout"); v != "" {
		if d, ok = parseGRPCTimeout(v, x.door.opts.Profile == GRPCGateway); !ok {
			return 0, false, rpc.Errorf(codes.InvalidArgument, `header "Grpc-Timeout": not a timeout; write up to 8 digits and one of H, M, S, m, u, n`)
		}
		ok = d > 0
	}
	name := x.door.opts.TimeoutHeader
	if name == "" {
		return d, ok, nil
	}
	if v := x.r.Header.Get(name); v != "" {
		own, valid := parseTimeout(v)
		if !valid {
			return 0, false, rpc.Errorf(codes.InvalidArgument, `header %q: not a timeout; write seconds ("1.5") or a duration ("1500ms")`, name)
		}
		if !ok || own < d {
			d, ok = own, true
		}
	}
	return d, ok, nil
}

// parseGRPCTimeout reads a TimeoutValue and its unit, as gRPC over HTTP/2
// defines it. grpc-gateway also takes 0, for none, and more than 8 digits.
func parseGRPCTimeout(s string, lax bool) (time.Duration, bool) {
	if len(s) < 2 || len(s) > 9 && !lax {
		return 0, false
	}
	var unit time.Duration
	switch s[len(s)-1] {
	case 'H':
		unit = time.Hour
	case 'M':
		unit = time.Minute
	case 'S':
		unit = time.Second
	case 'm':
		unit = time.Millisecond
	case 'u':
		unit = time.Microsecond
	case 'n':
		unit = time.Nanosecond
	default:
		return 0, false
	}
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 64)
	if err != nil || s[0] == '+' || n == 0 && !lax {
		return 0, false
	}
	if n > uint64(math.MaxInt64/unit) {
		return math.MaxInt64, true
	}
	return time.Duration(n) * unit, true
}

// parseTimeout reads seconds, or a duration with a unit.
func parseTimeout(s string) (time.Duration, bool) {
	if _, ok := splitNumber(s); ok {
		s += "s"
	}
	d, err := time.ParseDuration(s)
	return d, err == nil && d > 0
}
