package streams

import (
	"log/slog"
	"strconv"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/transomhq/transom/rpc"
)

// How much may wait for a slow client, beside what its connection holds.
const (
	queueMessages = 256
	queueBytes    = 1 << 20
)

// queue stands between a backend and a client that may read slower than
// messages come. One goroutine sends; end waits for it.
type queue struct {
	ss   grpc.ServerStream
	slow Slow

	mu      sync.Mutex
	change  sync.Cond
	items   []*rpc.Message
	bytes   int
	dropped int64
	closed  bool  // nothing more is put
	err     error // why no more is sent
	done    chan struct{}
}

func newQueue(ss grpc.ServerStream, slow Slow) *queue {
	q := &queue{ss: ss, slow: slow, done: make(chan struct{})}
	q.change.L = &q.mu
	go q.send()
	return q
}

// put takes a message over. It never waits for the client.
func (q *queue) put(m any) error {
	own, err := keep(m)
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		own.Free()
		return q.err
	}
	q.items = append(q.items, own)
	q.bytes += own.Len()
	for len(q.items) > queueMessages || q.bytes > queueBytes && len(q.items) > 1 {
		if q.slow == Close {
			q.err = ended(codes.ResourceExhausted, ReasonSlow, "the client reads too slowly")
			return q.err
		}
		q.take().Free()
		q.dropped++
	}
	q.change.Signal()
	return nil
}

// keep returns a message of our own with the bytes of m, which its sender uses again.
func keep(m any) (*rpc.Message, error) {
	bufs, err := rpc.Codec{}.Marshal(m)
	if err != nil {
		return nil, err
	}
	var desc protoreflect.MessageDescriptor
	switch m := m.(type) {
	case *rpc.Message: // looking into it would decode it
		desc = m.Descriptor()
	case proto.Message:
		desc = m.ProtoReflect().Descriptor()
	}
	own := rpc.NewMessage(desc)
	own.SetBuffers(bufs)
	return own, nil
}

// take removes the oldest message. The caller holds mu.
func (q *queue) take() *rpc.Message {
	m := q.items[0]
	q.items[0] = nil
	if q.items = q.items[1:]; len(q.items) == 0 {
		q.items = nil
	}
	q.bytes -= m.Len()
	return m
}

// send passes messages on until the queue is closed and empty, or a send fails.
func (q *queue) send() {
	defer close(q.done)
	for {
		q.mu.Lock()
		for len(q.items) == 0 && !q.closed && q.err == nil {
			q.change.Wait()
		}
		if q.err != nil || len(q.items) == 0 {
			q.mu.Unlock()
			return
		}
		m := q.take()
		q.mu.Unlock()
		err := q.ss.SendMsg(m)
		m.Free()
		if err != nil {
			q.mu.Lock()
			q.err = err
			q.mu.Unlock()
		}
	}
}

// end closes the queue when the call has ended with err, and returns how it
// ended for the client. What waits is sent first. Only a client that is cut off
// for its slowness is not waited for: the door ends a send under way when the
// call returns.
func (q *queue) end(err error) error {
	q.mu.Lock()
	q.closed = true
	cut := q.err
	q.change.Signal()
	q.mu.Unlock()
	if cut == nil {
		<-q.done
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) > 0 {
		q.take().Free()
	}
	if err == nil || q.err != nil && cut != nil {
		return q.err
	}
	return err
}

// report says how many messages the client did not get.
func (s *stream) report() {
	s.queue.mu.Lock()
	n := s.queue.dropped
	s.queue.mu.Unlock()
	if n == 0 {
		return
	}
	s.SetTrailer(metadata.Pairs(DroppedTrailer, strconv.FormatInt(n, 10)))
	if call := rpc.FromContext(s.ctx); call != nil {
		call.Update(func(o *rpc.Outcome) { o.Attrs = append(o.Attrs, slog.Int64("dropped", n)) })
	}
}
