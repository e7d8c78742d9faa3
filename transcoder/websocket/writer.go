package websocket

import (
	"context"
	"io"
	"net"
	"sync"

	"github.com/transomhq/transom/transcoder/websocket/frame"
)

// writer sends frames. What comes while others are under way goes out together
// with the next, so that a fast stream costs few writes and a slow one waits
// for nothing. A client that does not read holds up who sends messages, until
// their context ends; control frames never wait.
//
// It has a goroutine of its own only while there is something to write.
type writer struct {
	dst  io.Writer
	pool *sync.Pool // of *[]byte

	mu      sync.Mutex
	pending *[]byte // waits to be written; nil when nothing does
	running bool
	closed  bool          // nothing more is taken
	err     error         // why dst takes no more
	room    chan struct{} // closed when pending was taken; nil while nobody waits
	idle    chan struct{} // closed when nothing is left; nil while nobody waits
}

const (
	writeLimit = 32 << 10 // bytes that wait before senders do
	keepBuffer = 64 << 10 // larger buffers are left to the garbage collector
)

// message sends a data frame. It waits while too much waits already.
func (w *writer) message(ctx context.Context, op frame.Opcode, payload []byte, compressed bool) error {
	w.mu.Lock()
	for w.err == nil && !w.closed && w.pending != nil && len(*w.pending) >= writeLimit {
		if w.room == nil {
			w.room = make(chan struct{})
		}
		room := w.room
		w.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		w.mu.Lock()
	}
	defer w.mu.Unlock()
	return w.append(op, payload, compressed)
}

// control sends a control frame without waiting. Where much waits already, a
// ping or pong is left out: what waits is a sign of life, too. A close frame is
// the last one.
func (w *writer) control(op frame.Opcode, payload []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if op != frame.Close && w.pending != nil && len(*w.pending) >= writeLimit {
		return nil
	}
	err := w.append(op, payload, false)
	if op == frame.Close {
		w.closed = true
	}
	return err
}

// append adds a frame to what waits. The caller holds mu.
func (w *writer) append(op frame.Opcode, payload []byte, compressed bool) error {
	switch {
	case w.err != nil:
		return w.err
	case w.closed:
		return net.ErrClosed
	}
	if w.pending == nil {
		w.pending = w.pool.Get().(*[]byte)
	}
	*w.pending = append(frame.AppendHeader(*w.pending, op, len(payload), compressed), payload...)
	if !w.running {
		w.running = true
		go w.drain()
	}
	return nil
}

// drain writes until nothing waits.
func (w *writer) drain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.err == nil && w.pending != nil {
		out := w.pending
		w.pending = nil
		if w.room != nil {
			close(w.room)
			w.room = nil
		}
		w.mu.Unlock()
		_, err := w.dst.Write(*out)
		w.put(out)
		w.mu.Lock()
		w.err = err
	}
	if w.room != nil {
		close(w.room)
		w.room = nil
	}
	w.running = false
	if w.idle != nil {
		close(w.idle)
		w.idle = nil
	}
}

func (w *writer) put(b *[]byte) {
	if cap(*b) <= keepBuffer {
		*b = (*b)[:0]
		w.pool.Put(b)
	}
}

// flush waits until all is written, or cannot be. dst must have a deadline.
func (w *writer) flush() {
	w.mu.Lock()
	if !w.running {
		w.mu.Unlock()
		return
	}
	if w.idle == nil {
		w.idle = make(chan struct{})
	}
	idle := w.idle
	w.mu.Unlock()
	<-idle
}
