package ratelimit

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/transomhq/transom/rpc"
)

// busyRetry is when a client may try again that found no free place: nobody
// knows when one is given back.
const busyRetry = time.Second

// header returns the fields RateLimit and RateLimit-Policy
// (draft-ietf-httpapi-ratelimit-headers-10) and, for a refused call,
// Retry-After (RFC 9110, section 10.2.3), as metadata of the answer.
func (a *attempt) header(tightest int) metadata.MD {
	d := &a.decisions[tightest]
	reset := d.ResetAfter
	md := make(metadata.MD, 3)
	if !d.Allowed && d.RetryAfter != Never {
		reset = d.RetryAfter
		md["retry-after"] = []string{strconv.FormatInt(seconds(d.RetryAfter), 10)}
	}
	var buf [96]byte
	text := append(append(append(buf[:0], '"'), a.limits[tightest].Name...), `";r=`...)
	text = strconv.AppendInt(text, d.Remaining, 10)
	text = strconv.AppendInt(append(text, ";t="...), int64(math.Ceil(reset.Seconds())), 10)
	policy := a.own.policy
	if a.plan != nil && a.plan.policy != "" {
		if policy != "" {
			policy += ", "
		}
		policy += a.plan.policy
	}
	values := [2]string{string(text), policy}
	md["ratelimit"], md["ratelimit-policy"] = values[0:1:1], values[1:2:2]
	return md
}

func retryHeader(after time.Duration) metadata.MD {
	return metadata.MD{"retry-after": {strconv.FormatInt(seconds(after), 10)}}
}

// exceeded is the refusal of a call that is over limit l.
func exceeded(l *limit, ask *Ask, d Decision) *rpc.Error {
	reason := "RATE_LIMIT_EXCEEDED"
	if l.Quota != nil {
		reason = "QUOTA_EXCEEDED"
	}
	violation := &errdetails.QuotaFailure_Violation{
		Subject: ask.Key, Description: l.says, QuotaId: l.Name, QuotaValue: d.Limit,
	}
	if d.RetryAfter == Never {
		e := rpc.Errorf(codes.ResourceExhausted, "the call costs %d, and %s never admits more than %d at once: ask for less", ask.Cost, l.says, d.Limit)
		return e.WithDetails(&errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{violation}}, reasonOf(reason, l.Name))
	}
	e := rpc.Errorf(codes.ResourceExhausted, "%s is used up: try again in %s", l.says, waitText(d.RetryAfter))
	return refusal(e, d.RetryAfter, violation, reason)
}

// noPlace is the refusal of a call that would be one too many at the same time.
func noPlace(p *Places, key string) *rpc.Error {
	what := fmt.Sprintf("concurrency %q of %d calls at once", p.Name, p.Limit)
	e := rpc.Errorf(codes.ResourceExhausted, "%s is used up: try again when one has ended", what)
	return refusal(e, busyRetry, &errdetails.QuotaFailure_Violation{
		Subject: key, Description: what, QuotaId: p.Name, QuotaValue: p.Limit,
	}, "CONCURRENCY_LIMIT_EXCEEDED")
}

func refusal(e *rpc.Error, after time.Duration, v *errdetails.QuotaFailure_Violation, reason string) *rpc.Error {
	return e.WithDetails(
		&errdetails.RetryInfo{RetryDelay: durationpb.New(after)},
		&errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{v}},
		reasonOf(reason, v.GetQuotaId()),
	)
}

func reasonOf(reason, name string) *errdetails.ErrorInfo {
	return &errdetails.ErrorInfo{Reason: reason, Domain: "transom", Metadata: map[string]string{"limit": name}}
}

// waitText is a wait for people: to the millisecond below a minute, else to
// the second, rounded up.
func waitText(d time.Duration) string {
	unit := time.Millisecond
	if d >= time.Minute {
		unit = time.Second
	}
	return durationText((d + unit - 1).Truncate(unit))
}

// uncounted is the refusal of a call whose limits cannot be asked, and one of
// which fails closed.
func uncounted(ctx context.Context, cause error) error {
	if ctx.Err() != nil { // the caller went away, or has no time left
		return rpc.StatusOf(ctx.Err()).Err()
	}
	return rpc.Errorf(codes.Unavailable, "limits cannot be checked at the moment: try again soon").WithCause(cause).
		WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)})
}

// tooLarge is the refusal of a message over max bytes.
func tooLarge(size, most int64) *rpc.Error {
	return rpc.Errorf(codes.ResourceExhausted, "the request message has %d bytes, more than the %d that the method takes", size, most).
		WithHTTPStatus(413)
}
