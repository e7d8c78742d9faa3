package ratelimit

import (
	"context"
	"log/slog"

	"google.golang.org/grpc"

	"github.com/transomhq/transom/rpc"
)

// attempt is one call, or one message of a stream, before its limits. It is
// used again: the slices keep their memory.
type attempt struct {
	caller    caller
	own, plan *set
	limits    []*limit
	asks      []Ask
	decisions []Decision
}

// attempt returns an attempt at m; done gives it back.
func (l *Limiter) attempt(ctx context.Context, full string, m *method, req any) *attempt {
	a := l.attempts.Get().(*attempt)
	a.caller = newCaller(ctx, full, req)
	a.own = m.own
	if i := l.plan(a.caller.principal); i >= 0 {
		a.plan = m.plans[i]
	}
	return a
}

func (l *Limiter) done(a *attempt) {
	a.caller, a.plan = caller{}, nil // the call is not kept alive; keys and limits may be
	l.attempts.Put(a)
}

// enter asks everything that limits a call at its start. release, which is nil
// without concurrency limits, gives its places back at its end.
func (l *Limiter) enter(a *attempt) (release func(), err error) {
	if release, err = l.occupy(a); err != nil {
		return nil, err
	}
	if err = l.take(a); err != nil && release != nil {
		release()
		release = nil
	}
	return release, err
}

// occupy takes the call's places.
func (l *Limiter) occupy(a *attempt) (func(), error) {
	n := len(a.own.concurrency)
	if a.plan != nil {
		n += len(a.plan.concurrency)
	}
	if n == 0 {
		return nil, nil
	}
	all := append(make([]*places, 0, n), a.own.concurrency...)
	if a.plan != nil {
		all = append(all, a.plan.concurrency...)
	}
	asks, full := make([]PlaceAsk, n), make([]bool, n)
	for i, p := range all {
		k, err := p.key.value(&a.caller)
		if err != nil {
			return nil, err
		}
		asks[i] = PlaceAsk{&p.Places, k}
	}
	release, err := l.leases.Acquire(a.caller.ctx, asks, full)
	if err != nil {
		return nil, uncounted(a.caller.ctx, err)
	}
	for i, p := range all {
		switch {
		case !full[i]:
			inc(p.counts.allowed)
		case p.Shadow:
			inc(p.counts.shadow)
			a.note("limit_shadow", p.Name)
		default:
			inc(p.counts.refused)
			a.note("limit", p.Name)
			_ = grpc.SetHeader(a.caller.ctx, retryHeader(busyRetry)) // without a transport there is nobody to tell
			release()
			return nil, noPlace(&p.Places, asks[i].Key)
		}
	}
	return release, nil
}

// take asks the call's rates and quotas, and tells the client what is left.
func (l *Limiter) take(a *attempt) error {
	a.limits = append(a.limits[:0], a.own.limits...)
	if a.plan != nil {
		a.limits = append(a.limits, a.plan.limits...)
	}
	if len(a.limits) == 0 {
		return nil
	}
	if err := l.ask(a); err != nil {
		return err
	}
	tightest := a.tightest()
	refused := tightest >= 0 && !a.decisions[tightest].Allowed
	a.count(refused)
	for i, d := range a.decisions {
		if !d.Allowed && a.limits[i].Shadow {
			a.note("limit_shadow", a.limits[i].Name)
		}
	}
	if tightest >= 0 {
		_ = grpc.SetHeader(a.caller.ctx, a.header(tightest)) // without a transport there is nobody to tell
	}
	if refused {
		a.note("limit", a.limits[tightest].Name)
		return exceeded(a.limits[tightest], &a.asks[tightest], a.decisions[tightest])
	}
	return nil
}

// ask asks the store about a.limits.
func (l *Limiter) ask(a *attempt) error {
	a.asks = a.asks[:0]
	for _, lim := range a.limits {
		k, err := lim.key.value(&a.caller)
		if err != nil {
			return err
		}
		units, err := lim.cost.of(&a.caller)
		if err != nil {
			return err
		}
		a.asks = append(a.asks, Ask{&lim.Limit, k, units})
	}
	if cap(a.decisions) < len(a.asks) {
		a.decisions = make([]Decision, len(a.asks))
	}
	a.decisions = a.decisions[:len(a.asks)]
	clear(a.decisions)
	if err := l.store.Take(a.caller.ctx, a.asks, a.decisions); err != nil {
		return uncounted(a.caller.ctx, err)
	}
	return nil
}

// tightest returns the index of the limit that answers: of those that refuse
// the one that refuses longest, else the one with the least left; -1 where
// every limit is a shadow or unknown.
func (a *attempt) tightest() int {
	best := -1
	for i, d := range a.decisions {
		if a.limits[i].Shadow || d.Unknown {
			continue
		}
		if best < 0 || d.tighter(&a.decisions[best]) {
			best = i
		}
	}
	return best
}

// tighter reports whether d bounds a caller more than other does.
func (d *Decision) tighter(other *Decision) bool {
	switch {
	case d.Allowed != other.Allowed:
		return !d.Allowed
	case !d.Allowed && (d.RetryAfter == Never || other.RetryAfter == Never):
		return d.RetryAfter == Never && other.RetryAfter != Never
	case !d.Allowed:
		return d.RetryAfter > other.RetryAfter
	case d.Remaining != other.Remaining:
		return d.Remaining < other.Remaining
	}
	return d.ResetAfter > other.ResetAfter
}

// count counts the decisions. What a refused call did not take is not counted
// as allowed.
func (a *attempt) count(refused bool) {
	for i, d := range a.decisions {
		l := a.limits[i]
		switch {
		case d.Unknown:
			inc(l.counts.unknown)
		case !d.Allowed && l.Shadow:
			inc(l.counts.shadow)
		case !d.Allowed:
			inc(l.counts.refused)
		case !refused:
			inc(l.counts.allowed)
		}
	}
}

// note writes the name of a limit that was hit into the call's record.
func (a *attempt) note(what, name string) {
	if a.caller.call != nil {
		a.caller.call.Update(func(o *rpc.Outcome) { o.Attrs = append(o.Attrs, slog.String(what, name)) })
	}
}
