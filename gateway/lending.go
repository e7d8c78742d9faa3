package gateway

import "sync"

// lending keeps parts that houses share: one whose description did not change
// is handed to the next house as it is. The last house that gives a part back
// closes it.
type lending[T interface{ Close() }] struct {
	mu  sync.Mutex
	all map[string]*lent[T] // by description
}

type lent[T any] struct {
	part T
	refs int
}

// acquire returns the part of a description, opened if no house has it, and
// the function that gives it back.
func (l *lending[T]) acquire(description string, open func() (T, error)) (part T, release func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.all[description]
	if one == nil {
		one = &lent[T]{}
		if one.part, err = open(); err != nil {
			return part, nil, err
		}
		if l.all == nil {
			l.all = map[string]*lent[T]{}
		}
		l.all[description] = one
	}
	one.refs++
	return one.part, sync.OnceFunc(func() { l.release(description) }), nil
}

func (l *lending[T]) release(description string) {
	l.mu.Lock()
	one := l.all[description]
	one.refs--
	last := one.refs == 0
	if last {
		delete(l.all, description)
	}
	l.mu.Unlock()
	if last {
		one.part.Close()
	}
}
