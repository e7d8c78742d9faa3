package upstream

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Ejection says when an endpoint that fails is left alone. The zero value
// never ejects.
type Ejection struct {
	// Failures in a row eject an endpoint; 0 never does. Failures are broken
	// connections, missed per-try timeouts, and the codes UNAVAILABLE,
	// INTERNAL, UNKNOWN and DATA_LOSS; what a client does wrong is none.
	Failures int
	// Base is how long it is left alone at first; each time that it fails again
	// at once doubles that, up to Max. 0 means 5 s and 1 min.
	Base, Max time.Duration
	// MaxPercent is how many of the endpoints may be ejected at once; 0 means
	// 50. The last one never is.
	MaxPercent int
}

func (e Ejection) withDefaults() Ejection {
	if e.Base <= 0 {
		e.Base = 5 * time.Second
	}
	if e.Max <= 0 {
		e.Max = max(time.Minute, e.Base)
	}
	if e.MaxPercent <= 0 {
		e.MaxPercent = 50
	}
	return e
}

// pool is what a cluster knows of its endpoints, over all of its connections.
type pool struct {
	ejection Ejection

	mu  sync.Mutex
	all map[string]*endpoint // by address

	usable atomic.Int64 // connected ones
	out    atomic.Int64 // ejected or unhealthy ones; 0 lets a pick look no further
}

func newPool(e Ejection) *pool {
	return &pool{ejection: e.withDefaults(), all: map[string]*endpoint{}}
}

// endpoint is one address of a cluster.
type endpoint struct {
	addr string

	connections atomic.Int64 // ready ones
	running     atomic.Int64 // calls
	calls       atomic.Int64
	failures    atomic.Int64
	ejections   atomic.Int64
	row         atomic.Int64 // failures since the last success

	until  atomic.Int64 // ejected until then, in nanoseconds; 0: not ejected
	trial  atomic.Bool  // after that time, one call tries it at a time
	sick   atomic.Bool  // an active health check says so
	wanted int          // how many connections name it; guarded by the pool
	times  int          // ejections without a success between; guarded by the pool
}

// hold returns the endpoint of addr for a connection that names it.
func (p *pool) hold(addr string) *endpoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.all[addr]
	if e == nil {
		e = &endpoint{addr: addr}
		p.all[addr] = e
	}
	e.wanted++
	return e
}

// drop undoes hold. What the last connection drops is forgotten.
func (p *pool) drop(e *endpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.wanted--; e.wanted > 0 {
		return
	}
	delete(p.all, e.addr)
	if e.until.Swap(0) != 0 {
		p.out.Add(-1)
	}
	if e.sick.Swap(false) {
		p.out.Add(-1)
	}
}

// connected counts a ready connection of e in (1) or out (-1).
func (p *pool) connected(e *endpoint, by int64) {
	switch n := e.connections.Add(by); {
	case by > 0 && n == 1:
		p.usable.Add(1)
	case by < 0 && n == 0:
		p.usable.Add(-1)
	}
}

// takes reports whether e may be given a call now. One whose ejection is over
// is given single calls until one succeeds.
func (e *endpoint) takes(now time.Time) bool {
	if e.sick.Load() {
		return false
	}
	until := e.until.Load()
	return until == 0 || now.UnixNano() >= until && e.trial.CompareAndSwap(false, true)
}

// succeeded notes an answer that shows e to work.
func (p *pool) succeeded(e *endpoint) {
	if e.row.Load() != 0 {
		e.row.Store(0)
	}
	// Calls that began before the ejection do not lift it.
	if until := e.until.Load(); until == 0 || time.Now().UnixNano() < until {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.until.Swap(0) != 0 {
		e.times = 0
		p.out.Add(-1)
	}
	e.trial.Store(false)
}

// failed notes a failure, which may eject e.
func (p *pool) failed(e *endpoint) {
	e.failures.Add(1)
	row, limit := e.row.Add(1), int64(p.ejection.Failures)
	if limit == 0 || row < limit && !e.trial.Load() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	was := e.until.Load()
	if was > now.UnixNano() || e.wanted == 0 || was == 0 && !p.mayEject() {
		return
	}
	stay := p.ejection.Base
	for range min(e.times, 20) {
		stay = min(2*stay, p.ejection.Max)
	}
	e.times++
	e.ejections.Add(1)
	if was == 0 {
		p.out.Add(1)
	}
	e.until.Store(now.Add(stay).UnixNano())
	e.trial.Store(false)
}

// mayEject reports whether one more endpoint may be ejected: some stays.
func (p *pool) mayEject() bool {
	ejected := 1
	for _, e := range p.all {
		if e.until.Load() != 0 {
			ejected++
		}
	}
	return len(p.all) > 1 && ejected < len(p.all) && (ejected == 1 || ejected*100 <= len(p.all)*p.ejection.MaxPercent)
}

// health notes what an active check found.
func (p *pool) health(e *endpoint, healthy bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.wanted == 0 || e.sick.Swap(!healthy) == !healthy {
		return
	}
	if healthy {
		p.out.Add(-1)
	} else {
		p.out.Add(1)
	}
}

// list returns the endpoints by address.
func (p *pool) list() []*endpoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]*endpoint, 0, len(p.all))
	for _, e := range p.all {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *endpoint) int { return strings.Compare(a.addr, b.addr) })
	return all
}
