package ratelimit

import (
	"context"
	"hash/maphash"
	"sync"
)

// Places is one compiled concurrency limit.
type Places struct {
	// Name is the limit's public name in answers and metrics.
	Name string
	// Bucket is where its places are counted: limits of one bucket share them.
	Bucket string
	// Limit is how many calls of one key may run at the same time.
	Limit int64
	// Shadow limits count and report, and refuse nothing.
	Shadow bool
}

// PlaceAsk is a call that asks for a place.
type PlaceAsk struct {
	Places *Places
	Key    string
}

// Leases keeps the places of running calls. It is safe for concurrent use.
type Leases interface {
	// Acquire asks for a place in each of asks: all are taken or, when one that
	// is not a shadow is full, none. full says of each ask, in their order,
	// whether it had no place. release gives back what was taken; it is never
	// nil, does not block, and must be called once. An error says that the
	// places cannot be counted; nothing was taken then.
	Acquire(ctx context.Context, asks []PlaceAsk, full []bool) (release func(), err error)
}

// MemoryLeases keeps the places of this process. It holds what runs, and
// nothing else. Its zero value is not ready: use NewMemoryLeases.
type MemoryLeases struct {
	seed   maphash.Seed
	shards [shards]leaseShard
}

type leaseShard struct {
	mu    sync.Mutex
	taken map[entryKey]int64
	_     [48]byte // keep the locks off each other's cache line
}

// NewMemoryLeases returns leases with every place free.
func NewMemoryLeases() *MemoryLeases {
	l := &MemoryLeases{seed: maphash.MakeSeed()}
	for i := range l.shards {
		l.shards[i].taken = map[entryKey]int64{}
	}
	return l
}

// Acquire implements Leases. It never fails.
func (l *MemoryLeases) Acquire(_ context.Context, asks []PlaceAsk, full []bool) (func(), error) {
	taken := make([]entryKey, 0, len(asks))
	refused := false
	for i, a := range asks {
		k := entryKey{a.Places.Bucket, a.Key}
		full[i] = !l.add(k, a.Places.Limit)
		if !full[i] {
			taken = append(taken, k)
		} else if !a.Places.Shadow {
			refused = true
		}
	}
	if refused {
		l.drop(taken)
		return func() {}, nil
	}
	return sync.OnceFunc(func() { l.drop(taken) }), nil
}

func (l *MemoryLeases) shard(k entryKey) *leaseShard {
	return &l.shards[maphash.Comparable(l.seed, k)%shards]
}

func (l *MemoryLeases) add(k entryKey, limit int64) bool {
	s := l.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken[k] >= limit {
		return false
	}
	s.taken[k]++
	return true
}

func (l *MemoryLeases) drop(keys []entryKey) {
	for _, k := range keys {
		s := l.shard(k)
		s.mu.Lock()
		if s.taken[k]--; s.taken[k] <= 0 {
			delete(s.taken, k)
		}
		s.mu.Unlock()
	}
}
