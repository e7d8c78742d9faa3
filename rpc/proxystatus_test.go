package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/transomhq/transom/rpc"
)

func TestProxyStatus(t *testing.T) {
	call := rpc.NewCall(nil)
	call.Update(func(o *rpc.Outcome) { o.Attempts = 3 })
	for _, c := range []struct {
		err  error
		call *rpc.Call
		want string
	}{
		{nil, nil, ""},
		{status.Error(codes.Unavailable, "closed for stocktaking"), call, ""}, // a backend's answer
		{fmt.Errorf("relay: %w", status.Error(codes.Internal, "bug")), nil, ""},
		{rpc.Errorf(codes.Canceled, "canceled by the client"), nil, ""},
		{context.Canceled, nil, ""},
		{context.DeadlineExceeded, nil, `transom; error=http_response_timeout; details="deadline exceeded"; rpc=DEADLINE_EXCEEDED`},
		{errors.New("dial tcp 10.0.0.1:5432"), nil, `transom; error=proxy_internal_error; details="internal error"; rpc=INTERNAL`},
		{rpc.Errorf(codes.Unavailable, "Orders cannot be reached").WithCause(errors.New("10.0.0.1")).WithProxy(rpc.ConnectionRefused), call,
			`transom; error=connection_refused; details="Orders cannot be reached"; rpc=UNAVAILABLE; attempts=3`},
		{rpc.Errorf(codes.Unavailable, "away"), nil, `transom; error=destination_unavailable; details="away"; rpc=UNAVAILABLE`},
		{rpc.Errorf(codes.PermissionDenied, `say "please" \o/`), nil, `transom; error=http_request_denied; details="say \"please\" \\o/"; rpc=PERMISSION_DENIED`},
		{rpc.Errorf(codes.ResourceExhausted, "too many"), nil, `transom; error=http_request_denied; details="too many"; rpc=RESOURCE_EXHAUSTED`},
		{rpc.Errorf(codes.ResourceExhausted, "too large").WithHTTPStatus(413), nil, `transom; error=http_request_error; details="too large"; rpc=RESOURCE_EXHAUSTED`},
		{rpc.Errorf(codes.InvalidArgument, "grüße\r\nSet-Cookie: a=b\x7f"), nil, `transom; error=http_request_error; details="gr??e??Set-Cookie: a=b?"; rpc=INVALID_ARGUMENT`},
		{rpc.Errorf(codes.Code(4711), ""), nil, `transom; error=http_request_error`},
	} {
		if got := rpc.ProxyStatus(c.err, c.call); got != c.want {
			t.Errorf("%v:\n got %s\nwant %s", c.err, got, c.want)
		}
	}
	if got := rpc.ProxyStatus(rpc.Errorf(codes.NotFound, "%s", strings.Repeat(`"`, 1000)), nil); len(got) > 700 {
		t.Errorf("%d bytes", len(got))
	}
}

// Whatever an error says, the field is one that RFC 8941 can parse, and says
// nothing of the cause.
func FuzzProxyStatus(f *testing.F) {
	f.Add("plain", uint32(14))
	f.Add(`"\`, uint32(3))
	f.Add("\r\n\x00\xff", uint32(8))
	f.Fuzz(func(t *testing.T, text string, code uint32) {
		e := &rpc.Error{Code: codes.Code(code), Message: text, Cause: errors.New("SECRET-10.0.0.1")}
		got := rpc.ProxyStatus(e, nil)
		if got == "" {
			return
		}
		if !strings.Contains(text, "SECRET") && strings.Contains(got, "SECRET") {
			t.Fatalf("the cause is public: %s", got)
		}
		_, rest, found := strings.Cut(got, `details="`)
		for found {
			switch {
			case rest == "":
				t.Fatalf("the string has no end: %s", got)
			case rest[0] == '"':
				found = false
			case rest[0] < ' ' || rest[0] > '~':
				t.Fatalf("%q is not printable", rest[0])
			case rest[0] == '\\':
				if len(rest) < 2 || rest[1] != '"' && rest[1] != '\\' {
					t.Fatalf("a backslash escapes nothing: %s", got)
				}
				rest = rest[1:]
			}
			rest = rest[1:]
		}
		if rest != "" && !strings.HasPrefix(rest, "; rpc=") {
			t.Fatalf("what follows the string: %q", rest)
		}
	})
}
