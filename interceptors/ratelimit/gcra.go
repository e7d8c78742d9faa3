package ratelimit

import (
	"math"
	"time"
)

// Rate is a smooth limit by the generic cell rate algorithm (ITU-T I.371):
// Requests per Per on average, up to Burst at once after a pause.
type Rate struct {
	Requests int64
	Per      time.Duration
	Burst    int64 // at least 1
}

// interval is the time that cost units take to flow back.
func (r Rate) interval(cost int64) time.Duration {
	hi := float64(cost) * float64(r.Per) / float64(r.Requests)
	if hi >= math.MaxInt64/4 {
		return math.MaxInt64 / 4
	}
	if cost <= math.MaxInt64/int64(r.Per) {
		return time.Duration(cost * int64(r.Per) / r.Requests)
	}
	return time.Duration(hi)
}

// Take asks for cost units at now. tat is the theoretical arrival time that
// the last allowed call left, in nanoseconds since the epoch (0: none yet).
// The returned one is to be kept when the call is allowed.
func (r Rate) Take(tat, now int64, cost int64) (int64, Decision) {
	window := int64(r.interval(r.Burst))
	from := max(tat, now)
	next := from + int64(r.interval(cost))
	d := Decision{Limit: r.Burst}
	if early := next - window - now; early > 0 {
		d.RetryAfter = time.Duration(early)
		if cost > r.Burst {
			d.RetryAfter = Never
		}
		d.Remaining, d.ResetAfter = r.left(from-now), time.Duration(from-now)
		return tat, d
	}
	d.Allowed = true
	d.Remaining, d.ResetAfter = r.left(next-now), time.Duration(next-now)
	return next, d
}

// left is how many whole units fit when used nanoseconds of the window are taken.
func (r Rate) left(used int64) int64 {
	window := int64(r.interval(r.Burst))
	free := window - used
	if free <= 0 {
		return 0
	}
	// The division may round one unit away that an interval rounded down.
	n := int64(float64(free) * float64(r.Requests) / float64(r.Per))
	for n < r.Burst && int64(r.interval(n+1)) <= free {
		n++
	}
	return min(n, r.Burst)
}
