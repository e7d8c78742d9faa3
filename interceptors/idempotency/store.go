package idempotency

import (
	"container/list"
	"crypto/sha256"
	"sync"
	"time"

	"google.golang.org/grpc/metadata"
)

const (
	defaultMaxBytes = 64 << 20
	// overhead is about what an answer costs beside its bytes.
	overhead = 512
)

// Memory keeps answers in this process, up to a number of bytes: then the
// oldest go. It outlives reloads.
type Memory struct {
	max int

	mu      sync.Mutex
	entries map[scope]*entry
	order   list.List // of *entry with an answer, the oldest first
	bytes   int
}

// NewMemory returns an empty store of at most maxBytes; 0 means 64 MiB.
func NewMemory(maxBytes int) *Memory {
	if maxBytes <= 0 {
		maxBytes = defaultMaxBytes
	}
	return &Memory{max: maxBytes, entries: map[scope]*entry{}}
}

// scope is whose key it is, for which method: a digest, so that keys are short
// and never found in a dump of the memory.
type scope [sha256.Size]byte

// entry is one key. Its answer may be read when done is closed.
type entry struct {
	scope   scope
	request [sha256.Size]byte // what was asked with the key
	done    chan struct{}
	kept    bool // there is an answer: the call was not given up
	answer  answer
	until   time.Time
	place   *list.Element
}

// answer is what the first call was answered.
type answer struct {
	message         []byte
	err             error
	header, trailer metadata.MD
}

func (a *answer) size() int {
	n := overhead + len(a.message)
	for _, md := range []metadata.MD{a.header, a.trailer} {
		for key, values := range md {
			for _, v := range values {
				n += len(key) + len(v)
			}
		}
	}
	return n
}

// begin returns the entry of s, and whether the caller is the first and so has
// to end it.
func (m *Memory) begin(s scope, request [sha256.Size]byte, now time.Time) (*entry, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.entries[s]; e != nil {
		if !e.kept || now.Before(e.until) {
			return e, false
		}
		m.forget(e)
	}
	e := &entry{scope: s, request: request, done: make(chan struct{})}
	m.entries[s] = e
	return e, true
}

// keep ends e with an answer.
func (m *Memory) keep(e *entry, a answer, until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e.answer, e.until, e.kept = a, until, true
	e.place = m.order.PushBack(e)
	m.bytes += a.size()
	for m.bytes > m.max && m.order.Len() > 1 {
		m.forget(m.order.Front().Value.(*entry))
	}
	close(e.done)
}

// drop ends e without an answer: the next call is the first again.
func (m *Memory) drop(e *entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.entries, e.scope)
	close(e.done)
}

func (m *Memory) forget(e *entry) {
	delete(m.entries, e.scope)
	m.order.Remove(e.place)
	m.bytes -= e.answer.size()
}
