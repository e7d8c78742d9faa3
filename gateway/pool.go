package gateway

import (
	"sync"

	"github.com/transomhq/transom/rpc"
)

// matchPool keeps the memory of matches between requests.
type matchPool struct{ pool sync.Pool }

var matches matchPool //nolint:gochecknoglobals // a pool of memory without content

func (p *matchPool) get() *rpc.Match {
	if m, ok := p.pool.Get().(*rpc.Match); ok {
		return m
	}
	return &rpc.Match{Values: make([]string, 0, 8)}
}

func (p *matchPool) put(m *rpc.Match) {
	m.Reset()
	p.pool.Put(m)
}
