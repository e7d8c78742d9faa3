package envelope

import (
	"io"
	"sync"

	"google.golang.org/grpc/mem"
)

// Batch stands between the goroutine that sends the messages of a stream and
// the client. What is flushed goes out at once; what comes while that is under
// way goes out together, next. So a fast stream costs few writes, and a slow
// one waits for nothing. A client that does not read holds the sender up.
//
// It has a goroutine of its own only while there is something to write; Close
// waits for it. Write and Flush are for one goroutine at a time.
type Batch struct {
	dst   io.Writer
	flush func() error

	mu      sync.Mutex
	change  sync.Cond
	pending *[]byte // not yet taken by drain; nil when idle
	spare   *[]byte // the other buffer, while drain runs
	wanted  bool    // a flush is due
	running bool    // drain runs
	err     error   // why dst takes no more
}

// batchLimit is how many bytes may wait before the sender does.
const batchLimit = 32 << 10

// NewBatch returns a batch that writes to dst and then calls flush.
func NewBatch(dst io.Writer, flush func() error) *Batch {
	b := &Batch{dst: dst, flush: flush}
	b.change.L = &b.mu
	return b
}

// Write takes p over. An error is one that an earlier part met.
func (b *Batch) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.err == nil && b.pending != nil && len(*b.pending) > 0 && len(*b.pending)+len(p) > batchLimit {
		b.start()
		b.change.Wait()
	}
	if b.err != nil {
		return 0, b.err
	}
	if len(p) >= batchLimit {
		return b.through(p)
	}
	if b.pending == nil {
		b.pending = buffer(readSize)
	}
	if need := len(*b.pending) + len(p); need > cap(*b.pending) {
		// One that append would grow fits no size of the pool and is lost to it.
		grown := buffer(need)
		*grown = append(*grown, *b.pending...)
		release(b.pending)
		b.pending = grown
	}
	*b.pending = append(*b.pending, p...)
	return len(p), nil
}

// through writes a large p, uncopied, after all that waits. The caller holds mu.
func (b *Batch) through(p []byte) (n int, err error) {
	if b.pending != nil {
		b.start()
	}
	for b.running {
		b.change.Wait()
	}
	if b.err != nil {
		return 0, b.err
	}
	b.mu.Unlock()
	n, err = b.dst.Write(p)
	b.mu.Lock()
	b.err = err
	return n, err
}

// Flush makes all that was written go out, without waiting for it.
func (b *Batch) Flush() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	b.wanted = true
	b.start()
	return nil
}

// Close waits until all that was flushed is out. What was written since the
// last Flush may be, too. The batch must not be used afterwards.
func (b *Batch) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.running {
		b.change.Wait()
	}
	return b.err
}

// start runs drain unless it runs. The caller holds mu.
func (b *Batch) start() {
	if !b.running {
		b.running = true
		go b.drain()
	}
}

// drain writes until nothing waits.
func (b *Batch) drain() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.err == nil && (b.wanted || b.pending != nil && len(*b.pending) > 0) {
		out := b.pending
		b.pending, b.spare, b.wanted = b.spare, nil, false
		b.mu.Unlock()
		err := b.write(out)
		b.mu.Lock()
		if out != nil {
			*out = (*out)[:0]
			b.spare = out
		}
		b.err = err
		b.change.Broadcast()
	}
	release(b.pending)
	release(b.spare)
	b.pending, b.spare, b.running = nil, nil, false
	b.change.Broadcast()
}

func (b *Batch) write(p *[]byte) error {
	if p != nil && len(*p) > 0 {
		if _, err := b.dst.Write(*p); err != nil {
			return err
		}
	}
	return b.flush()
}

func buffer(size int) *[]byte {
	p := mem.DefaultBufferPool().Get(size)
	*p = (*p)[:0]
	return p
}

func release(p *[]byte) {
	if p != nil {
		mem.DefaultBufferPool().Put(p)
	}
}
