package ratelimit

import "context"

// Limit is one compiled limit: exactly one of Rate and Quota is set.
type Limit struct {
	// Name is the limit's public name in answers, and the bucket that its
	// counts live in: limits of one name share their counts.
	Name  string
	Rate  *Rate
	Quota *Quota
}

// Ask is what a call asks of one limit.
type Ask struct {
	Limit *Limit
	// Key is who asks, within the limit's name.
	Key  string
	Cost int64
}

// Store keeps the counts. It is safe for concurrent use.
type Store interface {
	// Take asks all limits at once: the cost is taken from all of them, or,
	// when one refuses, from none. It fills one decision for each ask, in
	// their order, and fails only when the store cannot be asked.
	Take(ctx context.Context, asks []Ask, decisions []Decision) error
}

// allowed reports whether every decision allows.
func allowed(decisions []Decision) bool {
	for _, d := range decisions {
		if !d.Allowed {
			return false
		}
	}
	return true
}
