package upstream

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/transomhq/transom/rpc"
)

// Retry says how a method's failed calls are repeated. The zero value never does.
//
// A call is repeated only while nothing of its answer went down, only if it
// has one request (which is kept until then), and within the cluster's Budget.
type Retry struct {
	// Attempts are the attempts in all, at most 10.
	Attempts int
	// Codes are the codes that are repeated; empty means UNAVAILABLE.
	// RESOURCE_EXHAUSTED is repeated only when the backend says when
	// (grpc-retry-pushback-ms).
	Codes []codes.Code
	// InitialBackoff is the longest wait before the second attempt; it doubles
	// up to MaxBackoff. The wait is a random part of it (gRFC A6). 0 means
	// 25 ms and 250 ms.
	InitialBackoff, MaxBackoff time.Duration
	// PerTryTimeout bounds one attempt: of unary calls whole, of streams until
	// the answer begins. 0 leaves the call's own deadline.
	PerTryTimeout time.Duration
	// MaxBytes is the largest request that is kept; 0 means 1 MiB.
	MaxBytes int
}

const (
	defaultInitialBackoff = 25 * time.Millisecond
	defaultMaxBackoff     = 250 * time.Millisecond
	defaultKeptBytes      = 1 << 20
)

// withDefaults returns r with nothing left to decide.
func (r Retry) withDefaults() Retry {
	r.Attempts = min(r.Attempts, maxAttempts)
	if len(r.Codes) == 0 {
		r.Codes = []codes.Code{codes.Unavailable}
	}
	if r.InitialBackoff <= 0 {
		r.InitialBackoff = defaultInitialBackoff
	}
	if r.MaxBackoff <= 0 {
		r.MaxBackoff = max(defaultMaxBackoff, r.InitialBackoff)
	}
	if r.MaxBytes <= 0 {
		r.MaxBytes = defaultKeptBytes
	}
	return r
}

// backoff returns the longest wait after the given number of attempts.
func (r *Retry) backoff(attempts int) time.Duration {
	d := r.InitialBackoff
	for range attempts - 1 {
		if d *= 2; d >= r.MaxBackoff {
			break
		}
	}
	return min(d, r.MaxBackoff)
}

// tries are the attempts of one call.
type tries struct {
	retry *Retry // with its defaults
	guard *Guard
	made  int
	last  *attempt
}

// next returns the context of the next attempt, and what frees it. Where
// nothing is ever repeated, that is ctx itself. whole says that the per-try
// timeout bounds the whole attempt, as for unary calls.
func (t *tries) next(ctx context.Context, whole bool) (context.Context, context.CancelFunc) {
	t.made++
	if t.guard != nil {
		t.guard.attempts.Add(1)
	}
	if t.retry.Attempts <= 1 && t.retry.PerTryTimeout == 0 {
		return ctx, func() {}
	}
	a := &attempt{}
	if t.last != nil {
		a.tried, a.n = t.last.tried, t.last.n
	}
	t.last = a
	if !whole || t.retry.PerTryTimeout == 0 {
		a.Context = ctx
		return a, func() {}
	}
	deadline, bounded := ctx.Deadline()
	a.bounded = !bounded || time.Until(deadline) > t.retry.PerTryTimeout
	var cancel context.CancelFunc
	a.Context, cancel = context.WithTimeout(ctx, t.retry.PerTryTimeout)
	return a, cancel
}

// again decides after a failed attempt whether there is another one, and waits
// until it is time. size is that of the request.
func (t *tries) again(ctx context.Context, err error, trailer metadata.MD, size int) bool {
	if t.made >= t.retry.Attempts || size > t.retry.MaxBytes || ctx.Err() != nil || t.guard == nil {
		return false
	}
	wait, told, ok := pushback(trailer)
	if !ok || !t.retry.covers(err, told) {
		return false
	}
	if !told {
		wait = rand.N(t.retry.backoff(t.made) + 1) //nolint:gosec // jitter is no secret
	}
	if deadline, bounded := ctx.Deadline(); bounded && time.Until(deadline) <= wait {
		return false
	}
	if !t.guard.retry() {
		return false
	}
	return sleep(ctx, wait)
}

// covers reports whether err is a failure that another attempt may mend. An
// attempt's own deadline is one: the call's has not passed yet.
func (r *Retry) covers(err error, told bool) bool {
	var own *rpc.Error // what we ourselves refuse
	if errors.As(err, &own) {
		return false
	}
	st, ok := status.FromError(err)
	if !ok {
		return false
	}
	switch code := st.Code(); code {
	case codes.DeadlineExceeded:
		return r.PerTryTimeout > 0 || slices.Contains(r.Codes, code)
	case codes.ResourceExhausted:
		return told && slices.Contains(r.Codes, code)
	default:
		return slices.Contains(r.Codes, code)
	}
}

// pushback reads what the backend says about being called again: after how
// long (told), or not at all (!ok). See gRFC A6.
func pushback(trailer metadata.MD) (wait time.Duration, told, ok bool) {
	values := trailer["grpc-retry-pushback-ms"]
	if len(values) == 0 {
		return 0, false, true
	}
	ms, err := strconv.ParseInt(values[0], 10, 32)
	if err != nil || ms < 0 || len(values) > 1 {
		return 0, true, false
	}
	return time.Duration(ms) * time.Millisecond, true, true
}

// sleep waits, and reports false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
