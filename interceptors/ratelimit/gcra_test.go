package ratelimit

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// bucket is a token bucket in exact arithmetic: what GCRA must agree with.
type bucket struct {
	tokens, cap float64 // in units
	last        int64
}

func (b *bucket) take(now int64, cost float64, perNano float64) bool {
	b.tokens = min(b.cap, b.tokens+float64(now-b.last)*perNano)
	b.last = now
	if b.tokens+1e-6 < cost {
		return false
	}
	b.tokens -= cost
	return true
}

func TestRateAgreesWithTokenBucket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Rate{
			Requests: rapid.Int64Range(1, 1000).Draw(t, "requests"),
			Burst:    rapid.Int64Range(1, 100).Draw(t, "burst"),
		}
		// A whole number of nanoseconds a request: rounding is another test's.
		r.Per = time.Duration(r.Requests * rapid.Int64Range(1, int64(time.Second)).Draw(t, "interval"))
		perNano := float64(r.Requests) / float64(r.Per)
		b := bucket{tokens: float64(r.Burst), cap: float64(r.Burst)}
		var tat, now int64 = 0, 1 << 40
		b.last = now
		for range rapid.IntRange(1, 100).Draw(t, "calls") {
			now += rapid.Int64Range(0, 2*int64(r.interval(1))).Draw(t, "pause")
			cost := rapid.Int64Range(1, r.Burst).Draw(t, "cost")
			want := b.take(now, float64(cost), perNano)
			next, d := r.Take(tat, now, cost)
			if d.Allowed != want {
				t.Fatalf("allowed %v, the bucket says %v (%.6f tokens, cost %d)", d.Allowed, want, b.tokens, cost)
			}
			if got := float64(d.Remaining); got > b.tokens+1e-3 || got < b.tokens-1-1e-3 {
				t.Fatalf("remaining %v, the bucket has %.6f", got, b.tokens)
			}
			if !d.Allowed {
				if _, later := r.Take(tat, now+int64(d.RetryAfter), cost); !later.Allowed {
					t.Fatalf("refused again after the %v that it asked to wait", d.RetryAfter)
				}
				if _, early := r.Take(tat, now+int64(d.RetryAfter)-1, cost); early.Allowed {
					t.Fatalf("allowed before the %v that it asked to wait", d.RetryAfter)
				}
			}
			tat = next
		}
	})
}

func TestRateRefusesForEverWhatCostsMoreThanTheBurst(t *testing.T) {
	r := Rate{Requests: 10, Per: time.Second, Burst: 5}
	if _, d := r.Take(0, 1<<40, 6); d.Allowed || d.RetryAfter != Never || d.Remaining != 5 {
		t.Errorf("got %+v", d)
	}
}

// Whatever the moments of the calls, a rate never admits more than its burst
// and what flowed back since.
func TestRateNeverAdmitsMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Rate{Requests: rapid.Int64Range(1, 5_000_000).Draw(t, "requests"), Per: time.Second, Burst: rapid.Int64Range(1, 50).Draw(t, "burst")}
		var tat, start, now int64 = 0, 1 << 40, 1 << 40
		admitted := int64(0)
		for range 200 {
			now += rapid.Int64Range(0, int64(time.Second)/r.Requests+2).Draw(t, "pause")
			next, d := r.Take(tat, now, 1)
			tat = next
			if d.Allowed {
				admitted++
			}
		}
		flowed := float64(now-start) / float64(r.interval(1))
		if float64(admitted) > float64(r.Burst)+flowed+1 {
			t.Fatalf("admitted %d of a burst of %d and %.2f that flowed back", admitted, r.Burst, flowed)
		}
	})
}
