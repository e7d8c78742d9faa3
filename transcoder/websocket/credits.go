package websocket

import (
	"context"
	"sync"
)

// credits are how many messages a client is ready to take.
type credits struct {
	mu   sync.Mutex
	left int
	more chan struct{} // holds one when left may have grown
}

// maxCredits bounds what a client can pile up.
const maxCredits = 1 << 30

func newCredits(n int) *credits { return &credits{left: n, more: make(chan struct{}, 1)} }

// add grants n more.
func (c *credits) add(n int) {
	c.mu.Lock()
	c.left = min(c.left+min(n, maxCredits), maxCredits)
	c.mu.Unlock()
	select {
	case c.more <- struct{}{}:
	default: // told already
	}
}

// take takes one, and waits for it; false when ctx ends first. It is for one
// goroutine at a time.
func (c *credits) take(ctx context.Context) bool {
	for {
		c.mu.Lock()
		ok := c.left > 0
		if ok {
			c.left--
		}
		c.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-c.more:
		case <-ctx.Done():
			return false
		}
	}
}
