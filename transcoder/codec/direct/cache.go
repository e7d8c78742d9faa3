package direct

import (
	"maps"
	"sync"
	"sync/atomic"
)

// cache remembers what was found by key. Reading takes no lock and no memory;
// it is for things that are found few times and asked for often.
type cache[K comparable, V any] struct {
	mu  sync.Mutex
	all atomic.Pointer[map[K]V]
}

// maxCached bounds what is kept: a type URL can be spelt in many ways.
const maxCached = 1024

func (c *cache[K, V]) view() map[K]V {
	if all := c.all.Load(); all != nil {
		return *all
	}
	return nil
}

// keep stores v unless there is a value already, and returns the value.
func (c *cache[K, V]) keep(k K, v V) V {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.view()
	if had, ok := old[k]; ok || len(old) >= maxCached {
		if ok {
			return had
		}
		return v
	}
	all := maps.Clone(old)
	if all == nil {
		all = map[K]V{}
	}
	all[k] = v
	c.all.Store(&all)
	return v
}
