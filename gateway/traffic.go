package gateway

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/upstream"
	"github.com/transomhq/transom/upstream/traffic"
)

// shaped is where the calls of a method go whose route has a split or a mirror.
type shaped struct {
	route   *traffic.Route
	matches []*configv1.Match
	subsets []upstream.Backend // of a split, in its order
	mirror  *upstream.Backend  // nil: none
}

// sharedRoute is a route's traffic as houses share it: a reload that leaves
// the route as it was goes on with its ramp and counts.
type sharedRoute struct{ *traffic.Route }

// Close has nothing to give back.
func (sharedRoute) Close() {}

// openRoutes opens what is known of the traffic of each route, or takes it over
// from the house before. Routes that neither split nor mirror have none.
func (g *Gateway) openRoutes(routes []route, h *house) (map[*configv1.Route]*traffic.Route, error) {
	open := map[*configv1.Route]*traffic.Route{}
	for _, r := range routes {
		if len(r.config.GetSplit()) == 0 && r.config.GetMirror() == nil {
			continue
		}
		description, err := proto.MarshalOptions{Deterministic: true}.Marshal(r.config)
		if err != nil {
			return nil, fmt.Errorf("route %q: %w", r.selector, err)
		}
		shared, release, err := g.traffic.acquire(string(description), func() (sharedRoute, error) {
			opts, err := trafficOptions(r.config)
			opts.Stopped = func(subset, why string) {
				g.log.Warn("a ramp has stopped itself: the subset gets no more calls by weight", "route", r.config.GetSelector(), "subset", subset, "why", why)
			}
			return sharedRoute{traffic.NewRoute(opts)}, err
		})
		if err != nil {
			return nil, fmt.Errorf("route %q: %w", r.selector, err)
		}
		h.release = append(h.release, release)
		h.routesShaped = append(h.routesShaped, shared.Route)
		open[r.config] = shared.Route
	}
	slices.SortFunc(h.routesShaped, func(a, b *traffic.Route) int { return strings.Compare(a.Name(), b.Name()) })
	return open, nil
}

func trafficOptions(r *configv1.Route) (traffic.Options, error) {
	opts := traffic.Options{Name: r.GetSelector(), Sticky: traffic.StickyOf(r.GetSticky())}
	index := map[string]int{}
	for i, s := range r.GetSplit() {
		index[s.GetName()] = i
		opts.Subsets = append(opts.Subsets, traffic.Subset{Name: s.GetName(), Cluster: s.GetCluster(), Weight: float64(s.GetWeight())})
	}
	for _, m := range r.GetMatches() {
		opts.Matches = append(opts.Matches, matchOf(m, index[m.GetSubset()]))
	}
	if m := r.GetMirror(); m != nil {
		opts.Mirror = &traffic.Mirror{
			Cluster: m.GetCluster(), Percent: m.GetPercent(), MaxRunning: int(m.GetMaxRunning()),
			Timeout: m.GetTimeout().AsDuration(), MaxBytes: int(m.GetMaxBytes()),
		}
	}
	ramp := r.GetRamp()
	if ramp == nil {
		return opts, nil
	}
	opts.Ramp = &traffic.Ramp{
		Subset: index[ramp.GetSubset()], From: ramp.GetFrom(), To: ramp.GetTo(),
		Over: ramp.GetOver().AsDuration(), Steps: int(ramp.GetSteps()),
	}
	var err error
	if begin := ramp.GetBegin(); begin != "" {
		if opts.Ramp.Begin, err = time.Parse(time.RFC3339, begin); err != nil {
			return opts, fmt.Errorf("ramp.begin: %w", err)
		}
	}
	opts.Ramp.Stop, err = stopOf(ramp.GetStop())
	return opts, err
}

func matchOf(m *configv1.Match, subset int) traffic.Match {
	rule := traffic.Match{Subset: subset, Percent: 100, Scope: m.GetScope()}
	if m.Percent != nil {
		rule.Percent = m.GetPercent()
	}
	for _, h := range m.GetHeaders() {
		rule.Headers = append(rule.Headers, traffic.Header{Name: strings.ToLower(h.GetName()), Exact: h.GetExact(), Prefix: h.GetPrefix()})
	}
	for _, c := range m.GetClaims() {
		rule.Claims = append(rule.Claims, traffic.Claim{Name: c.GetName(), Equals: c.GetEquals()})
	}
	return rule
}

func stopOf(s *configv1.Stop) (*traffic.Stop, error) {
	if s == nil {
		return nil, nil
	}
	stop := &traffic.Stop{
		ErrorPoints: s.GetErrorPoints(), LatencyRatio: s.GetLatencyRatio(),
		MinCalls: int(s.GetMinCalls()), Window: s.GetWindow().AsDuration(),
	}
	for _, name := range s.GetCodes() {
		var code codes.Code
		if err := code.UnmarshalJSON([]byte(`"` + name + `"`)); err != nil {
			return nil, fmt.Errorf("ramp.stop.codes: %w", err)
		}
		stop.Codes = append(stop.Codes, code)
	}
	return stop, nil
}

// mirrored reports whether copies of a method's requests may be sent: it
// streams nothing up, and changes nothing, unless the operator says so. That a
// call may be made twice (IDEMPOTENT) does not say that it changes nothing.
func mirrored(m *rpc.Method, mirror *configv1.Mirror) bool {
	return !m.ClientStreams && (mirror.GetMutating() || readsOnly(m))
}

// shapedBy returns where the calls of a method go, given the backend of each
// cluster.
func shapedBy(r *traffic.Route, cfg *configv1.Route, m *rpc.Method, to func(cluster string) upstream.Backend) shaped {
	s := shaped{route: r, matches: cfg.GetMatches()}
	for _, subset := range cfg.GetSplit() {
		s.subsets = append(s.subsets, to(subset.GetCluster()))
	}
	if mirror := cfg.GetMirror(); mirror != nil && mirrored(m, mirror) {
		b := to(mirror.GetCluster())
		b.Retry = upstream.Retry{}
		s.mirror = &b
	}
	return s
}

// adviseMirrors says which methods of mirrored routes are not mirrored.
func adviseMirrors(left map[*configv1.Route][]string) []string {
	var out []string
	for r, names := range left {
		slices.Sort(names)
		shown := strings.Join(names[:min(len(names), 3)], ", ")
		if len(names) > 3 {
			shown += fmt.Sprintf(" and %d more", len(names)-3)
		}
		out = append(out, fmt.Sprintf("route %q: mirror: not mirrored are %s: they stream requests up, or may change something (mirror.mutating)", r.GetSelector(), shown))
	}
	slices.Sort(out)
	return out
}

// trafficHeaders adds the header fields that routes and faults look at to those
// that cross the REST door.
func trafficHeaders(names []string, h *house, cfg *configv1.Config) []string {
	names = slices.Clone(names)
	add := func(name string) {
		if name != "" && !slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) }) {
			names = append(names, name)
		}
	}
	for _, r := range cfg.GetRoutes() {
		sticky := traffic.StickyOf(r.GetSticky())
		add(sticky.Header)
		if sticky.Cookie != "" {
			add("cookie")
		}
		for _, m := range r.GetMatches() {
			for _, header := range m.GetHeaders() {
				add(header.GetName())
			}
		}
	}
	for _, m := range h.schema.Methods {
		add(h.policies.Of(m.Name).Policy.GetFaults().GetHeader())
	}
	return names
}

// dropsOf returns what of a client's metadata never reaches a backend: beside
// its credentials, cookies that are read for their stickiness alone, and what
// only the gateway says.
func dropsOf(h *house, cfg *configv1.Config) func(key string) bool {
	cookie := slices.ContainsFunc(cfg.GetRoutes(), func(r *configv1.Route) bool { return traffic.StickyOf(r.GetSticky()).Cookie != "" }) &&
		!slices.ContainsFunc(cfg.GetHeaders().GetRequest(), func(n string) bool { return strings.EqualFold(n, "cookie") })
	mirror := slices.ContainsFunc(cfg.GetRoutes(), func(r *configv1.Route) bool { return r.GetMirror() != nil })
	if !cookie && !mirror {
		return h.callers.drops
	}
	return func(key string) bool {
		return cookie && key == "cookie" || mirror && strings.ReplaceAll(key, "_", "-") == traffic.MirrorKey || h.callers.drops(key)
	}
}

// shapeOf puts the sharing of calls before the end of the chain. end makes an
// end that leads to one backend.
func (h *house) shapeOf(next traffic.Terminal, end func(upstream.Backend) traffic.Terminal) traffic.Terminal {
	if len(h.backends.shaped) == 0 {
		return next
	}
	shape := traffic.NewShape(next, func(m *rpc.Method) *traffic.Shaped {
		s, ok := h.backends.shaped[m.Name]
		if !ok {
			return nil
		}
		out := &traffic.Shaped{Route: s.route}
		for _, b := range s.subsets {
			out.Subsets = append(out.Subsets, end(b))
		}
		if s.mirror != nil {
			out.Mirror = end(*s.mirror)
		}
		return out
	})
	h.release = slices.Insert(h.release, 0, shape.Close) // before the clusters that copies run on
	return shape
}
