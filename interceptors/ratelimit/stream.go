package ratelimit

import (
	"sync"
	"time"

	"google.golang.org/grpc"

	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
	"github.com/transomhq/transom/rpc"
)

// stream is a call whose messages are looked at as they come. RecvMsg is the
// client's side; it may run in another goroutine than the handler, and outlive
// it by one receive.
type stream struct {
	grpc.ServerStream
	limiter *Limiter
	method  *method
	full    string
	entered bool // the call's own limits were all asked; receiver's, once it runs

	mu      sync.Mutex
	release func()
	ended   bool
	refused error
}

// perMessage reports whether messages are looked at one by one.
func (s *stream) perMessage() bool {
	if len(s.method.own.perMessage) > 0 || s.method.own.maxBytes > 0 {
		return true
	}
	for _, p := range s.method.plans {
		if p != nil && (len(p.perMessage) > 0 || p.maxBytes > 0) {
			return true
		}
	}
	return false
}

// enter asks the limits of the call: its places, its rates and quotas, or
// both. req is its first message, for those that look at it.
func (s *stream) enter(req any, places, limits bool) error {
	a := s.limiter.attempt(s.Context(), s.full, s.method, req)
	defer s.limiter.done(a)
	if places {
		release, err := s.limiter.occupy(a)
		if err != nil {
			return err
		}
		s.hold(release)
	}
	if limits {
		return s.limiter.take(a)
	}
	return nil
}

// hold keeps release for the call's end, which may have come already.
func (s *stream) hold(release func()) {
	if release == nil {
		return
	}
	s.mu.Lock()
	ended := s.ended
	s.release = release
	s.mu.Unlock()
	if ended {
		release()
	}
}

// end gives back what the call holds.
func (s *stream) end() {
	s.mu.Lock()
	s.ended = true
	release := s.release
	s.mu.Unlock()
	if release != nil {
		release()
	}
}

// refusal returns why a message ended the call: what the handler made of the
// failed receive is not what the client should read.
func (s *stream) refusal() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

func (s *stream) refuse(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = err
	return err
}

// RecvMsg receives the next message that the limits admit.
func (s *stream) RecvMsg(m any) error {
	for {
		if err := s.ServerStream.RecvMsg(m); err != nil {
			return err
		}
		pass, err := s.admit(m)
		if err != nil {
			return s.refuse(err)
		}
		if pass {
			return nil
		}
	}
}

// admit reports whether a message passes; false drops it. It waits where the
// policy says so: nothing is read meanwhile, and flow control slows the sender.
func (s *stream) admit(m any) (bool, error) {
	a := s.limiter.attempt(s.Context(), s.full, s.method, m)
	defer s.limiter.done(a)
	if err := a.bound(m); err != nil {
		return false, err
	}
	if !s.entered {
		s.entered = true
		if err := s.enter(m, s.method.placesRead, s.method.limitsRead); err != nil {
			return false, err
		}
	}
	a.limits = append(a.limits[:0], a.own.perMessage...)
	if a.plan != nil {
		a.limits = append(a.limits, a.plan.perMessage...)
	}
	if len(a.limits) == 0 {
		return true, nil
	}
	for {
		if err := s.limiter.ask(a); err != nil {
			return false, err
		}
		tightest := a.tightest()
		refused := tightest >= 0 && !a.decisions[tightest].Allowed
		if !refused {
			a.count(false)
			return true, nil
		}
		wait, err := a.over(tightest)
		if err != nil || wait == 0 {
			return false, err
		}
		if err := s.pause(wait); err != nil {
			return false, err
		}
	}
}

// over says what becomes of a message that limits refuse: an error ends the
// call, a time delays it, and 0 drops it. The severest limit decides.
func (a *attempt) over(tightest int) (time.Duration, error) {
	drop := false
	for i, d := range a.decisions {
		l := a.limits[i]
		if d.Allowed || l.Shadow {
			continue
		}
		switch {
		case l.excess == policyv1.Excess_EXCESS_DROP:
			drop = true
		case l.excess == policyv1.Excess_EXCESS_DELAY && d.RetryAfter != Never:
		default:
			inc(l.counts.refused)
			a.note("limit", l.Name)
			return 0, exceeded(l, &a.asks[i], d)
		}
	}
	l := a.limits[tightest]
	if drop {
		inc(l.counts.dropped)
		return 0, nil
	}
	inc(l.counts.delayed)
	return max(a.decisions[tightest].RetryAfter, time.Microsecond), nil
}

// pause waits until d has passed or the call has ended.
func (s *stream) pause(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-s.Context().Done():
		return rpc.StatusOf(s.Context().Err()).Err()
	}
}
