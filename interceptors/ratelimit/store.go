package ratelimit

import (
	"context"
	"time"
)

// MaxLimits is how many rates and quotas one call may be under.
const MaxLimits = 32

// Limit is one compiled limit: exactly one of Rate and Quota is set.
type Limit struct {
	// Name is the limit's public name in answers and metrics.
	Name string
	// Bucket is where its counts live: limits of one bucket share them.
	Bucket string
	Rate   *Rate
	Quota  *Quota
	// Shadow limits count and report, and refuse nothing.
	Shadow bool
	// Failure says what happens while a shared store cannot be asked.
	Failure Failure
}

// Failure says what happens while a shared store cannot be asked.
type Failure int

// The failure modes.
const (
	FailLocal  Failure = iota // count in this process
	FailOpen                  // admit
	FailClosed                // refuse with UNAVAILABLE
)

// Ask is what a call asks of one limit.
type Ask struct {
	Limit *Limit
	// Key is who asks, within the limit's bucket.
	Key  string
	Cost int64
}

// Decision is what one limit says about one call.
type Decision struct {
	Allowed bool
	// Unknown says that nobody counted: the store could not be asked, and the
	// limit fails open. The numbers below mean nothing then.
	Unknown bool
	// Limit is how many units there are in all (the burst, or the quota).
	Limit int64
	// Remaining is how many units are left for calls that come now.
	Remaining int64
	// RetryAfter is how long a refused call has to wait; Never when it can
	// never be allowed, because it costs more than there is in all.
	RetryAfter time.Duration
	// ResetAfter is how long until everything is there again.
	ResetAfter time.Duration
}

// Never is the RetryAfter of a call that costs more than its limit holds.
const Never time.Duration = -1

// Store keeps the counts. It is safe for concurrent use.
type Store interface {
	// Take asks all limits at once: the cost is taken from all of them or,
	// when one that is not a shadow refuses, from none. No two asks share
	// bucket and key. It fills one decision for each ask, in their order, and
	// fails only when the store cannot be asked; nothing counts as taken then.
	Take(ctx context.Context, asks []Ask, decisions []Decision) error
}

// admitted reports whether every limit that is not a shadow allows.
func admitted(asks []Ask, decisions []Decision) bool {
	for i := range asks {
		if !decisions[i].Allowed && !asks[i].Limit.Shadow {
			return false
		}
	}
	return true
}
