package traffic

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/transomhq/transom/rpc"
)

// Subset is one side of a route.
type Subset struct {
	// Name is its name in logs and metrics, Cluster who serves it.
	Name, Cluster string
	// Weight is its share, in proportion to the sum of all.
	Weight float64
}

// Options describe a route.
type Options struct {
	// Name is the route's selector.
	Name string
	// Subsets share the calls; empty for a route that only mirrors.
	Subsets []Subset
	Sticky  Sticky
	// Matches come before the weights, the first that holds decides.
	Matches []Match
	Ramp    *Ramp
	// Mirror copies requests.
	Mirror *Mirror
	// Stopped, if set, hears of a ramp that stops itself. It must not block.
	Stopped func(subset, why string)
}

// usualWindow is how far back a route looks whose ramp does not say.
const usualWindow = time.Minute

// Route is what is known of a route's traffic: where its ramp is and how its
// subsets do. It outlives reloads that leave the route unchanged, and is safe
// for concurrent use.
type Route struct {
	opts   Options
	names  []string
	salts  []string // of the matches
	others float64  // the sum of the weights beside the ramp's subset
	sides  []side
	failed []codes.Code
	window time.Duration

	stopped atomic.Pointer[Stopped]
	judged  atomic.Int64 // when the ramp was judged last, in nanoseconds
	mu      sync.Mutex   // guards last
	last    baseline

	copies copies
}

// side is how one subset does.
type side struct {
	running, calls, failed atomic.Int64
	buckets                [len(bounds) + 1]atomic.Int64
	nanos                  atomic.Int64 // of all calls together
	recent                 *window      // all calls
	weighed                *window      // those that were chosen by weight, which a ramp is judged by
}

// Stopped says when and why a ramp stopped itself.
type Stopped struct {
	At  time.Time `json:"at"`
	Why string    `json:"why"`
}

// NewRoute returns a route that begins now.
func NewRoute(opts Options) *Route {
	r := &Route{opts: opts, sides: make([]side, len(opts.Subsets)), failed: DefaultCodes(), window: usualWindow}
	if opts.Ramp != nil {
		ramp := *opts.Ramp
		if ramp.Begin.IsZero() {
			ramp.Begin = time.Now()
		}
		r.opts.Ramp = &ramp
		if s := ramp.Stop; s != nil {
			r.window = s.Window
			if len(s.Codes) > 0 {
				r.failed = s.Codes
			}
		}
	}
	for i, s := range opts.Subsets {
		r.names = append(r.names, s.Name)
		r.sides[i].recent, r.sides[i].weighed = newWindow(r.window), newWindow(r.window)
		if opts.Ramp == nil || i != opts.Ramp.Subset {
			r.others += s.Weight
		}
	}
	for i := range opts.Matches {
		r.salts = append(r.salts, "match "+strconv.Itoa(i)+" "+opts.Subsets[opts.Matches[i].Subset].Name)
	}
	return r
}

// Name returns the route's selector.
func (r *Route) Name() string { return r.opts.Name }

// weight returns the weight of subset i, given the ramp's share.
func (r *Route) weight(i int, ramped float64) float64 {
	switch {
	case r.opts.Ramp == nil:
		return r.opts.Subsets[i].Weight
	case i == r.opts.Ramp.Subset:
		return ramped
	case r.others == 0:
		return 0
	}
	return r.opts.Subsets[i].Weight / r.others * (100 - ramped)
}

// ramped returns the share of the ramp's subset, in percent.
func (r *Route) ramped(now time.Time) float64 {
	if r.opts.Ramp == nil || r.stopped.Load() != nil {
		return 0
	}
	return r.opts.Ramp.at(now)
}

// choose returns the subset of a call, and whether its weight chose it. Where no
// subset has a weight, the first gets the call.
func (r *Route) choose(ctx context.Context, now time.Time) (i int, weighed bool) {
	who := rpc.FromContext(ctx).Principal()
	md, _ := metadata.FromIncomingContext(ctx)
	k := r.opts.Sticky.key(md, who)
	for i := range r.opts.Matches {
		m := &r.opts.Matches[i]
		if r.leadsTo(m) && m.holds(md, who, r.salts[i], k) {
			return m.Subset, false
		}
	}
	ramped := r.ramped(now)
	return max(choose(r.names, func(i int) float64 { return r.weight(i, ramped) }, k), 0), true
}

// leadsTo reports whether a rule is looked at: after a stop, only testers still
// reach the subset.
func (r *Route) leadsTo(m *Match) bool {
	return m.Scope != "" || r.opts.Ramp == nil || m.Subset != r.opts.Ramp.Subset || r.stopped.Load() == nil
}

// ended counts a call that took a time and ended with err.
func (r *Route) ended(i int, weighed bool, now time.Time, took time.Duration, err error) {
	s := &r.sides[i]
	code := codes.OK
	if err != nil {
		code = rpc.StatusOf(err).Code()
	}
	failed, gaveUp := slices.Contains(r.failed, code), code == codes.Canceled
	s.calls.Add(1)
	if failed {
		s.failed.Add(1)
	}
	s.buckets[boundOf(took)].Add(1)
	s.nanos.Add(int64(took))
	s.recent.add(now, took, failed, gaveUp)
	if weighed {
		s.weighed.add(now, took, failed, gaveUp)
		r.watch(i, now)
	}
}

// watch stops a ramp whose subset does badly. It looks when a call of the subset
// has ended, fifty times a window and once a second at most.
func (r *Route) watch(i int, now time.Time) {
	ramp := r.opts.Ramp
	if ramp == nil || ramp.Stop == nil || i != ramp.Subset || r.stopped.Load() != nil {
		return
	}
	judged := r.judged.Load()
	if now.UnixNano()-judged < int64(min(r.window/50, time.Second)) || !r.judged.CompareAndSwap(judged, now.UnixNano()) {
		return
	}
	own := r.sides[i].weighed.sum(now)
	if own.calls < int64(ramp.Stop.MinCalls) { // the others are looked at only when it matters
		return
	}
	var others tally
	for j := range r.sides {
		if j != i {
			sum := r.sides[j].weighed.sum(now)
			others.add(&sum)
		}
	}
	r.mu.Lock()
	why := ramp.Stop.judge(&own, &others, &r.last)
	r.mu.Unlock()
	if why != "" && r.stopped.CompareAndSwap(nil, &Stopped{At: now, Why: why}) && r.opts.Stopped != nil {
		r.opts.Stopped(r.names[i], why)
	}
}
