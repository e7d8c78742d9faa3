package connect

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/serverstream"
)

// wireError is an error as the protocol writes it.
type wireError struct {
	Code    string       `json:"code"`
	Message string       `json:"message,omitempty"`
	Details []wireDetail `json:"details,omitempty"`
}

type wireDetail struct {
	Type  string `json:"type"`
	Value string `json:"value"` // base64 without padding
}

type endStream struct {
	Error    *wireError  `json:"error,omitempty"`
	Metadata http.Header `json:"metadata,omitempty"`
}

func newWireError(err error) *wireError {
	st := rpc.StatusOf(err)
	if st.Code() == codes.OK { // a handler's mistake: an error that says OK
		return &wireError{Code: "internal"}
	}
	e := &wireError{Code: codeName(st.Code()), Message: strings.ToValidUTF8(st.Message(), "\uFFFD")}
	for _, d := range st.Proto().GetDetails() {
		e.Details = append(e.Details, wireDetail{
			Type:  d.GetTypeUrl()[strings.LastIndexByte(d.GetTypeUrl(), '/')+1:],
			Value: base64.RawStdEncoding.EncodeToString(d.GetValue()),
		})
	}
	return e
}

func errorJSON(err error) []byte { return marshal(newWireError(err)) }

func endStreamJSON(trailer metadata.MD, err error) []byte {
	end := endStream{Metadata: http.Header{}}
	serverstream.AppendTo(end.Metadata, "", trailer)
	if err != nil {
		end.Error = newWireError(err)
	}
	return marshal(end)
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil { // strings only: cannot be
		return []byte(`{"code":"internal"}`)
	}
	return b
}

// plain reports whether a status is HTTP's own refusal, of a method or a content
// type: it is not in the protocol's words, and a client goes by the status alone.
func plain(status int) bool {
	return status == http.StatusMethodNotAllowed || status == http.StatusUnsupportedMediaType
}

// writePlain answers with a status and a text for people.
func writePlain(w http.ResponseWriter, call *rpc.Call, status int, err error) {
	call.Update(func(o *rpc.Outcome) { o.HTTPStatus = status })
	http.Error(w, rpc.StatusOf(err).Message(), status)
}

// addHeader adds the header fields that err carries, and whose failure it is.
func addHeader(h http.Header, err error, call *rpc.Call) {
	if v := rpc.ProxyStatus(err, call); v != "" {
		h[rpc.ProxyStatusHeader] = []string{v}
	}
	var e *rpc.Error
	if !errors.As(err, &e) {
		return
	}
	for i := 0; i+1 < len(e.Header); i += 2 {
		h.Add(e.Header[i], e.Header[i+1])
	}
}

// overridden returns the HTTP status that err asks for, 0 for none.
func overridden(err error) int {
	var e *rpc.Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.HTTPStatus
}

// httpStatus returns the HTTP status of a unary call's error.
func httpStatus(err error) int {
	if status := overridden(err); status != 0 {
		return status
	}
	switch rpc.StatusOf(err).Code() {
	case codes.Canceled:
		return 499
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
	case codes.ResourceExhausted:
		return http.StatusTooManyRequests
	case codes.Unimplemented:
		return http.StatusNotImplemented
	case codes.Unavailable:
		return http.StatusServiceUnavailable
	case codes.Unauthenticated:
		return http.StatusUnauthorized
	}
	return http.StatusInternalServerError // unknown, internal, data_loss and codes of one's own
}

// codeName returns the protocol's name of a code. A code that gRPC does not
// know keeps its number, in the form that connect-go reads.
func codeName(c codes.Code) string {
	switch c {
	case codes.Canceled:
		return "canceled"
	case codes.Unknown:
		return "unknown"
	case codes.InvalidArgument:
		return "invalid_argument"
	case codes.DeadlineExceeded:
		return "deadline_exceeded"
	case codes.NotFound:
		return "not_found"
	case codes.AlreadyExists:
		return "already_exists"
	case codes.PermissionDenied:
		return "permission_denied"
	case codes.ResourceExhausted:
		return "resource_exhausted"
	case codes.FailedPrecondition:
		return "failed_precondition"
	case codes.Aborted:
		return "aborted"
	case codes.OutOfRange:
		return "out_of_range"
	case codes.Unimplemented:
		return "unimplemented"
	case codes.Internal:
		return "internal"
	case codes.Unavailable:
		return "unavailable"
	case codes.DataLoss:
		return "data_loss"
	case codes.Unauthenticated:
		return "unauthenticated"
	}
	return "code_" + strconv.FormatUint(uint64(c), 10)
}
