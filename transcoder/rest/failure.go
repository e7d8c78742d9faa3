package rest

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/codec"
)

// failures renders errors: a google.rpc.Status as JSON or protobuf, or a
// problem (RFC 9457).
type failures struct {
	profile   Profile
	challenge string
	detail    codec.Plan // google.protobuf.Any
}

func newFailures(opts *Options) (*failures, error) {
	o := codec.Options{Resolver: opts.Resolver, MaxDepth: opts.MaxDepth, MaxOutput: opts.MaxOutputBytes, EmitUnpopulated: opts.Profile == GRPCGateway}
	plan, err := opts.Codec.Compile(codec.Root{Message: (*anypb.Any)(nil).ProtoReflect().Descriptor()}, o)
	return &failures{profile: opts.Profile, challenge: opts.Challenge, detail: plan}, err
}

// statusOf maps a gRPC code to an HTTP status as grpc-gateway does. Codes that
// gRPC does not define are a server's error.
func statusOf(code codes.Code) int {
	switch code {
	case codes.OK:
		return http.StatusOK
	case codes.Canceled:
		return 499 // client closed request, as nginx has it
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange:
		return http.StatusBadRequest
	case codes.DeadlineExceeded:
		return http.StatusGatewayTimeout
	case codes.NotFound:
		return http.StatusNotFound
	case codes.AlreadyExists, codes.Aborted:
		return http.StatusConflict
	case codes.PermissionDenied:
		return http.StatusForbidden
	case codes.Unauthenticated:
		return http.StatusUnauthorized
	case codes.ResourceExhausted:
		return http.StatusTooManyRequests
	case codes.Unimplemented:
		return http.StatusNotImplemented
	case codes.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// routing gives refusals of the router the words of the profile: grpc-gateway
// answers 501 where the path is known and the method is not.
func (f *failures) routing(err error) error {
	var e *rpc.Error
	if f.profile != GRPCGateway || !errors.As(err, &e) {
		return err
	}
	switch {
	case e.HTTPStatus == http.StatusMethodNotAllowed, e.HTTPStatus == http.StatusNotImplemented:
		return &rpc.Error{Code: codes.Unimplemented, Message: "Method Not Allowed", Cause: err, Header: e.Header}
	case e.Code == codes.NotFound:
		return &rpc.Error{Code: codes.NotFound, Message: "Not Found", Cause: err}
	}
	return err
}

// fail writes err in the form that the client can read, and records it.
func (x *exchange) fail(err error) {
	st := proto.CloneOf(rpc.StatusOf(err).Proto())
	if codes.Code(st.GetCode()) == codes.OK { // an error is never a success
		st.Code, st.Message = int32(codes.Internal), "internal error"
	}
	st.Message = strings.ToValidUTF8(st.GetMessage(), "\uFFFD")
	status := statusOf(codes.Code(st.GetCode()))
	h := x.w.Header()
	header, trailer := x.metadata()
	x.door.headers.writeHeader(h, header)
	var e *rpc.Error
	if errors.As(err, &e) {
		if e.HTTPStatus != 0 {
			status = e.HTTPStatus
		}
		for i := 0; i+1 < len(e.Header); i += 2 {
			h.Set(e.Header[i], e.Header[i+1])
		}
	}
	if v := rpc.ProxyStatus(err, x.call); v != "" {
		h[rpc.ProxyStatusHeader] = []string{v}
	}
	x.door.errors.explain(h, status, st)
	x.call.SetResult(err)
	buf := x.door.pool.get()
	defer x.door.pool.Put(buf)
	media := x.door.errors.form(x.r.Header["Accept"])
	*buf = x.door.errors.render(*buf, media, status, st)
	x.addVary(h)
	x.send(status, media, *buf, trailer)
}

// explain adds the header fields that belong to a status.
func (f *failures) explain(h http.Header, status int, st *spb.Status) {
	switch status {
	case http.StatusUnauthorized:
		if len(h["Www-Authenticate"]) == 0 {
			h["Www-Authenticate"] = []string{f.challenge}
		}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if seconds, ok := retryDelay(st); ok && len(h["Retry-After"]) == 0 {
			h["Retry-After"] = []string{strconv.FormatInt(seconds, 10)}
		}
	}
	if f.profile == Envoy {
		h["Grpc-Status"] = []string{strconv.Itoa(int(st.GetCode()))}
		if st.GetMessage() != "" {
			h["Grpc-Message"] = []string{percentEncode(st.GetMessage())}
		}
	}
}

// retryDelay returns the delay of a RetryInfo in seconds, rounded up.
func retryDelay(st *spb.Status) (int64, bool) {
	for _, d := range st.GetDetails() {
		var info errdetails.RetryInfo
		if d.MessageIs(&info) && d.UnmarshalTo(&info) == nil && info.GetRetryDelay() != nil {
			seconds := info.GetRetryDelay().GetSeconds()
			if info.GetRetryDelay().GetNanos() > 0 {
				seconds++
			}
			return max(seconds, 0), true
		}
	}
	return 0, false
}

// percentEncode is gRPC's encoding of grpc-message.
func percentEncode(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// form chooses the media type of an error: JSON, unless the client names a
// problem, or takes protobuf and no JSON.
func (f *failures) form(accept []string) string {
	if len(accept) == 0 || len(accept) == 1 && (accept[0] == mediaJSON || accept[0] == "*/*") {
		return mediaJSON
	}
	ranges := parseAccept(accept)
	json, jsonSpec := weight(ranges, mediaJSON)
	problem, problemSpec := weight(ranges, mediaProblem)
	if problem > 0 && problemSpec == 3 && (problem >= json || jsonSpec < 3) {
		return mediaProblem
	}
	if json > 0 {
		return mediaJSON
	}
	for _, media := range []string{mediaProto, "application/proto", "application/protobuf"} {
		if q, spec := weight(ranges, media); q > 0 && spec == 3 {
			return media
		}
	}
	return mediaJSON
}

func (f *failures) render(dst []byte, media string, status int, st *spb.Status) []byte {
	switch media {
	case mediaJSON:
		dst = append(dst, '{')
		return append(f.appendMembers(dst, st, "message"), '}')
	case mediaProblem:
		dst = append(dst, `{"title":`...)
		title := http.StatusText(status)
		if title == "" {
			title = "Error"
		}
		dst = appendQuoted(dst, title)
		dst = append(dst, `,"status":`...)
		dst = strconv.AppendInt(dst, int64(status), 10)
		dst = append(dst, ',')
		return append(f.appendMembers(dst, st, "detail"), '}')
	}
	dst, err := proto.MarshalOptions{}.MarshalAppend(dst, st)
	if err != nil { // nothing in it can fail to marshal
		return dst[:0]
	}
	return dst
}

// appendMembers appends code, text and details.
func (f *failures) appendMembers(dst []byte, st *spb.Status, text string) []byte {
	dst = append(dst, `"code":`...)
	dst = strconv.AppendInt(dst, int64(st.GetCode()), 10)
	dst = append(dst, `,"`...)
	dst = append(dst, text...)
	dst = append(dst, `":`...)
	dst = appendQuoted(dst, st.GetMessage())
	if len(st.GetDetails()) == 0 && f.profile != GRPCGateway {
		return dst
	}
	dst = append(dst, `,"details":[`...)
	for i, d := range st.GetDetails() {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = f.appendDetail(dst, d)
	}
	return append(dst, ']')
}

// appendDetail appends a detail. One that cannot be decoded is shown as it is,
// so that it never hides the error that it belongs to.
func (f *failures) appendDetail(dst []byte, d *anypb.Any) []byte {
	start := len(dst)
	wire, err := proto.Marshal(d)
	if err == nil {
		if dst, err = f.detail.AppendJSON(dst, wire); err == nil {
			return dst
		}
	}
	dst = append(dst[:start], `{"@type":`...)
	dst = appendQuoted(dst, strings.ToValidUTF8(d.GetTypeUrl(), "\uFFFD"))
	dst = append(dst, `,"value":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, d.GetValue())
	return append(dst, `"}`...)
}

// quote returns s as a JSON string.
func quote(s string) []byte { return appendQuoted(make([]byte, 0, len(s)+2), s) }

func appendQuoted(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"', c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
