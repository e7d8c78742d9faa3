package ratelimit

import "time"

// Quota is a counted limit: Limit units per Period, since the period's
// calendar start in UTC or, when Rolling, over the last period's length.
type Quota struct {
	Limit   int64
	Period  Period
	Rolling bool
}

// Period is the length of a quota's window.
type Period int

// The periods of quotas.
const (
	Minute Period = iota + 1
	Hour
	Day
	Month
)

// Bounds returns the calendar window around now, in UTC.
func (p Period) Bounds(now time.Time) (start, end time.Time) {
	now = now.UTC()
	switch p {
	case Minute:
		start = now.Truncate(time.Minute)
		return start, start.Add(time.Minute)
	case Hour:
		start = now.Truncate(time.Hour)
		return start, start.Add(time.Hour)
	case Day:
		start = time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, time.UTC)
		return start, start.AddDate(0, 0, 1)
	default:
		start = time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
		return start, start.AddDate(0, 1, 0)
	}
}

// Usage is what a quota has counted: in the window that began at Start, and in
// the one before it.
type Usage struct {
	Start           int64 // seconds since the epoch
	Current, Before int64
}

// roll returns the usage as it stands at now: windows that have passed move on.
func (q Quota) roll(u Usage, now time.Time) (Usage, time.Time) {
	start, end := q.Period.Bounds(now)
	switch {
	case u.Start == start.Unix():
	case u.Start == 0:
		u = Usage{Start: start.Unix()}
	default:
		last, lastEnd := q.Period.Bounds(time.Unix(u.Start, 0))
		moved := Usage{Start: start.Unix()}
		if last.Before(start) && lastEnd.Equal(start) {
			moved.Before = u.Current
		}
		u = moved
	}
	return u, end
}

// counted is how many units count against the limit at now. A rolling quota
// takes the part of the last window that still overlaps, as if its calls had
// come evenly: one counter a window instead of one timestamp a call.
func (q Quota) counted(u Usage, now, end time.Time) int64 {
	if !q.Rolling {
		return u.Current
	}
	start := time.Unix(u.Start, 0)
	overlap := float64(end.Sub(now)) / float64(end.Sub(start))
	return u.Current + int64(float64(u.Before)*overlap)
}

// forgotten returns when what is counted now counts no more.
func (q Quota) forgotten(now time.Time) time.Time {
	_, end := q.Period.Bounds(now)
	if q.Rolling { // it counts through the next window
		_, end = q.Period.Bounds(end)
	}
	return end
}

// seconds is the period's length; a month has 30 days here.
func (p Period) seconds() int64 {
	switch p {
	case Minute:
		return 60
	case Hour:
		return 3600
	case Day:
		return 86400
	}
	return 30 * 86400
}

// String says the period's length.
func (p Period) String() string {
	switch p {
	case Minute:
		return "minute"
	case Hour:
		return "hour"
	case Day:
		return "day"
	}
	return "month"
}

// Take asks for cost units at now. The returned usage is to be kept when the
// call is allowed.
func (q Quota) Take(u Usage, now time.Time, cost int64) (Usage, Decision) {
	u, end := q.roll(u, now)
	used := q.counted(u, now, end)
	d := Decision{Limit: q.Limit, ResetAfter: end.Sub(now)}
	if used+cost > q.Limit || used+cost < used {
		d.Remaining = max(q.Limit-used, 0)
		d.RetryAfter = q.retryAfter(u, now, end, cost)
		return u, d
	}
	u.Current += cost
	d.Allowed, d.Remaining = true, q.Limit-used-cost
	return u, d
}

// retryAfter is how long until cost units are free, if nobody else comes.
func (q Quota) retryAfter(u Usage, now, end time.Time, cost int64) time.Duration {
	switch {
	case cost > q.Limit:
		return Never
	case !q.Rolling || u.Before == 0 || u.Current+cost > q.Limit:
		return end.Sub(now)
	}
	// The last window's share shrinks evenly: wait until what is left fits.
	length := float64(end.Sub(time.Unix(u.Start, 0)))
	fits := float64(q.Limit-u.Current-cost) / float64(u.Before)
	return min(max(end.Sub(now)-time.Duration(fits*length), time.Millisecond), end.Sub(now))
}
