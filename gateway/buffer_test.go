package gateway

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestBufferWritesWithinItsDelayAndAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		b := &buffer{w: &out}
		written := func() string {
			b.mu.Lock()
			defer b.mu.Unlock()
			return out.String()
		}
		_, _ = b.Write([]byte("before\n"))
		if written() != "before\n" {
			t.Errorf("before run: %q", written())
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { b.run(ctx); close(done) }()
		synctest.Wait()
		_, _ = b.Write([]byte("one\n"))
		if written() != "before\n" {
			t.Errorf("a line did not wait: %q", written())
		}
		time.Sleep(bufferDelay)
		synctest.Wait()
		if written() != "before\none\n" {
			t.Errorf("after the delay: %q", written())
		}
		_, _ = b.Write([]byte("last\n"))
		cancel()
		<-done
		_, _ = b.Write([]byte("after\n"))
		if written() != "before\none\nlast\nafter\n" {
			t.Errorf("at the end: %q", written())
		}
	})
}

func TestBufferIsBounded(t *testing.T) {
	var out bytes.Buffer
	b := &buffer{w: &out, running: true}
	line := bytes.Repeat([]byte("x"), 1000)
	for range 100 {
		_, _ = b.Write(line)
	}
	if len(b.waiting) > bufferSize || out.Len()+len(b.waiting) != 100_000 {
		t.Errorf("%d bytes wait, %d were written", len(b.waiting), out.Len())
	}
}
