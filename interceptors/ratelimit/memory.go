package ratelimit

import (
	"context"
	"hash/maphash"
	"math/bits"
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
// is forgotten, and when there are too many keys, of a few the one goes that
// would be forgotten first.
type Memory struct {
	now    func() time.Time
	seed   maphash.Seed
	max    int // entries a shard
	shards [shards]shard
}

type shard struct {
	mu      sync.Mutex
	entries map[entryKey]*entry
	_       [48]byte // keep the locks off each other's cache line
}

type entryKey struct{ bucket, key string }

// entry is what is remembered of one key of one limit.
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

// Take implements Store. It never fails. All shards that the asks touch are
// locked, in their order, so that the asks are one.
func (m *Memory) Take(_ context.Context, asks []Ask, decisions []Decision) error {
	now := m.now()
	var places [MaxLimits]uint8
	var touched uint64
	for i := range asks {
		places[i] = m.place(&asks[i])
		touched |= 1 << places[i]
	}
	for left := touched; left != 0; left &= left - 1 {
		m.shards[bits.TrailingZeros64(left)].mu.Lock()
	}
	defer func() {
		for left := touched; left != 0; left &= left - 1 {
			m.shards[bits.TrailingZeros64(left)].mu.Unlock()
		}
	}()
	var kept [MaxLimits]*entry
	for i := range asks {
		kept[i] = m.shards[places[i]].entries[asks[i].key()]
		_, decisions[i] = kept[i].take(&asks[i], now)
	}
	take := admitted(asks, decisions)
	for i := range asks {
		switch {
		case take && decisions[i].Allowed:
			next, _ := kept[i].take(&asks[i], now)
			m.keep(places[i], &asks[i], kept[i], next, now)
		case decisions[i].Allowed: // another one refused: nothing was taken
			_, decisions[i] = kept[i].take(&Ask{Limit: asks[i].Limit}, now)
		}
	}
	return nil
}

func (a *Ask) key() entryKey { return entryKey{a.Limit.Bucket, a.Key} }

func (m *Memory) place(a *Ask) uint8 {
	return uint8(maphash.Comparable(m.seed, a.key()) % shards)
}

// take returns what e becomes and the decision. A nil entry is one that
// nobody has asked yet.
func (e *entry) take(a *Ask, now time.Time) (entry, Decision) {
	var next entry
	if e != nil {
		next = *e
	}
	var d Decision
	if a.Limit.Rate != nil {
		next.tat, d = a.Limit.Rate.Take(next.tat, now.UnixNano(), a.Cost)
		next.expires = next.tat
		return next, d
	}
	q := a.Limit.Quota
	next.usage, d = q.Take(next.usage, now, a.Cost)
	next.expires = q.forgotten(now).UnixNano()
	return next, d
}

func (m *Memory) keep(place uint8, a *Ask, e *entry, next entry, now time.Time) {
	if e == nil {
		s := &m.shards[place]
		s.makeRoom(now.UnixNano(), m.max)
		e = new(entry)
		s.entries[a.key()] = e
	}
	*e = next
}

// makeRoom looks at a few entries, which a map gives in random order, and
// drops those that have expired, or when the shard is full the one of them
// that expires first.
func (s *shard) makeRoom(now int64, limit int) {
	looked := 0
	var first entryKey
	earliest := int64(0)
	for k, e := range s.entries {
		if e.expires <= now {
			delete(s.entries, k)
		} else if earliest == 0 || e.expires < earliest {
			first, earliest = k, e.expires
		}
		if looked++; looked == sweep {
			break
		}
	}
	if len(s.entries) >= limit {
		delete(s.entries, first)
	}
}
