package envelope

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
)

// stalled is a client that reads only when told to.
type stalled struct {
	mu   sync.Mutex
	got  bytes.Buffer
	err  error
	gate chan struct{}
}

func (s *stalled) Write(p []byte) (int, error) {
	<-s.gate
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	return s.got.Write(p)
}

func TestBatchKeepsOrderAndBytes(t *testing.T) {
	var got bytes.Buffer
	var want []byte
	b := NewBatch(&got, func() error { return nil })
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		size := rnd.IntN(3000)
		if i%100 == 0 {
			size += 3 * batchLimit
		}
		p := bytes.Repeat([]byte{byte(i)}, size)
		want = append(want, p...)
		if _, err := b.Write(p); err != nil {
			t.Fatal(err)
		}
		if err := b.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("got %d bytes, want the %d written, in order", got.Len(), len(want))
	}
}

func TestBatchHoldsTheSenderUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := &stalled{gate: make(chan struct{})}
		b := NewBatch(client, func() error { return nil })
		sent := 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 1000 {
				if _, err := b.Write(make([]byte, 1<<10)); err != nil {
					return
				}
				_ = b.Flush()
				sent++
			}
		}()
		synctest.Wait()
		if limit := 2*batchLimit>>10 + 1; sent > limit {
			t.Errorf("a client that reads nothing was sent %d KiB, want at most %d", sent, limit)
		}
		client.mu.Lock()
		client.err = errors.New("gone")
		client.mu.Unlock()
		close(client.gate)
		<-done
		if err := b.Close(); err == nil {
			t.Error("the client's end was not told")
		}
	})
}

func TestBatchJoinsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := &stalled{gate: make(chan struct{})}
		flushes := 0
		b := NewBatch(client, func() error { flushes++; return nil })
		for range 100 {
			_, _ = b.Write([]byte("message"))
			_ = b.Flush()
			synctest.Wait()
		}
		close(client.gate)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if flushes != 2 || client.got.Len() != 700 {
			t.Errorf("%d bytes went out in %d flushes, want 700 in 2", client.got.Len(), flushes)
		}
	})
}

func TestBatchFlushesWithoutBytes(t *testing.T) {
	flushes := 0
	b := NewBatch(new(bytes.Buffer), func() error { flushes++; return nil })
	_ = b.Flush()
	_ = b.Close()
	if flushes != 1 {
		t.Errorf("%d flushes, want 1: a header waits for it", flushes)
	}
}
