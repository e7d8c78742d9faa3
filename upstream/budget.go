package upstream

import (
	"sync"
	"sync/atomic"
	"time"
)

// budgetWindow is half of the time over which a budget counts.
const budgetWindow = 5 * time.Second

// Budget bounds how many retries a cluster gets beside its calls: when all of
// its backends fail, retries must not multiply the load that keeps them down.
// It counts over the last five to ten seconds. The zero value allows none.
type Budget struct {
	percent int64
	least   int64

	calls   atomic.Int64 // of the running window
	started atomic.Int64 // when it began, in nanoseconds

	mu         sync.Mutex
	before     int64 // calls of the window before
	retries    int64 // of the running window
	retriesOld int64 // of the window before
}

// NewBudget returns a budget of percent retries for each 100 calls, and of
// least retries in any ten seconds however few the calls are.
func NewBudget(percent, least int) *Budget {
	return &Budget{percent: int64(percent), least: int64(least)}
}

// call counts a call, not its retries.
func (b *Budget) call(now time.Time) {
	if now.UnixNano()-b.started.Load() > int64(budgetWindow) {
		b.mu.Lock()
		b.turn(now)
		b.mu.Unlock()
	}
	b.calls.Add(1)
}

// take reports whether one more retry is within the budget, and counts it.
func (b *Budget) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn(now)
	calls, retries := b.before+b.calls.Load(), b.retriesOld+b.retries
	if retries >= b.least && (retries+1)*100 > calls*b.percent {
		return false
	}
	b.retries++
	return true
}

// turn begins a new window when the running one is over.
func (b *Budget) turn(now time.Time) {
	age := now.UnixNano() - b.started.Load()
	if age <= int64(budgetWindow) {
		return
	}
	b.before, b.retriesOld = b.calls.Swap(0), b.retries
	if age > int64(2*budgetWindow) { // nobody called for a whole window
		b.before, b.retriesOld = 0, 0
	}
	b.retries = 0
	b.started.Store(now.UnixNano())
}
