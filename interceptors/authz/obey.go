package authz

import (
	"context"
	"net/http"
	"strings"
	"unicode/utf8"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
)

// obey does what the authorizer said.
func (e *External) obey(ctx context.Context, answer *authv3.CheckResponse) (context.Context, error) {
	code := codes.Code(answer.GetStatus().GetCode()) //nolint:gosec // any number is a code
	if no := answer.GetDeniedResponse(); no != nil || code != codes.OK {
		return ctx, deniedBy(no, code)
	}
	yes := answer.GetOkResponse()
	if add := yes.GetResponseHeadersToAdd(); len(add) > 0 {
		_ = grpc.SetHeader(ctx, changed(nil, add)) // without a server transport there is nobody to tell
	}
	if len(yes.GetHeaders())+len(yes.GetHeadersToRemove()) == 0 {
		return ctx, nil
	}
	in, _ := metadata.FromIncomingContext(ctx)
	in = in.Copy()
	if in == nil {
		in = metadata.MD{}
	}
	for _, name := range yes.GetHeadersToRemove() {
		if mayChange(name) {
			in.Delete(name)
		}
	}
	set := changed(in, yes.GetHeaders())
	out, _ := metadata.FromOutgoingContext(ctx)
	out = out.Copy()
	if out == nil {
		out = metadata.MD{}
	}
	for name, values := range set { // what follows sees them, and so does the backend
		in[name], out[name] = values, values
	}
	return metadata.NewOutgoingContext(metadata.NewIncomingContext(ctx, in), out), nil
}

// changed returns the fields that options set, over what there is already.
func changed(have metadata.MD, options []*corev3.HeaderValueOption) metadata.MD {
	set := metadata.MD{}
	for _, o := range options {
		name, value := strings.ToLower(o.GetHeader().GetKey()), o.GetHeader().GetValue()
		if value == "" {
			value = string(o.GetHeader().GetRawValue())
		}
		if !mayChange(name) || !printable(value) {
			continue
		}
		before, isSet := set[name]
		if !isSet {
			before = have[name]
		}
		switch {
		case o.GetAppend().GetValue(): //nolint:staticcheck // deprecated, and what authorizers still send
			set[name] = append(before[:len(before):len(before)], value)
		case o.GetAppendAction() == corev3.HeaderValueOption_ADD_IF_ABSENT && len(before) > 0,
			o.GetAppendAction() == corev3.HeaderValueOption_OVERWRITE_IF_EXISTS && len(before) == 0:
		default: // a client's own copy never stands beside the authorizer's
			set[name] = []string{value}
		}
	}
	return set
}

// mayChange reports whether an authorizer may say a field: not what belongs to
// a connection, to gRPC, or to the body.
func mayChange(name string) bool {
	name = strings.ToLower(name)
	switch name {
	case "", "host", "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "content-type", "content-length", "content-encoding":
		return false
	}
	for i := range len(name) {
		if c := name[i]; c != '-' && c != '_' && c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return !strings.HasPrefix(name, "grpc-") && !strings.HasSuffix(name, "-bin")
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// maxReason bounds what a refused caller reads of the authorizer's body.
const maxReason = 1 << 10

// deniedBy is the refusal of an authorizer: its HTTP status, its header
// fields, and its body as the text.
func deniedBy(no *authv3.DeniedHttpResponse, code codes.Code) error {
	reason := strings.TrimSpace(no.GetBody())
	if reason == "" || len(reason) > maxReason || !utf8.ValidString(reason) {
		reason = deniedByRule
	}
	status := int(no.GetStatus().GetCode())
	e := refusal(codeOf(status, code), reasonExternal, reason, nil)
	if status >= 300 && status <= 599 {
		e.HTTPStatus = status
	}
	for name, values := range changed(nil, no.GetHeaders()) {
		for _, v := range values {
			e.Header = append(e.Header, http.CanonicalHeaderKey(name), v)
		}
	}
	return e
}

// codeOf returns the gRPC code of an HTTP status; without one, of the status
// that the authorizer gave.
func codeOf(status int, code codes.Code) codes.Code {
	switch status {
	case 0:
		if code == codes.Unauthenticated || code == codes.ResourceExhausted || code == codes.Unavailable {
			return code
		}
	case http.StatusBadRequest:
		return codes.InvalidArgument
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusNotFound:
		return codes.NotFound
	case http.StatusTooManyRequests:
		return codes.ResourceExhausted
	case http.StatusServiceUnavailable:
		return codes.Unavailable
	}
	return codes.PermissionDenied
}
