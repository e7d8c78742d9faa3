package upstream

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/transomhq/transom/rpc"
)

func TestBudgetOverTime(t *testing.T) {
	b, now := NewBudget(20, 2), time.Unix(1000, 0)
	take := func(n int) (got int) {
		for range n {
			if b.take(now) {
				got++
			}
		}
		return got
	}
	if got := take(5); got != 2 {
		t.Errorf("without calls: %d retries, want the least, 2", got)
	}
	for range 100 {
		b.call(now)
	}
	if got := take(100); got != 18 {
		t.Errorf("after 100 calls: %d more retries, want 18", got)
	}
	now = now.Add(6 * time.Second) // those calls and retries still count
	if got := take(100); got != 0 {
		t.Errorf("in the next window: %d retries, want none", got)
	}
	now = now.Add(6 * time.Second)
	if got := take(100); got != 2 {
		t.Errorf("when all is forgotten: %d retries, want the least, 2", got)
	}
}

func poolOf(n int, e Ejection) (*pool, []*endpoint) {
	p, all := newPool(e), []*endpoint{}
	for i := range n {
		all = append(all, p.hold(fmt.Sprintf("10.0.0.%d:1", i)))
		p.connected(all[i], 1)
	}
	return p, all
}

func TestEjectionKeepsSome(t *testing.T) {
	for n, want := range map[int]int{1: 0, 2: 1, 3: 1, 4: 2, 10: 5} {
		p, all := poolOf(n, Ejection{Failures: 1, Base: time.Hour})
		for _, e := range all {
			p.failed(e)
		}
		if got := int(p.out.Load()); got != want {
			t.Errorf("of %d failing endpoints, %d were ejected, want %d", n, got, want)
		}
	}
}

// After its time an endpoint gets one call: it stays out when that fails, for
// longer, and is back when it succeeds.
func TestEjectionTrial(t *testing.T) {
	p, all := poolOf(2, Ejection{Failures: 2, Base: time.Hour})
	e := all[0]
	for range 2 {
		p.failed(e)
	}
	if e.takes(time.Now()) || !e.takes(time.Now().Add(2*time.Hour)) || e.takes(time.Now().Add(2*time.Hour)) {
		t.Error("want one trial, after an hour")
	}
	e.until.Store(1) // long ago
	p.failed(e)
	if left := time.Until(time.Unix(0, e.until.Load())); left < 30*time.Minute || p.out.Load() != 1 {
		t.Errorf("after a failed trial: out for %s, %d are out", left, p.out.Load())
	}
	e.until.Store(1)
	p.succeeded(e)
	if e.until.Load() != 0 || p.out.Load() != 0 || !e.takes(time.Now()) {
		t.Error("after a good trial: still out")
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name    string
		info    balancer.DoneInfo
		attempt *attempt
		row     int64
	}{
		{"an answer", balancer.DoneInfo{BytesReceived: true}, nil, 0},
		{"a call that never left", balancer.DoneInfo{}, nil, 1},
		{"what the client did wrong", balancer.DoneInfo{Err: status.Error(codes.NotFound, ""), BytesReceived: true}, nil, 0},
		{"a failure", balancer.DoneInfo{Err: status.Error(codes.Internal, "")}, nil, 2},
		{"an impatient client", balancer.DoneInfo{Err: status.Error(codes.DeadlineExceeded, "")}, &attempt{}, 1},
		{"a missed try", balancer.DoneInfo{Err: status.Error(codes.DeadlineExceeded, "")}, &attempt{bounded: true}, 2},
		{"a client that left", balancer.DoneInfo{Err: status.Error(codes.Canceled, "")}, nil, 1},
	} {
		p, all := poolOf(2, Ejection{Failures: 5})
		all[0].row.Store(1)
		p.judge(all[0], c.info, c.attempt)
		if got := all[0].row.Load(); got != c.row {
			t.Errorf("%s: %d failures in a row, want %d", c.name, got, c.row)
		}
	}
}

func TestRendezvousMovesOnlyWhatMust(t *testing.T) {
	c := &Cluster{pool: newPool(Ejection{}), balance: consistentHash}
	picker := &poolPicker{cluster: c}
	for i := range 5 {
		picker.ready = append(picker.ready, choice{endpoint: &endpoint{addr: fmt.Sprintf("10.0.0.%d:1", i)}})
	}
	fewer := &poolPicker{cluster: c, ready: picker.ready[:4]}
	counts := map[string]int{}
	for i := range 5000 {
		key := fmt.Sprint("user", i)
		before, after := picker.byHash(key).endpoint.addr, fewer.byHash(key).endpoint.addr
		counts[before]++
		if before != after && before != "10.0.0.4:1" {
			t.Fatalf("%s moved from %s to %s", key, before, after)
		}
	}
	for addr, n := range counts {
		if n < 850 || n > 1150 {
			t.Errorf("%s has %d of 5000 keys", addr, n)
		}
	}
}

type fixedPicker struct{}

func (fixedPicker) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	return balancer.PickResult{}, nil
}

// BenchmarkResilience is what guards, retries and ejection add to a call that goes well.
func BenchmarkResilience(b *testing.B) {
	for _, endpoints := range []int{3, 100} {
		for name, balance := range map[string]balance{"round_robin": roundRobin, "least_request": leastRequest} {
			b.Run(fmt.Sprintf("%s/%d", name, endpoints), func(b *testing.B) {
				p, all := poolOf(endpoints, Ejection{Failures: 5})
				c := &Cluster{pool: p, balance: balance}
				picker := &poolPicker{cluster: c, next: new(atomic.Uint32)}
				for _, e := range all {
					picker.ready = append(picker.ready, choice{e, fixedPicker{}})
				}
				guard := newGuard(Options{MaxCalls: 1000, MaxPending: 100}, func() bool { return true })
				retry := Retry{Attempts: 3}.withDefaults()
				var m *rpc.Method
				b.ReportAllocs()
				for b.Loop() {
					_ = guard.enter(m)
					t := tries{retry: &retry, guard: guard}
					ctx, done := t.next(context.Background(), true)
					res, _ := picker.Pick(balancer.PickInfo{Ctx: ctx})
					res.Done(balancer.DoneInfo{BytesReceived: true})
					done()
					guard.leave()
				}
			})
		}
	}
}
