package ratelimit

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func rateOf(bucket string, requests int64) *Limit {
	return &Limit{Name: bucket, Bucket: bucket, Rate: &Rate{Requests: requests, Per: time.Hour, Burst: requests}}
}

// still returns a memory whose clock stands.
func still(maxKeys int) *Memory {
	m := NewMemory(maxKeys)
	at := time.Unix(1_800_000_000, 0)
	m.now = func() time.Time { return at }
	return m
}

func takeAll(m *Memory, asks ...Ask) []Decision {
	out := make([]Decision, len(asks))
	_ = m.Take(context.Background(), asks, out) // a memory never fails
	return out
}

// What one limit refuses, no other takes.
func TestMemoryTakesFromAllOrNone(t *testing.T) {
	m := still(0)
	wide, narrow := rateOf("wide", 10), rateOf("narrow", 2)
	day := &Limit{Name: "day", Bucket: "day", Quota: &Quota{Limit: 7, Period: Day}}
	shadow := rateOf("shadow", 1)
	shadow.Shadow = true
	for i := range 5 {
		d := takeAll(m, Ask{wide, "a", 1}, Ask{narrow, "a", 1}, Ask{day, "a", 1}, Ask{shadow, "a", 1})
		if d[0].Remaining != int64(max(9-i, 8)) || d[1].Allowed != (i < 2) || d[2].Remaining != int64(max(6-i, 5)) || d[3].Allowed != (i < 1) {
			t.Errorf("call %d: %+v", i, d)
		}
	}
	if d := takeAll(m, Ask{wide, "b", 1}); d[0].Remaining != 9 {
		t.Errorf("another caller: %+v", d)
	}
}

func TestMemoryAdmitsExactlyUnderConcurrency(t *testing.T) {
	m := still(0)
	one, two := rateOf("one", 500), rateOf("two", 300)
	var admitted atomic.Int64
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			d := make([]Decision, 2)
			for i := range 500 {
				asks := []Ask{{one, "a", 1}, {two, "a", 1}}
				if (w+i)%2 == 0 { // the order of the asks makes no difference
					asks[0], asks[1] = asks[1], asks[0]
				}
				_ = m.Take(context.Background(), asks, d)
				if d[0].Allowed && d[1].Allowed {
					admitted.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := admitted.Load(); n != 300 {
		t.Errorf("admitted %d, want 300", n)
	}
	if d := takeAll(m, Ask{one, "a", 0}); d[0].Remaining != 200 {
		t.Errorf("%d are left of the wider one, want 200", d[0].Remaining)
	}
}

// However many keys come, the memory stays within its bounds.
func TestMemoryIsBounded(t *testing.T) {
	m := still(640)
	l := rateOf("l", 1)
	for i := range 100_000 {
		takeAll(m, Ask{l, fmt.Sprint(i), 1})
	}
	n := 0
	for i := range m.shards {
		n += len(m.shards[i].entries)
	}
	if n > 640 {
		t.Errorf("%d entries, want at most 640", n)
	}
}

// What has flowed back is forgotten as others come.
func TestMemoryForgets(t *testing.T) {
	m := NewMemory(0)
	at := time.Unix(1_800_000_000, 0)
	m.now = func() time.Time { return at }
	l := &Limit{Name: "l", Bucket: "l", Rate: &Rate{Requests: 1, Per: time.Second, Burst: 1}}
	for i := range 100_000 {
		takeAll(m, Ask{l, fmt.Sprint(i), 1})
		at = at.Add(time.Millisecond)
	}
	n := 0
	for i := range m.shards {
		n += len(m.shards[i].entries)
	}
	if n > 10_000 {
		t.Errorf("%d entries, of which 1000 are needed", n)
	}
}

func TestMemoryLeases(t *testing.T) {
	l := NewMemoryLeases()
	wide, narrow := &Places{Bucket: "wide", Limit: 3}, &Places{Bucket: "narrow", Limit: 1}
	shadow := &Places{Bucket: "shadow", Limit: 1, Shadow: true}
	asks := []PlaceAsk{{wide, "a"}, {narrow, "a"}, {shadow, "a"}}
	full := make([]bool, 3)
	first, _ := l.Acquire(t.Context(), asks, full)
	if full[0] || full[1] || full[2] {
		t.Fatal(full)
	}
	refused, _ := l.Acquire(t.Context(), asks, full)
	refused()
	if full[0] || !full[1] || !full[2] {
		t.Fatal(full)
	}
	second, _ := l.Acquire(t.Context(), asks[:1], full[:1])
	third, _ := l.Acquire(t.Context(), asks[:1], full[:1])
	if fourth, _ := l.Acquire(t.Context(), asks[:1], full[:1]); !full[0] {
		t.Error("a fourth of three places")
		fourth()
	}
	for _, release := range []func(){first, first, second, third} { // giving back twice gives back once
		release()
	}
	for i := range l.shards {
		if n := len(l.shards[i].taken); n != 0 {
			t.Errorf("%d keys are left", n)
		}
	}
}
