package traffic

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/transomhq/transom/rpc"
)

// callers are as many keys.
func callers(n int) []key {
	keys := make([]key, n)
	for i := range keys {
		keys[i] = key{a: "https://issuer.example", b: fmt.Sprintf("user-%d", i)}
	}
	return keys
}

func weights(w ...float64) func(int) float64 { return func(i int) float64 { return w[i] } }

// A canary at 5 % gets 5 % of 20,000 calls within one point, with and without
// keys, and a key always the same subset.
func TestShare(t *testing.T) {
	names, w := []string{"stable", "canary"}, weights(95, 5)
	for name, key := range map[string]func(i int) key{
		"callers":  func(i int) key { return callers(1)[0].with(i) },
		"nobody":   func(int) key { return key{none: true} },
		"sessions": func(i int) key { return key{a: fmt.Sprintf("%08x", i*2654435761)} },
	} {
		got := 0
		for i := range 20000 {
			k := key(i)
			subset := choose(names, w, k)
			if subset == 1 {
				got++
			}
			if !k.none && choose(names, w, k) != subset {
				t.Fatalf("%s: %v moved without a reason", name, k)
			}
		}
		if share := float64(got) / 20000 * 100; math.Abs(share-5) > 1 {
			t.Errorf("%s: the canary got %.2f %%", name, share)
		}
	}
}

func (k key) with(i int) key { k.b = fmt.Sprintf("user-%d", i); return k }

// A weight that grows moves keys to its subset, and none between the others.
func TestGrowthMovesOneWay(t *testing.T) {
	names, keys := []string{"blue", "green", "canary"}, callers(5000)
	was := make([]int, len(keys))
	for i, k := range keys {
		was[i] = choose(names, weights(60, 40, 0), k)
	}
	for share := 1.0; share <= 100; share++ {
		moved := 0
		for i, k := range keys {
			now := choose(names, weights(60*(100-share)/100, 40*(100-share)/100, share), k)
			if now != was[i] && now != 2 {
				t.Fatalf("at %v %%, %v moved from %s to %s", share, k, names[was[i]], names[now])
			}
			if now == 2 {
				moved++
			}
			was[i] = now
		}
		if got := float64(moved) / float64(len(keys)) * 100; math.Abs(got-share) > 2 {
			t.Errorf("at %v %%, the canary has %.1f %%", share, got)
		}
	}
}

func TestWeightsOfZero(t *testing.T) {
	for _, k := range append(callers(200), key{none: true}) {
		if got := choose([]string{"a", "b"}, weights(0, 1), k); got != 1 {
			t.Fatalf("%v got %d", k, got)
		}
		if got := choose([]string{"a", "b"}, weights(0, 0), k); got != -1 {
			t.Fatalf("%v got %d of nothing", k, got)
		}
	}
}

// Each time belongs to the bucket that begins before it and ends after it.
func TestBuckets(t *testing.T) {
	for range 20000 {
		d := time.Duration(rand.Int64N(1 << rand.IntN(40)))
		b := bucket(d)
		if start(b) > d || b < octave*octavs && start(b+1) <= d {
			t.Fatalf("%s is in bucket %d, from %s to %s", d, b, start(b), start(b+1))
		}
	}
}

func TestQuantile(t *testing.T) {
	var h histogram
	var all []time.Duration
	for range 10000 {
		d := time.Duration(math.Exp(rand.NormFloat64()) * float64(5*time.Millisecond))
		all = append(all, d)
		h.add(d)
	}
	slices.Sort(all)
	for _, q := range []float64{0.01, 0.5, 0.95, 0.99} {
		want, got := all[int(q*float64(len(all)))], h.quantile(q)
		if ratio := float64(got) / float64(want); ratio < 0.88 || ratio > 1.13 {
			t.Errorf("%v: %s, want %s", q, got, want)
		}
	}
	if (&histogram{}).quantile(0.5) != 0 {
		t.Error("of nothing")
	}
}

func TestWindow(t *testing.T) {
	w, now := newWindow(10*time.Second), time.Unix(1790000000, 0)
	for range 20 { // one a second
		w.add(now, time.Millisecond, true, false)
		now = now.Add(time.Second)
	}
	if s := w.sum(now); s.calls != 9 || s.failed != 9 {
		t.Errorf("%d calls in ten seconds", s.calls)
	}
	if s := w.sum(now.Add(time.Hour)); s.calls != 0 || s.took.quantile(0.5) != 0 {
		t.Errorf("%d calls an hour later", s.calls)
	}
	if w.add(now, time.Second, false, true); w.sum(now).calls != 0 {
		t.Error("a call that its client gave up ended")
	}
}

func TestRampGrows(t *testing.T) {
	begin := time.Unix(1790000000, 0)
	r := Ramp{From: 10, To: 50, Over: 4 * time.Minute, Begin: begin}
	stepped := r
	stepped.Steps = 2
	for minutes, want := range map[int][2]float64{-1: {10, 10}, 0: {10, 10}, 1: {20, 10}, 2: {30, 30}, 3: {40, 30}, 4: {50, 50}, 60: {50, 50}} {
		now := begin.Add(time.Duration(minutes) * time.Minute)
		if got := [2]float64{r.at(now), stepped.at(now)}; got != want {
			t.Errorf("after %d minutes: %v, want %v", minutes, got, want)
		}
	}
}

// caller is a context with a principal and metadata.
func caller(subject string, scopes []string, claims map[string]any, md ...string) context.Context {
	call := rpc.NewCall(nil)
	if subject != "" {
		call.SetPrincipal(&rpc.Principal{Subject: subject, Issuer: "us", Scopes: scopes, Claims: claims})
	}
	return rpc.NewContext(metadata.NewIncomingContext(context.Background(), metadata.Pairs(md...)), call)
}

func TestMatches(t *testing.T) {
	r := NewRoute(Options{
		Subsets: []Subset{{Name: "stable", Weight: 1}, {Name: "canary"}, {Name: "next"}},
		Matches: []Match{
			{Subset: 1, Percent: 100, Scope: "beta", Headers: []Header{{Name: "x-canary", Exact: "1"}}},
			{Subset: 2, Percent: 100, Headers: []Header{{Name: "x-next", Prefix: "v3"}, {Name: "x-also"}}},
			{Subset: 2, Percent: 100, Claims: []Claim{{"groups", "staff"}, {"level", "3"}, {"sub", "ann"}}},
			{Subset: 1, Percent: 0, Claims: []Claim{{"sub", "bob"}}},
		},
	})
	staff := map[string]any{"groups": []any{"dev", "staff"}, "level": 3.0}
	for name, c := range map[string]struct {
		ctx  context.Context
		want int
	}{
		"nobody":                       {context.Background(), 0},
		"a tester":                     {caller("ann", []string{"beta"}, nil, "x-canary", "1"), 1},
		"a tester without the header":  {caller("ann", []string{"beta"}, nil), 0},
		"the header without the scope": {caller("ann", nil, nil, "x-canary", "1"), 0},
		"the header without anybody":   {caller("", nil, nil, "x-canary", "1"), 0},
		"another value":                {caller("ann", []string{"beta"}, nil, "x-canary", "11"), 0},
		"a prefix and a presence":      {caller("", nil, nil, "x-next", "v3.1", "x-also", ""), 2},
		"half of them":                 {caller("", nil, nil, "x-next", "v3.1"), 0},
		"claims":                       {caller("ann", nil, staff), 2},
		"claims of another":            {caller("eve", nil, staff), 0},
		"no percent":                   {caller("bob", nil, nil), 0},
	} {
		if got, weighed := r.choose(c.ctx, time.Now()); got != c.want || weighed != (c.want == 0) {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// A percentage of a rule keeps its callers, too.
func TestMatchPercentIsSticky(t *testing.T) {
	r := NewRoute(Options{
		Subsets: []Subset{{Name: "stable", Weight: 1}, {Name: "canary"}}, Sticky: Sticky{Principal: true},
		Matches: []Match{{Subset: 1, Percent: 20}},
	})
	got := 0
	for i := range 5000 {
		ctx := caller(fmt.Sprintf("user-%d", i), nil, nil)
		subset, _ := r.choose(ctx, time.Now())
		if again, _ := r.choose(ctx, time.Now()); again != subset {
			t.Fatal("moved")
		}
		got += subset
	}
	if got < 900 || got > 1100 {
		t.Errorf("%d of 5000", got)
	}
}

func TestStickyKeys(t *testing.T) {
	for _, c := range []struct {
		sticky string
		md     []string
		want   key
	}{
		{"principal", nil, key{a: "us", b: "ann"}},
		{"header:X-Tenant", []string{"x-tenant", "acme"}, key{a: "acme"}},
		{"header:x-tenant", nil, key{none: true}},
		{"cookie:sid", []string{"cookie", "a=b; sid=1=2;c"}, key{a: "1=2"}},
		{"cookie:sid", []string{"cookie", "a=b", "cookie", `sid="q"`}, key{a: "q"}},
		{"cookie:sid", []string{"cookie", "SID=1; xsid=2"}, key{none: true}},
		{"", nil, key{none: true}},
	} {
		sticky := StickyOf(c.sticky)
		ctx := caller("ann", nil, nil, c.md...)
		md, _ := metadata.FromIncomingContext(ctx)
		if got := sticky.key(md, rpc.FromContext(ctx).Principal()); got != c.want {
			t.Errorf("%s of %v: %+v, want %+v", c.sticky, c.md, got, c.want)
		}
	}
	if got := (&Sticky{Principal: true}).key(nil, nil); !got.none {
		t.Error("nobody has a key")
	}
}

// try makes calls through a route whose canary behaves as told, one each
// millisecond of a pretended clock.
func try(r *Route, calls int, canary func() error) {
	handlers := []grpc.UnaryHandler{
		func(context.Context, any) (any, error) { time.Sleep(time.Millisecond); return nil, nil },
		func(context.Context, any) (any, error) { return nil, canary() },
	}
	for range calls {
		_, _ = r.unary(context.Background(), nil, handlers)
	}
}

func rampOf(stop Stop, stopped *[]string) *Route {
	stop.MinCalls, stop.Window = 50, 10*time.Second
	return NewRoute(Options{
		Subsets: []Subset{{Name: "stable", Weight: 1}, {Name: "canary"}},
		Ramp:    &Ramp{Subset: 1, From: 10, To: 10, Stop: &stop},
		Stopped: func(subset, why string) { *stopped = append(*stopped, subset+": "+why) },
	})
}

// A canary that begins to fail is stopped within the window.
func TestStopsOnErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stopped []string
		r := rampOf(Stop{ErrorPoints: 2}, &stopped)
		well := func() error { time.Sleep(time.Millisecond); return nil }
		try(r, 5000, well)
		if len(stopped) > 0 || r.Stats().Ramp.State != "done" {
			t.Fatalf("a canary that does well was stopped: %v, %+v", stopped, r.Stats().Ramp)
		}
		injected := time.Now()
		n := 0
		failing := func() error {
			time.Sleep(time.Millisecond)
			if n++; n%10 == 0 {
				return status.Error(codes.Internal, "bug")
			}
			return nil
		}
		for len(stopped) == 0 && time.Since(injected) < time.Minute {
			try(r, 1, failing)
		}
		if took := time.Since(injected); took > 10*time.Second {
			t.Errorf("stopped after %s", took)
		} else {
			t.Logf("stopped after %s: %v", took, stopped)
		}
		before := r.Stats()
		try(r, 1000, failing)
		after := r.Stats()
		if after.Subsets[1].Calls != before.Subsets[1].Calls || after.Subsets[1].Percent != 0 || after.Ramp.State != "stopped" || len(stopped) != 1 {
			t.Errorf("after the stop: %+v, %v", after, stopped)
		}
	})
}

func TestStopsOnLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stopped []string
		r := rampOf(Stop{LatencyRatio: 2}, &stopped)
		try(r, 5000, func() error { time.Sleep(1500 * time.Microsecond); return nil })
		if len(stopped) > 0 {
			t.Fatal(stopped)
		}
		// Clients that give up on a slow canary show how slow it is.
		try(r, 5000, func() error {
			time.Sleep(10 * time.Millisecond)
			if rand.IntN(2) == 0 {
				return status.Error(codes.Canceled, "gave up")
			}
			return nil
		})
		if len(stopped) != 1 {
			t.Errorf("stopped: %v", stopped)
		}
	})
}

// What clients do wrong stops nothing, nor do calls that a rule chose, and
// after a stop only testers still reach the subset.
func TestWhatStopsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stopped []string
		r := rampOf(Stop{ErrorPoints: 1}, &stopped)
		r.opts.Matches = []Match{
			{Subset: 1, Percent: 100, Headers: []Header{{Name: "x-staff"}}},
			{Subset: 1, Percent: 100, Headers: []Header{{Name: "x-test"}}, Scope: "beta"},
		}
		r.salts = []string{"a", "b"}
		try(r, 5000, func() error { time.Sleep(time.Millisecond); return status.Error(codes.NotFound, "nothing") })
		handlers := []grpc.UnaryHandler{nil, func(context.Context, any) (any, error) {
			time.Sleep(time.Millisecond)
			return nil, status.Error(codes.Internal, "on purpose")
		}}
		staff, tester := caller("ann", nil, nil, "x-staff", "1"), caller("bob", []string{"beta"}, nil, "x-test", "1")
		for range 1000 {
			_, _ = r.unary(staff, nil, handlers)
		}
		if len(stopped) > 0 {
			t.Fatal(stopped)
		}
		try(r, 5000, func() error { time.Sleep(time.Millisecond); return status.Error(codes.Internal, "bug") })
		if len(stopped) != 1 {
			t.Fatalf("stopped: %v", stopped)
		}
		if i, _ := r.choose(staff, time.Now()); i != 0 {
			t.Error("a rule without a scope leads to a subset that was stopped")
		}
		if i, _ := r.choose(tester, time.Now()); i != 1 {
			t.Error("testers do not reach the subset any more")
		}
	})
}

// A subset with nearly all calls is compared with what the others showed before.
func TestBaselineIsRemembered(t *testing.T) {
	s := Stop{ErrorPoints: 2, MinCalls: 100}
	var last baseline
	if why := s.judge(&tally{calls: 200, failed: 22}, &tally{calls: 5000, failed: 500}, &last); why != "" {
		t.Error(why)
	}
	if why := s.judge(&tally{calls: 5000, failed: 550}, &tally{calls: 3}, &last); why != "" {
		t.Error(why)
	}
	want := "20.0 % of 5000 calls failed, of the others 10.0 % of 5000 (allowed: 2 points more)"
	if why := s.judge(&tally{calls: 5000, failed: 1000}, &tally{calls: 3}, &last); why != want {
		t.Error(why)
	}
}

// Among few calls, chance alone makes a subset look worse.
func TestChanceStopsNothing(t *testing.T) {
	s := Stop{ErrorPoints: 2, MinCalls: 100}
	others := &tally{calls: 10000, failed: 300}
	var last baseline
	if why := s.judge(&tally{calls: 100, failed: 6}, others, &last); why != "" {
		t.Error(why)
	}
	if why := s.judge(&tally{calls: 1000, failed: 60}, others, &last); why == "" {
		t.Error("twice the failures of a thousand calls are no chance")
	}
}

// listener is a stream's client that takes whatever comes.
type listener struct {
	grpc.ServerStream
	ctx context.Context
}

func (l listener) Context() context.Context { return l.ctx }
func (listener) SendMsg(any) error          { return nil }

// The latency of a stream is that of its answer's beginning, however long it
// lasts, and it runs until its end.
func TestStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRoute(Options{Subsets: []Subset{{Name: "stable", Weight: 1}}})
		subset := []grpc.StreamHandler{func(_ any, down grpc.ServerStream) error {
			time.Sleep(5 * time.Millisecond)
			if err := down.SendMsg(nil); err != nil {
				return err
			}
			time.Sleep(10 * time.Second)
			return status.Error(codes.Unavailable, "lost")
		}}
		ended := make(chan error)
		go func() {
			ended <- r.stream(nil, &client{ServerStream: listener{ctx: caller("ann", nil, nil)}}, subset)
		}()
		time.Sleep(time.Second)
		if s := r.Stats().Subsets[0]; s.Running != 1 || s.Calls != 0 {
			t.Errorf("while it runs: %+v", s)
		}
		if err := <-ended; status.Code(err) != codes.Unavailable {
			t.Error(err)
		}
		if s := r.Stats().Subsets[0]; s.Running != 0 || s.Calls != 1 || s.Failed != 1 || s.Recent.P95 < 4 || s.Recent.P95 > 6 {
			t.Errorf("at its end: %+v", s)
		}
	})
}
