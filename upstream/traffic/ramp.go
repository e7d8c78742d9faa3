package traffic

import (
	"fmt"
	"math"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
)

// Ramp lets the share of a subset grow; the others share the rest in
// proportion to their weights.
type Ramp struct {
	// Subset is the index of the subset.
	Subset int
	// From and To are its share, in percent.
	From, To float64
	// Over is how long it takes, Steps in how many steps; 0 is continuously.
	Over  time.Duration
	Steps int
	// Begin is when; zero is when the route is made.
	Begin time.Time
	// Stop, if set, makes the share 0 when the subset does badly.
	Stop *Stop
}

// at returns the share at a time, in percent.
func (r *Ramp) at(now time.Time) float64 {
	gone := now.Sub(r.Begin)
	switch {
	case gone < 0:
		return r.From
	case gone >= r.Over:
		return r.To
	}
	part := float64(gone) / float64(r.Over)
	if r.Steps > 0 { // the last step is To, when Over has gone
		part = math.Floor(part*float64(r.Steps)) / float64(r.Steps)
	}
	return r.From + (r.To-r.From)*part
}

// Stop says how much worse a subset may be than the others.
type Stop struct {
	// ErrorPoints is by how many percentage points its share of failed calls may
	// be above theirs; 0 does not compare.
	ErrorPoints float64
	// LatencyRatio is how many times their 95th percentile its own may be; 0
	// does not compare.
	LatencyRatio float64
	// MinCalls are needed in the Window before it is judged.
	MinCalls int
	Window   time.Duration
	// Codes are those of calls that failed; empty means DefaultCodes.
	Codes []codes.Code
}

// DefaultCodes are the codes of calls that a backend failed. A deadline that
// passed is one: what impatient clients do to one subset they do to the others.
func DefaultCodes() []codes.Code {
	return []codes.Code{codes.Unavailable, codes.Internal, codes.Unknown, codes.DataLoss, codes.DeadlineExceeded}
}

// baseline is what the other subsets showed when there were enough calls.
type baseline struct {
	known bool
	rate  float64
	calls int64
	p95   time.Duration
}

// noise returns by how much the rate of calls that are no worse than the
// others may be above theirs by chance: three standard errors.
func (b *baseline) noise(own *tally) float64 {
	if !b.known {
		return 0
	}
	n, m := float64(own.calls), float64(b.calls)
	p := (float64(own.failed) + b.rate*m) / (n + m)
	return 3 * math.Sqrt(p*(1-p)*(1/n+1/m))
}

// judge returns why a subset must stop, "" while it may go on. others is what
// the other subsets count now, last what they showed before: with a subset that
// gets nearly all calls, that is what it is compared with.
func (s *Stop) judge(own, others *tally, last *baseline) string {
	if others.calls >= int64(s.MinCalls) {
		*last = baseline{known: true, rate: others.rate(), calls: others.calls, p95: others.took.quantile(0.95)}
	}
	if own.calls < int64(s.MinCalls) {
		return ""
	}
	var why []string
	if over := (own.rate() - last.rate) * 100; s.ErrorPoints > 0 && over > s.ErrorPoints && over > 100*last.noise(own) {
		why = append(why, fmt.Sprintf("%.1f %% of %d calls failed, of the others %.1f %% of %d (allowed: %g points more)",
			own.rate()*100, own.calls, last.rate*100, last.calls, s.ErrorPoints))
	}
	if p95 := own.took.quantile(0.95); s.LatencyRatio > 0 && last.known && float64(p95) > float64(last.p95)*s.LatencyRatio {
		why = append(why, fmt.Sprintf("its 95th percentile is %s, that of the others %s (allowed: %g times)",
			short(p95), short(last.p95), s.LatencyRatio))
	}
	return strings.Join(why, "; ")
}

// short rounds a time to what a reader wants to see.
func short(d time.Duration) time.Duration {
	for _, unit := range []time.Duration{time.Second, time.Millisecond, time.Microsecond} {
		if d >= unit {
			return d.Round(unit / 100)
		}
	}
	return d
}
