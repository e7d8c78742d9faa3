package ratelimit

import (
	"context"
	"hash/maphash"
	"sync"
	"time"
)

const (
	shards = 64
	// DefaultMaxKeys is how many keys a memory store remembers.
	DefaultMaxKeys = 1 << 20
	// sweep is how many entries each new key looks at to drop what has expired.
	sweep = 4
)

// Memory is a store in this process. Its size is bounded: what has flowed back
// is forgotten,
// and when there are too many keys, a random one goes.
type Memory struct {
	now    func() time.Time
	seed   maphash.Seed
	max    int // entries a shard
	shards [shards]shard
}

type shard struct {
	mu      sync.Mutex
	entries map[entryKey]*entry
	_       [32]byte // keep the locks off each other's cache line
}

type entryKey struct{ limit, key string }

type entry struct {
	tat     int64 // a rate's theoretical arrival time, nanoseconds
	usage   Usage // a quota's count
	expires int64 // when nothing is left to remember, nanoseconds
}

// NewMemory returns a store for up to maxKeys keys (0: DefaultMaxKeys).
func NewMemory(maxKeys int) *Memory {
	if maxKeys <= 0 {
		maxKeys = DefaultMaxKeys
	}
	m := &Memory{now: time.Now, seed: maphash.MakeSeed(), max: max(maxKeys/shards, 1)}
	for i := range m.shards {
		m.shards[i].entries = map[entryKey]*entry{}
	}
	return m
}

// Take implements Store. It never fails.
func (m *Memory) Take(_ context.Context, asks []Ask, decisions []Decision) error {
	now := m.now()
	for i, a := range asks {
		decisions[i] = m.take(a, now)
		if !decisions[i].Allowed {
			m.undo(asks[:i], now)
			m.peek(asks[i+1:], decisions[i+1:], now)
			return nil
		}
	}
	return nil
}

func (m *Memory) shard(k entryKey) *shard {
	var h maphash.Hash
	h.SetSeed(m.seed)
	h.WriteString(k.limit)
	h.WriteByte(0)
	h.WriteString(k.key)
	return &m.shards[h.Sum64()%shards]
}

func (m *Memory) take(a Ask, now time.Time) Decision {
	k := entryKey{a.Limit.Name, a.Key}
	s := m.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[k]
	if e == nil {
		s.makeRoom(now.UnixNano(), m.max)
		e = &entry{}
		s.entries[k] = e
	}
	return e.take(a, now)
}

func (e *entry) take(a Ask, now time.Time) Decision {
	var d Decision
	if a.Limit.Rate != nil {
		e.tat, d = a.Limit.Rate.Take(e.tat, now.UnixNano(), a.Cost)
		e.expires = max(e.tat, now.UnixNano())
		return d
	}
	e.usage, d = a.Limit.Quota.Take(e.usage, now, a.Cost)
	_, end := a.Limit.Quota.Period.Bounds(now)
	if a.Limit.Quota.Rolling { // it counts through the next window
		_, end = a.Limit.Quota.Period.Bounds(end)
	}
	e.expires = end.UnixNano()
	return d
}

// undo gives back what asks took: another limit refused the call.
func (m *Memory) undo(asks []Ask, now time.Time) {
	for _, a := range asks {
		k := entryKey{a.Limit.Name, a.Key}
		s := m.shard(k)
		s.mu.Lock()
		if e := s.entries[k]; e != nil {
			if a.Limit.Rate != nil {
				e.tat -= int64(a.Limit.Rate.interval(a.Cost))
			} else if start, _ := a.Limit.Quota.Period.Bounds(now); start.Unix() == e.usage.Start {
				e.usage.Current -= a.Cost
			}
		}
		s.mu.Unlock()
	}
}

// peek says what the remaining limits would have answered, and takes nothing.
func (m *Memory) peek(asks []Ask, decisions []Decision, now time.Time) {
	for i, a := range asks {
		k := entryKey{a.Limit.Name, a.Key}
		s := m.shard(k)
		s.mu.Lock()
		var e entry
		if kept := s.entries[k]; kept != nil {
			e = *kept
		}
		s.mu.Unlock()
		decisions[i] = e.take(a, now)
		if decisions[i].Allowed {
			decisions[i].Remaining += a.Cost
		}
	}
}

// makeRoom looks at a few entries, which a map gives in random order, and
// drops those that have expired, or any when the shard is full.
func (s *shard) makeRoom(now int64, limit int) {
	looked := 0
	for k, e := range s.entries {
		if e.expires <= now || len(s.entries) >= limit {
			delete(s.entries, k)
		}
		if looked++; looked == sweep {
			return
		}
	}
}
