package authz

import (
	"errors"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/rpc"
)

// The reasons of refusals, as the reason of their google.rpc.ErrorInfo.
const (
	reasonDenied      = "DENIED"             // nobody may call
	reasonUnsaid      = "DENIED_BY_DEFAULT"  // nobody said who may call
	reasonAddress     = "ADDRESS_DENIED"     // not from there
	reasonNobody      = "MISSING_CREDENTIAL" // nobody knows who is calling
	reasonScope       = "MISSING_SCOPE"
	reasonRole        = "MISSING_ROLE"
	reasonRule        = "DENIED_BY_RULE"            // an expression does not hold
	reasonExternal    = "DENIED_EXTERNALLY"         // the external authorizer said no
	reasonUnavailable = "AUTHORIZATION_UNAVAILABLE" // and here it said nothing
)

const deniedByRule = "denied by policy"

func refusal(code codes.Code, reason, text string, metadata map[string]string) *rpc.Error {
	return rpc.Errorf(code, "%s", text).WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: "transom", Metadata: metadata})
}

func denied(text string) error { return refusal(codes.PermissionDenied, reasonDenied, text, nil) }

func unsaid() error {
	return refusal(codes.PermissionDenied, reasonUnsaid, "nobody was allowed to call this method", nil)
}

// wrongAddress does not say the address: a proxy's is none of a client's business.
func wrongAddress() error {
	return refusal(codes.PermissionDenied, reasonAddress, "calls from this address are not allowed", nil)
}

func ruleFailed(text string, cause error) error {
	return refusal(codes.PermissionDenied, reasonRule, text, nil).WithCause(cause)
}

func lacksScope(who *rpc.Principal, scopes []string, all bool) error {
	if who == nil {
		return nobody()
	}
	e := refusal(codes.PermissionDenied, reasonScope, lacks("scope", scopes, all), map[string]string{"scopes": strings.Join(scopes, " ")})
	if who.Method == "jwt" || who.Method == "introspection" { // RFC 6750, section 3.1
		e.Header = []string{"WWW-Authenticate", `Bearer error="insufficient_scope", scope="` + quotable(scopes) + `"`}
	}
	return e
}

func lacksRole(who *rpc.Principal, roles []string, all bool) error {
	if who == nil {
		return nobody()
	}
	return refusal(codes.PermissionDenied, reasonRole, lacks("role", roles, all), map[string]string{"roles": strings.Join(roles, " ")})
}

// nobody is the refusal of a caller who is not known: with a credential, the
// answer may be another one.
func nobody() error {
	return refusal(codes.Unauthenticated, reasonNobody, "the call needs a credential", nil)
}

// lacks says what is needed: "the call needs the scope a", "... one of the scopes a, b".
func lacks(what string, names []string, all bool) string {
	switch {
	case len(names) == 1:
		return "the call needs the " + what + " " + names[0]
	case all:
		return "the call needs the " + what + "s " + strings.Join(names, ", ")
	}
	return "the call needs one of the " + what + "s " + strings.Join(names, ", ")
}

// quotable keeps of scopes what RFC 6749 allows in them.
func quotable(scopes []string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return -1
		}
		return r
	}, strings.Join(scopes, " "))
}

// refused counts a refusal of ours. What the door failed to read is none.
func (g *Guard) refused(err error) error {
	var e *rpc.Error
	if !errors.As(err, &e) || len(e.Details) == 0 {
		return err
	}
	if info, ok := e.Details[0].(*errdetails.ErrorInfo); ok {
		g.metrics.add(info.GetReason())
	}
	return err
}
