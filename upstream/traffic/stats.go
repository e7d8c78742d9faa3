package traffic

import (
	"strings"
	"time"
)

// bounds are the upper bounds of the buckets that metrics show, in seconds:
// those of all calls.
var bounds = [...]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30} //nolint:gochecknoglobals // a constant list

func boundOf(took time.Duration) int {
	for i, b := range bounds {
		if took.Seconds() <= b {
			return i
		}
	}
	return len(bounds)
}

// Stats are what a route can say about itself.
type Stats struct {
	// Route is its selector.
	Route string `json:"route"`
	// Sticky is what keeps a caller's calls together.
	Sticky  string        `json:"sticky,omitempty"`
	Subsets []SubsetStats `json:"subsets"`
	Ramp    *RampStats    `json:"ramp,omitempty"`
	Mirror  *MirrorStats  `json:"mirror,omitempty"`
}

// SubsetStats are how one subset does.
type SubsetStats struct {
	Name    string `json:"name"`
	Cluster string `json:"cluster"`
	// Percent is its share by weight now.
	Percent float64 `json:"percent"`
	Running int64   `json:"running"`
	// Calls that ended ever, and those of them that failed.
	Calls  int64 `json:"calls"`
	Failed int64 `json:"failed"`
	// Recent is what the last while counted.
	Recent Recent `json:"recent"`
	// Buckets count calls by duration, those not above each of Bounds in
	// seconds; Seconds is the duration of all calls together.
	Buckets map[float64]uint64 `json:"-"`
	Seconds float64            `json:"-"`
}

// Recent is what a window counted. Times are of calls, of streams until the
// answer began.
type Recent struct {
	Seconds float64 `json:"seconds"`
	Calls   int64   `json:"calls"`
	Failed  int64   `json:"failed"`
	P50     float64 `json:"p50_ms"`
	P95     float64 `json:"p95_ms"`
}

// RampStats are where a ramp is.
type RampStats struct {
	Subset string    `json:"subset"`
	From   float64   `json:"from"`
	To     float64   `json:"to"`
	Begin  time.Time `json:"begin"`
	End    time.Time `json:"end"`
	// State is "waiting", "growing", "done" or "stopped".
	State   string   `json:"state"`
	Stopped *Stopped `json:"stopped,omitempty"`
}

// MirrorStats count copies of requests.
type MirrorStats struct {
	Cluster string  `json:"cluster"`
	Percent float64 `json:"percent"`
	Running int64   `json:"running"`
	// Sent copies, those of them that Failed, and copies that were Dropped.
	Sent    int64 `json:"sent"`
	Failed  int64 `json:"failed"`
	Dropped int64 `json:"dropped"`
}

// Stats returns what is known now.
func (r *Route) Stats() Stats {
	now := time.Now()
	s := Stats{Route: r.opts.Name, Sticky: r.opts.Sticky.String(), Subsets: []SubsetStats{}, Ramp: r.rampStats(now)}
	ramped, sum := r.ramped(now), 0.0
	for i := range r.sides {
		sum += r.weight(i, ramped)
	}
	for i := range r.sides {
		one := r.sides[i].stats(now, r.window)
		one.Name, one.Cluster = r.opts.Subsets[i].Name, r.opts.Subsets[i].Cluster
		if sum > 0 {
			one.Percent = r.weight(i, ramped) / sum * 100
		}
		s.Subsets = append(s.Subsets, one)
	}
	if m := r.opts.Mirror; m != nil {
		s.Mirror = &MirrorStats{
			Cluster: m.Cluster, Percent: m.Percent, Running: r.copies.running.Load(),
			Sent: r.copies.sent.Load(), Failed: r.copies.failed.Load(), Dropped: r.copies.dropped.Load(),
		}
	}
	return s
}

func (s *side) stats(now time.Time, window time.Duration) SubsetStats {
	one := SubsetStats{
		Running: s.running.Load(), Calls: s.calls.Load(), Failed: s.failed.Load(),
		Buckets: map[float64]uint64{}, Seconds: time.Duration(s.nanos.Load()).Seconds(),
	}
	below := uint64(0)
	for i, b := range bounds {
		below += uint64(s.buckets[i].Load()) //nolint:gosec // a count
		one.Buckets[b] = below
	}
	sum := s.recent.sum(now)
	ms := func(q float64) float64 {
		return float64(sum.took.quantile(q).Round(time.Microsecond)) / float64(time.Millisecond)
	}
	one.Recent = Recent{Seconds: window.Seconds(), Calls: sum.calls, Failed: sum.failed, P50: ms(0.5), P95: ms(0.95)}
	return one
}

func (r *Route) rampStats(now time.Time) *RampStats {
	ramp := r.opts.Ramp
	if ramp == nil {
		return nil
	}
	s := &RampStats{
		Subset: r.names[ramp.Subset], From: ramp.From, To: ramp.To, Begin: ramp.Begin.UTC(), End: ramp.Begin.Add(ramp.Over).UTC(),
		State: "growing", Stopped: r.stopped.Load(),
	}
	switch {
	case s.Stopped != nil:
		s.State = "stopped"
	case now.Before(s.Begin):
		s.State = "waiting"
	case !now.Before(s.End):
		s.State = "done"
	}
	return s
}

// String returns the way in which it is configured.
func (s Sticky) String() string {
	switch {
	case s.Principal:
		return "principal"
	case s.Header != "":
		return "header:" + s.Header
	case s.Cookie != "":
		return "cookie:" + s.Cookie
	}
	return ""
}

// StickyOf reads what String writes.
func StickyOf(text string) Sticky {
	kind, name, _ := strings.Cut(text, ":")
	switch kind {
	case "principal":
		return Sticky{Principal: true}
	case "header":
		return Sticky{Header: strings.ToLower(name)}
	case "cookie":
		return Sticky{Cookie: name}
	}
	return Sticky{}
}
