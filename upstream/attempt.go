package upstream

import (
	"context"
	"sync/atomic"
)

// maxAttempts bounds the attempts of one call, whatever a policy says.
const maxAttempts = 10

type attemptKey struct{}

// attempt is the context of one try of a call. A picker of grpc-go knows a
// call only by its context, so this is where it reads which endpoints the call
// has been to, and writes down where it goes now.
type attempt struct {
	context.Context
	// tried are the endpoints of the tries before, and at the end of this one.
	tried [maxAttempts]*endpoint
	n     int
	// only, if set, is the endpoint that the call must go to.
	only *endpoint
	// bounded says that the deadline is the gateway's own, for one try: a
	// backend that misses it is slow, not its client impatient.
	bounded bool
	// late says that a stream was canceled because its answer did not begin.
	late atomic.Bool
}

// Value adds the attempt itself to what the context knows.
func (a *attempt) Value(key any) any {
	if key == (attemptKey{}) {
		return a
	}
	return a.Context.Value(key)
}

func attemptOf(ctx context.Context) *attempt {
	a, _ := ctx.Value(attemptKey{}).(*attempt)
	return a
}

// been reports whether the call has been to e.
func (a *attempt) been(e *endpoint) bool {
	if a == nil {
		return false
	}
	for _, t := range a.tried[:a.n] {
		if t == e {
			return true
		}
	}
	return false
}

// goes notes that the call goes to e.
func (a *attempt) goes(e *endpoint) {
	if a != nil && a.n < len(a.tried) {
		a.tried[a.n] = e
		a.n++
	}
}
