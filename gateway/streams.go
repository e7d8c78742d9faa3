package gateway

import (
	"errors"
	"fmt"

	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
	"github.com/transomhq/transom/interceptors"
	"github.com/transomhq/transom/interceptors/policy"
	"github.com/transomhq/transom/interceptors/streams"
	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/upstream"
	"github.com/transomhq/transom/upstream/traffic"
)

// buildStreams reads how long calls that last may last, and what becomes of
// slow clients.
func buildStreams(methods []*rpc.Method, policies *policy.Set, ending *streams.Ending) interceptors.Interceptor {
	rules := map[string]streams.Rules{}
	for _, m := range methods {
		p := policies.Of(m.Name).Policy.GetStreams()
		if m.Unary() || p == nil {
			continue
		}
		rules[m.Name] = streams.Rules{
			Idle: p.GetIdleTimeout().AsDuration(), MaxAge: p.GetMaxAge().AsDuration(),
			FirstMessage: p.GetFirstMessageTimeout().AsDuration(), Slow: slowOf(p.GetSlowConsumer()),
			Reopens: p.GetCursor() != nil || p.GetMaxAge() != nil,
		}
	}
	opts := streams.Options{Rules: func(method string) streams.Rules { return rules[method] }, Ending: ending}
	return interceptors.Interceptor{
		Stream:  streams.Stream(opts),
		Applies: func(m *rpc.Method) bool { return !rules[m.Name].IsZero() },
	}
}

// endStreams ends the streams that can be opened again elsewhere, spread over
// half of the time that a drain may take.
func (g *Gateway) endStreams() { g.ending.Begin(g.config().GetDrain().GetTimeout().AsDuration() / 2) }

func slowOf(s policyv1.SlowConsumer) streams.Slow {
	switch s {
	case policyv1.SlowConsumer_SLOW_CONSUMER_DROP_OLDEST:
		return streams.DropOldest
	case policyv1.SlowConsumer_SLOW_CONSUMER_CLOSE:
		return streams.Close
	case policyv1.SlowConsumer_SLOW_CONSUMER_UNSPECIFIED, policyv1.SlowConsumer_SLOW_CONSUMER_BLOCK:
	}
	return streams.Block
}

// buildEnd returns the end of the chain: relays, before which streams that lose
// their backend are reopened, and calls are shared between subsets.
func (h *house) buildEnd(methods []*rpc.Method, drop func(key string) bool) (traffic.Terminal, error) {
	cursors := map[*rpc.Method]*rpc.Cursor{}
	var errs []error
	for _, m := range methods {
		c, err := cursorOf(m, h.policies)
		errs = append(errs, err)
		if c != nil {
			cursors[m] = c
		}
	}
	relay := func(backend func(*rpc.Method) (upstream.Backend, bool)) traffic.Terminal {
		return &upstream.Resume{Next: &upstream.Relay{Backend: backend, Drop: drop}, Cursor: func(m *rpc.Method) *rpc.Cursor { return cursors[m] }}
	}
	one := func(b upstream.Backend) traffic.Terminal {
		return relay(func(*rpc.Method) (upstream.Backend, bool) { return b, true })
	}
	return h.shapeOf(relay(h.backends.of), one), errors.Join(errs...)
}

// cursorOf returns where a method's streams resume from, nil where nothing
// says so.
func cursorOf(m *rpc.Method, policies *policy.Set) (*rpc.Cursor, error) {
	e := policies.Of(m.Name)
	c := e.Policy.GetStreams().GetCursor()
	if c == nil || !m.ServerStreams {
		return nil, nil
	}
	cursor, err := rpc.NewCursor(m, c.GetEventField(), c.GetRequestField())
	if err != nil {
		return nil, fmt.Errorf("%s: policy \"streams\" of %s: %w", e.Origins["streams"].Text, m.Selector(), err)
	}
	return cursor, nil
}

// shareIgnored says of which stream policies a part has no effect.
func shareIgnored(methods []*rpc.Method, policies *policy.Set) []string {
	var out []string
	for _, m := range methods {
		e := policies.Of(m.Name)
		if e.Policy.GetStreams().GetShare() != nil && !m.Unary() {
			out = append(out, fmt.Sprintf("%s: policy \"streams\": \"share\" has no effect in this version: each call of %s has a stream of its own", e.Origins["streams"].Text, m.Selector()))
		}
	}
	return out
}
