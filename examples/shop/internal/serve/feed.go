package serve

import "sync"

// Feed numbers events from 1 and keeps the last ones, for readers who come
// late or come back. Its methods may be called from any goroutine.
type Feed[E any] struct {
	mu     sync.Mutex
	last   uint64        // the number of the newest event
	kept   []E           // the newest events, the last one at the end
	keep   int           // how many are kept
	change chan struct{} // closed at the next event
}

// NewFeed returns a feed that keeps the newest keep events.
func NewFeed[E any](keep int) *Feed[E] {
	return &Feed[E]{keep: keep, change: make(chan struct{})}
}

// Add gives the event made by event its number.
func (f *Feed[E]) Add(event func(sequence uint64) E) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	f.kept = append(f.kept, event(f.last))
	if len(f.kept) > f.keep {
		f.kept = append(f.kept[:0:0], f.kept[len(f.kept)-f.keep:]...)
	}
	close(f.change)
	f.change = make(chan struct{})
}

// Last returns the number of the newest event, 0 if there is none.
func (f *Feed[E]) Last() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// After returns the kept events after number n, and a channel that is closed
// when there are more. ok is false if events after n are no longer kept, or n
// is still to come.
func (f *Feed[E]) After(n uint64) (events []E, more <-chan struct{}, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n > f.last || f.last-n > uint64(len(f.kept)) {
		return nil, nil, false
	}
	missing := int(f.last - n)
	return append(events, f.kept[len(f.kept)-missing:]...), f.change, true
}
