package ratelimit

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// counted is a call that a quota admitted: what a model remembers.
type counted struct {
	at   time.Time
	cost int64
}

// A calendar quota agrees with one that remembers every call.
func TestQuotaAgreesWithALog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := Quota{Limit: rapid.Int64Range(1, 50).Draw(t, "limit"), Period: Period(rapid.IntRange(int(Minute), int(Month)).Draw(t, "period"))}
		now := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "start"), 0)
		var log []counted
		var u Usage
		for range rapid.IntRange(1, 100).Draw(t, "calls") {
			now = now.Add(time.Duration(rapid.Int64Range(0, q.Period.seconds()/4).Draw(t, "pause")) * time.Second)
			cost := rapid.Int64Range(0, q.Limit+1).Draw(t, "cost")
			start, end := q.Period.Bounds(now)
			used := int64(0)
			for _, c := range log {
				if !c.at.Before(start) && c.at.Before(end) {
					used += c.cost
				}
			}
			next, d := q.Take(u, now, cost)
			if want := used+cost <= q.Limit; d.Allowed != want {
				t.Fatalf("allowed %v, want %v: %d of %d are used, cost %d", d.Allowed, want, used, q.Limit, cost)
			}
			if d.Allowed {
				log, used = append(log, counted{now, cost}), used+cost
			} else if cost <= q.Limit {
				if _, later := q.Take(next, now.Add(d.RetryAfter), cost); !later.Allowed {
					t.Fatalf("refused again after the %s that it asked to wait", d.RetryAfter)
				}
			}
			if d.Remaining != q.Limit-used {
				t.Fatalf("%d are left, want %d", d.Remaining, q.Limit-used)
			}
			u = next
		}
	})
}

// A rolling quota never admits more than its limit in a window of the calendar,
// nor twice of it over any length, and what it asks to wait is enough.
func TestRollingQuota(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := Quota{Limit: rapid.Int64Range(1, 50).Draw(t, "limit"), Period: Period(rapid.IntRange(int(Minute), int(Month)).Draw(t, "period")), Rolling: true}
		now := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "start"), 0)
		var u Usage
		perWindow := map[int64]int64{}
		for range rapid.IntRange(1, 100).Draw(t, "calls") {
			now = now.Add(time.Duration(rapid.Int64Range(0, q.Period.seconds()/2).Draw(t, "pause")) * time.Second)
			cost := rapid.Int64Range(1, q.Limit).Draw(t, "cost")
			next, d := q.Take(u, now, cost)
			if d.Allowed {
				start, _ := q.Period.Bounds(now)
				perWindow[start.Unix()] += cost
			} else if _, later := q.Take(next, now.Add(d.RetryAfter), cost); !later.Allowed && d.RetryAfter < d.ResetAfter {
				t.Fatalf("refused again after the %s that it asked to wait", d.RetryAfter)
			}
			if d.Remaining < 0 || d.Remaining > q.Limit || d.RetryAfter < 0 {
				t.Fatalf("%+v", d)
			}
			u = next
		}
		for start, n := range perWindow {
			if n > q.Limit {
				t.Fatalf("%d in the window of %s, the limit is %d", n, time.Unix(start, 0).UTC(), q.Limit)
			}
		}
	})
}

func TestPeriods(t *testing.T) {
	at := time.Date(2028, 2, 29, 23, 59, 59, 5, time.FixedZone("elsewhere", 3600)) // 22:59:59 UTC
	for p, want := range map[Period][2]string{
		Minute: {"2028-02-29T22:59:00Z", "2028-02-29T23:00:00Z"},
		Hour:   {"2028-02-29T22:00:00Z", "2028-02-29T23:00:00Z"},
		Day:    {"2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z"},
		Month:  {"2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"},
	} {
		start, end := p.Bounds(at)
		if start.Format(time.RFC3339) != want[0] || end.Format(time.RFC3339) != want[1] {
			t.Errorf("%s: %s to %s, want %v", p, start, end, want)
		}
	}
}
