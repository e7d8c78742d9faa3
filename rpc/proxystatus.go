package rpc

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ProxyStatusHeader is the field in which a proxy says what it itself did
// wrong, or could not do (RFC 9209).
const ProxyStatusHeader = "Proxy-Status"

// ProxyError is an error type of RFC 9209, section 2.3.
type ProxyError string

// The types that the gateway says. An Error without one gets the type that
// fits its code.
const (
	DestinationNotFound    ProxyError = "destination_not_found"    // no route leads anywhere
	DestinationUnavailable ProxyError = "destination_unavailable"  // it is known to be away
	DNSError               ProxyError = "dns_error"                // its name leads nowhere
	ConnectionRefused      ProxyError = "connection_refused"       // nobody listens
	ConnectionTimeout      ProxyError = "connection_timeout"       // nobody answers
	ConnectionTerminated   ProxyError = "connection_terminated"    // it went away
	ConnectionLimitReached ProxyError = "connection_limit_reached" // a cap of ours
	TLSProtocolError       ProxyError = "tls_protocol_error"
	TLSCertificateError    ProxyError = "tls_certificate_error"
	HTTPRequestDenied      ProxyError = "http_request_denied"     // by a policy
	HTTPRequestError       ProxyError = "http_request_error"      // the client's mistake
	HTTPResponseTimeout    ProxyError = "http_response_timeout"   // the deadline passed
	HTTPResponseBodySize   ProxyError = "http_response_body_size" // more than we pass on
	HTTPProtocolError      ProxyError = "http_protocol_error"     // it does not speak gRPC
	ProxyInternalResponse  ProxyError = "proxy_internal_response" // made here, on purpose
	ProxyInternalError     ProxyError = "proxy_internal_error"    // a mistake of ours
)

// WithProxy returns e with its type of RFC 9209 set.
func (e *Error) WithProxy(kind ProxyError) *Error { e.Proxy = kind; return e }

// ProxyStatus returns the value of Proxy-Status for a call that ended with
// err: what the gateway itself has failed, "" for what a backend answered, and
// for what its client gave up. It holds public text only.
func ProxyStatus(err error, call *Call) string {
	kind, text, c := proxyErrorOf(err)
	if kind == "" {
		return ""
	}
	var room [320]byte // the usual field needs no memory but its own
	b := append(room[:0], "transom; error="...)
	b = append(b, kind...)
	if text != "" {
		b = append(b, "; details="...)
		b = appendSFString(b, text)
	}
	if name, ok := code.Code_name[int32(c)]; ok { //nolint:gosec // a gRPC code
		b = append(b, "; rpc="...)
		b = append(b, name...)
	}
	if call != nil {
		if n := call.Outcome().Attempts; n > 1 {
			b = append(b, "; attempts="...)
			b = strconv.AppendInt(b, int64(n), 10)
		}
	}
	return string(b)
}

// proxyErrorOf returns what is public about a failure of the gateway's own.
func proxyErrorOf(err error) (ProxyError, string, codes.Code) {
	if e, ok := err.(*Error); ok { //nolint:errorlint // the usual case, which needs no search
		return e.proxy(), e.Message, e.Code
	}
	var e *Error
	var backend interface{ GRPCStatus() *status.Status }
	switch {
	case err == nil:
		return "", "", codes.OK
	case errors.As(err, &e):
		return e.proxy(), e.Message, e.Code
	case errors.As(err, &backend):
		return "", "", codes.OK
	case errors.Is(err, context.DeadlineExceeded):
		return HTTPResponseTimeout, "deadline exceeded", codes.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return "", "", codes.OK
	}
	return ProxyInternalError, "internal error", codes.Internal
}

// proxy returns the type that e has, or that fits its code.
func (e *Error) proxy() ProxyError {
	if e.Proxy != "" {
		return e.Proxy
	}
	switch e.Code {
	case codes.OK, codes.Canceled:
		return ""
	case codes.Unauthenticated, codes.PermissionDenied:
		return HTTPRequestDenied
	case codes.ResourceExhausted:
		if e.HTTPStatus == 0 || e.HTTPStatus == http.StatusTooManyRequests {
			return HTTPRequestDenied
		}
		return HTTPRequestError // too large
	case codes.DeadlineExceeded:
		return HTTPResponseTimeout
	case codes.Unavailable:
		return DestinationUnavailable
	case codes.Internal, codes.Unknown, codes.DataLoss:
		return ProxyInternalError
	}
	return HTTPRequestError
}

// detailsLimit bounds the text in a header field.
const detailsLimit = 256

// appendSFString appends s as a string of RFC 8941, section 3.3.3: printable
// ASCII, with '"' and '\' escaped. What it cannot hold becomes '?'.
func appendSFString(b []byte, s string) []byte {
	b = append(b, '"')
	n := 0
	for _, r := range s {
		if n++; n > detailsLimit {
			b = append(b, "..."...)
			break
		}
		switch {
		case r == '"', r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ', r > '~':
			b = append(b, '?')
		default:
			b = append(b, byte(r))
		}
	}
	return append(b, '"')
}
