package gateway

import (
	"context"
	"io"
	"sync"
	"time"
)

const (
	// bufferSize is how many bytes of access log wait at most.
	bufferSize = 64 << 10
	// bufferDelay is how long a line of access log may wait.
	bufferDelay = 100 * time.Millisecond
)

// buffer writes the access log in large pieces: one system call a call would
// cost as much as the call. What waits is written within bufferDelay, and at
// the end of run. Before run, lines are written at once.
type buffer struct {
	w       io.Writer
	mu      sync.Mutex
	running bool
	waiting []byte
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.running {
		return b.w.Write(p)
	}
	if len(b.waiting)+len(p) > bufferSize {
		b.flush()
	}
	b.waiting = append(b.waiting, p...)
	return len(p), nil
}

// flush writes what waits. A log that cannot be written is nobody's error.
func (b *buffer) flush() {
	if len(b.waiting) > 0 {
		_, _ = b.w.Write(b.waiting)
		b.waiting = b.waiting[:0]
	}
}

// run flushes until ctx is done, and then for the last time.
func (b *buffer) run(ctx context.Context) {
	b.mu.Lock()
	b.running = true
	b.mu.Unlock()
	tick := time.NewTicker(bufferDelay)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		b.mu.Lock()
		b.flush()
		b.running = ctx.Err() == nil
		b.mu.Unlock()
	}
}
