package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// SharedOptions configure Shared.
type SharedOptions struct {
	// Store and Leases are those that other processes share.
	Store  Store
	Leases Leases
	// Local and LocalLeases count while the shared ones cannot be asked.
	Local       *Memory
	LocalLeases *MemoryLeases
	// Timeout is how long a call waits for an answer; 0: 10 ms.
	Timeout time.Duration
	Metrics *Metrics
}

// Shared is a store that may fail: it bounds how long a call waits, leaves a
// failing store alone for a while, and does then what each limit says.
type Shared struct {
	opts    SharedOptions
	breaker breaker
}

var (
	_ Store  = (*Shared)(nil)
	_ Leases = (*Shared)(nil)
)

// NewShared returns a Shared.
func NewShared(opts SharedOptions) *Shared {
	if opts.Timeout == 0 {
		opts.Timeout = 10 * time.Millisecond
	}
	return &Shared{opts: opts}
}

var (
	errCircuitOpen = errors.New("the shared store failed before, and is left alone for a while")
	errClosed      = errors.New("a limit fails closed")
)

// Take implements Store. Its errors are those of limits that fail closed, and
// of callers that went away.
func (s *Shared) Take(ctx context.Context, asks []Ask, decisions []Decision) error {
	err := s.try(ctx, func(ctx context.Context) error { return s.opts.Store.Take(ctx, asks, decisions) })
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return s.fallBack(ctx, asks, decisions, err)
}

// fallBack does what each limit says for want of the shared store.
func (s *Shared) fallBack(ctx context.Context, asks []Ask, decisions []Decision, cause error) error {
	local := make([]Ask, 0, len(asks))
	for i, a := range asks {
		switch {
		case a.Limit.Failure == FailLocal:
			local = append(local, a)
		case a.Limit.Failure == FailClosed && !a.Limit.Shadow:
			return fmt.Errorf("%w: %q: %w", errClosed, a.Limit.Name, cause)
		default:
			decisions[i] = Decision{Allowed: true, Unknown: true}
		}
	}
	answers := make([]Decision, len(local))
	if err := s.opts.Local.Take(ctx, local, answers); err != nil {
		return err
	}
	for i, a := range asks {
		if a.Limit.Failure == FailLocal {
			decisions[i], answers = answers[0], answers[1:]
		}
	}
	return nil
}

// Acquire implements Leases. Without the shared ones, places are counted in
// this process. It fails only when the caller went away.
func (s *Shared) Acquire(ctx context.Context, asks []PlaceAsk, full []bool) (func(), error) {
	var release func()
	err := s.try(ctx, func(ctx context.Context) (err error) {
		release, err = s.opts.Leases.Acquire(ctx, asks, full)
		return err
	})
	switch {
	case err == nil:
		return release, nil
	case ctx.Err() != nil:
		return func() {}, ctx.Err()
	}
	clear(full)
	return s.opts.LocalLeases.Acquire(ctx, asks, full)
}

// try asks the shared store, if its circuit is closed.
func (s *Shared) try(ctx context.Context, ask func(context.Context) error) error {
	if !s.breaker.allow(time.Now()) {
		s.opts.Metrics.asked("skipped")
		return errCircuitOpen
	}
	bounded, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	err := ask(bounded)
	cancel()
	switch {
	case err == nil:
		s.opts.Metrics.asked("ok")
		if s.breaker.succeeded() {
			s.opts.Metrics.circuit(false)
		}
	case ctx.Err() != nil: // the caller's doing says nothing about the store
		s.breaker.forgiven()
	default:
		s.opts.Metrics.asked("failed")
		if s.breaker.failed(time.Now()) {
			s.opts.Metrics.circuit(true)
		}
	}
	return err
}

const (
	// breakAfter is how many failures in a row open the circuit.
	breakAfter = 5
	// retryAfter is how long the store is left alone then.
	retryAfter = 500 * time.Millisecond
)

// breaker is a circuit breaker. While it is open, one caller at a time probes.
type breaker struct {
	mu       sync.Mutex
	failures int
	until    time.Time // when the next probe may go, while open
}

// allow reports whether the store may be asked at now.
func (b *breaker) allow(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < breakAfter {
		return true
	}
	if now.Before(b.until) {
		return false
	}
	b.until = now.Add(retryAfter) // this caller probes, the others wait for what it finds
	return true
}

// succeeded notes an answer, and reports whether that closed the circuit.
func (b *breaker) succeeded() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	open := b.failures >= breakAfter
	b.failures = 0
	return open
}

// failed notes a failure, and reports whether that opened the circuit.
func (b *breaker) failed(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures++
	b.until = now.Add(retryAfter)
	return b.failures == breakAfter
}

// forgiven lets the next caller probe: this one found out nothing.
func (b *breaker) forgiven() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.until = time.Time{}
}
