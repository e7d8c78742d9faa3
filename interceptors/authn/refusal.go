package authn

import (
	"errors"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/rpc"
)

// Reason says why a call was refused, as the reason of its google.rpc.ErrorInfo.
type Reason string

// The reasons, from the least to the most telling.
const (
	Missing Reason = "MISSING_CREDENTIAL" // none was sent
	Invalid Reason = "INVALID"            // what was sent proves nothing
	Expired Reason = "EXPIRED"            // it was good once
	Revoked Reason = "REVOKED"            // somebody took it back
)

// Refusal is why a credential is not accepted.
type Refusal struct {
	Reason Reason
	// Text is public: "the token has expired". It holds no part of a credential.
	Text string
	// Cause is private, and holds no part of a credential either.
	Cause error
}

// Refuse returns a refusal with a public text and a private cause.
func Refuse(reason Reason, text string, cause error) *Refusal {
	return &Refusal{Reason: reason, Text: text, Cause: cause}
}

// Error returns the public text and the cause, for logs.
func (r *Refusal) Error() string {
	if r.Cause != nil {
		return r.Text + ": " + r.Cause.Error()
	}
	return r.Text
}

// Unwrap returns the private cause.
func (r *Refusal) Unwrap() error { return r.Cause }

// rank orders what went wrong with several credentials: the most telling is
// what the caller reads.
func rank(err error) int {
	var r *Refusal
	if !errors.As(err, &r) {
		return 4 // nobody can tell: perhaps the credential is good
	}
	switch r.Reason {
	case Revoked:
		return 3
	case Expired:
		return 2
	case Invalid:
		return 1
	}
	return 0
}

// missing is the refusal of a call without a credential.
func (p *plan) missing() error {
	return p.refusal(Refuse(Missing, "the call needs a credential: "+p.wanted, nil))
}

// refusal renders err for the caller: UNAUTHENTICATED with a reason and the
// challenges of the method, or UNAVAILABLE where nobody can tell.
func (p *plan) refusal(err error) error {
	var r *Refusal
	if !errors.As(err, &r) {
		return unavailable(err)
	}
	e := rpc.Errorf(codes.Unauthenticated, "%s", r.Text).WithCause(r.Cause).
		WithDetails(&errdetails.ErrorInfo{Reason: string(r.Reason), Domain: "transom"})
	if p.challenges != "" {
		e.Header = []string{"WWW-Authenticate", p.challenge(r)}
	}
	return e
}

func unavailable(cause error) error {
	return rpc.Errorf(codes.Unavailable, "the credential cannot be checked now: try again later").WithCause(cause).
		WithDetails(&errdetails.ErrorInfo{Reason: "AUTHENTICATION_UNAVAILABLE", Domain: "transom"})
}

// challenge returns the value of WWW-Authenticate. Bearer says what is wrong
// with a token that was sent (RFC 6750, section 3).
func (p *plan) challenge(r *Refusal) string {
	if r.Reason == Missing || !p.bearer {
		return p.challenges
	}
	const bearer = `Bearer realm="`
	at := strings.Index(p.challenges, bearer)
	end := at + len(bearer) + strings.IndexByte(p.challenges[at+len(bearer):], '"') + 1
	return p.challenges[:end] + `, error="invalid_token", error_description="` + quotable(r.Text) + `"` + p.challenges[end:]
}

// quotable keeps what RFC 6750 allows in error_description.
func quotable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return -1
		}
		return r
	}, s)
}
