package redisstore_test

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/transomhq/transom/interceptors/ratelimit"
	"github.com/transomhq/transom/interceptors/ratelimit/redisstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server starts a real redis-server on a free port and returns its address.
func server(t *testing.T, args ...string) (addr string, process *exec.Cmd) {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redis-server is not installed: `make packages` does it")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command(path, append([]string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", t.TempDir()}, args...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	for deadline := time.Now().Add(20 * time.Second); client.Ping(t.Context()).Err() != nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("redis-server does not answer")
		}
	}
	return addr, cmd
}

func open(t *testing.T, addr string, change ...func(*redisstore.Options)) *redisstore.Store {
	opts := redisstore.Options{Addresses: []string{addr}}
	for _, f := range change {
		f(&opts)
	}
	s := redisstore.New(opts)
	t.Cleanup(func() { s.Close() })
	return s
}

func take(t *testing.T, s ratelimit.Store, asks ...ratelimit.Ask) []ratelimit.Decision {
	t.Helper()
	out := make([]ratelimit.Decision, len(asks))
	if err := s.Take(t.Context(), asks, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func rate(requests int64, per time.Duration, burst int64) *ratelimit.Limit {
	return &ratelimit.Limit{Name: "rate", Bucket: fmt.Sprintf("rate//%d-%s-%d", requests, per, burst), Rate: &ratelimit.Rate{Requests: requests, Per: per, Burst: burst}}
}

func quota(limit int64, period ratelimit.Period, rolling bool) *ratelimit.Limit {
	return &ratelimit.Limit{Name: "quota", Bucket: fmt.Sprintf("quota/%s/%d-%v", period, limit, rolling), Quota: &ratelimit.Quota{Limit: limit, Period: period, Rolling: rolling}}
}

// The script and the arithmetic in Go give the same answers to calls that come
// at once.
func TestAgreesWithMemory(t *testing.T) {
	addr, _ := server(t)
	shared, memory := open(t, addr), ratelimit.NewMemory(0)
	for _, l := range []*ratelimit.Limit{
		rate(10, time.Hour, 10), rate(3, time.Hour, 7), rate(7, 24*time.Hour, 3), rate(1, time.Hour, 1),
		quota(10, ratelimit.Day, false), quota(5, ratelimit.Month, true), quota(1, ratelimit.Month, false),
	} {
		for i, cost := range []int64{1, 2, 0, 3, 1, 20, 1, 1, 4, 1, 1, 1, 1} {
			ask := ratelimit.Ask{Limit: l, Key: "ann", Cost: cost}
			got, want := take(t, shared, ask)[0], take(t, memory, ask)[0]
			slack := 2 * time.Second // between the two questions
			if got.Allowed != want.Allowed || got.Limit != want.Limit || got.Remaining != want.Remaining ||
				(got.RetryAfter-want.RetryAfter).Abs() > slack || (got.ResetAfter-want.ResetAfter).Abs() > slack {
				t.Errorf("%s, call %d of cost %d: %+v, memory says %+v", l.Bucket, i, cost, got, want)
			}
		}
	}
}

func TestSeveralLimitsAreOne(t *testing.T) {
	addr, _ := server(t)
	s := open(t, addr)
	wide, narrow := rate(10, time.Hour, 10), quota(2, ratelimit.Day, false)
	shadow := rate(1, time.Hour, 1)
	shadow.Shadow = true
	for i := range 4 {
		d := take(t, s, ratelimit.Ask{Limit: wide, Key: "a", Cost: 1}, ratelimit.Ask{Limit: narrow, Key: "b", Cost: 1}, ratelimit.Ask{Limit: shadow, Key: "c", Cost: 1})
		if !d[0].Allowed || d[1].Allowed != (i < 2) || d[2].Allowed != (i < 1) {
			t.Errorf("call %d: %+v", i, d)
		}
		if want := int64(max(10-i-1, 8)); d[0].Remaining != want { // a refused call takes nothing
			t.Errorf("call %d: %d are left, want %d", i, d[0].Remaining, want)
		}
	}
}

// Two gateways at three times the limit admit the limit.
func TestTwoProcessesShareALimitExactly(t *testing.T) {
	addr, _ := server(t)
	stores := []*redisstore.Store{open(t, addr), open(t, addr)}
	l := rate(3333, time.Hour, 3333) // what flows back meanwhile: less than one a second
	var admitted atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for w := range 16 {
		wg.Go(func() {
			for range 10_000 / 16 {
				d := make([]ratelimit.Decision, 1)
				if err := stores[w%2].Take(context.Background(), []ratelimit.Ask{{Limit: l, Key: "all", Cost: 1}}, d); err != nil {
					t.Error(err)
					return
				}
				if d[0].Allowed {
					admitted.Add(1)
				}
			}
		})
	}
	wg.Wait()
	flowed := int64(time.Since(start).Seconds()*3333/3600) + 1
	if n := admitted.Load(); n < 3333 || n > 3333+flowed {
		t.Errorf("admitted %d of a limit of 3333, and %d flowed back", n, flowed)
	}
}

func TestLeases(t *testing.T) {
	addr, _ := server(t)
	one, two := open(t, addr), open(t, addr)
	p := &ratelimit.Places{Name: "c", Bucket: "concurrency//c", Limit: 2}
	asks := []ratelimit.PlaceAsk{{Places: p, Key: "ann"}}
	acquire := func(s *redisstore.Store) (func(), bool) {
		t.Helper()
		full := make([]bool, 1)
		release, err := s.Acquire(t.Context(), asks, full)
		if err != nil {
			t.Fatal(err)
		}
		return release, !full[0]
	}
	first, ok1 := acquire(one)
	second, ok2 := acquire(two)
	if _, ok := acquire(one); !ok1 || !ok2 || ok {
		t.Fatalf("two places: %v %v %v", ok1, ok2, ok)
	}
	first()
	awaitTrue(t, "a place that was given back", func() bool {
		release, ok := acquire(two)
		if ok {
			release()
		}
		return ok
	})
	second()
}

// The places of a gateway that has gone are free when its leases end; those
// of one that lives stay taken much longer than a lease.
func TestLeasesOfTheGoneEnd(t *testing.T) {
	addr, _ := server(t)
	short := func(o *redisstore.Options) { o.Lease = 300 * time.Millisecond }
	s := open(t, addr, short)
	p := &ratelimit.Places{Name: "c", Bucket: "concurrency//c", Limit: 2}
	asks := []ratelimit.PlaceAsk{{Places: p, Key: "ann"}}
	release, err := s.Acquire(t.Context(), asks, make([]bool, 1))
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	const key = "transom:{ann}:concurrency//c"
	now, err := client.Time(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.ZAdd(t.Context(), key, redis.Z{Score: float64(now.UnixMilli() + 300), Member: "gone"}).Err(); err != nil {
		t.Fatal(err)
	}
	awaitTrue(t, "the end of the other's lease", func() bool {
		full := make([]bool, 1)
		again, err := s.Acquire(t.Context(), asks, full)
		if err != nil {
			t.Fatal(err)
		}
		again()
		return !full[0]
	})
	members, err := client.ZRange(t.Context(), key, 0, -1).Result()
	if err != nil || len(members) == 0 {
		t.Errorf("the living one's place has ended: %v %v", members, err)
	}
}

func awaitTrue(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not seen: ", what)
		}
	}
}

// While the server is gone each limit does what it says, nobody waits long,
// and when it is back it counts again.
func TestServerIsKilledAndStartsAgainUnderLoad(t *testing.T) {
	addr, process := server(t)
	_, port, _ := net.SplitHostPort(addr)
	s := ratelimit.NewShared(ratelimit.SharedOptions{
		Store: open(t, addr), Local: ratelimit.NewMemory(0), Timeout: 50 * time.Millisecond,
	})
	local, free, closed := rate(5, time.Hour, 5), rate(1, time.Hour, 1), rate(1000, time.Hour, 1000)
	free.Failure, closed.Failure = ratelimit.FailOpen, ratelimit.FailClosed
	one := func(l *ratelimit.Limit) (ratelimit.Decision, error) {
		d := make([]ratelimit.Decision, 1)
		err := s.Take(context.Background(), []ratelimit.Ask{{Limit: l, Key: "ann", Cost: 1}}, d)
		return d[0], err
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var slowest atomic.Int64
	background := rate(1_000_000, time.Second, 1000)
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
				start := time.Now()
				if _, err := one(background); err != nil {
					t.Error(err)
				}
				slowest.Store(max(slowest.Load(), int64(time.Since(start))))
			}
		})
	}
	if d, err := one(free); err != nil || !d.Allowed || d.Unknown {
		t.Fatalf("%+v %v", d, err)
	}
	_ = process.Process.Kill()
	_ = process.Wait()
	awaitTrue(t, "a call that fails closed", func() bool { _, err := one(closed); return err != nil })
	if d, err := one(free); err != nil || !d.Allowed || !d.Unknown {
		t.Errorf("fails open: %+v %v", d, err)
	}
	admitted := 0
	for range 20 {
		if d, err := one(local); err != nil {
			t.Error(err)
		} else if d.Allowed {
			admitted++
		}
	}
	if admitted != 5 {
		t.Errorf("counted locally, %d were admitted, want 5", admitted)
	}
	again := exec.Command(process.Path, "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir())
	if err := again.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = again.Process.Kill(); _ = again.Wait() })
	awaitTrue(t, "the server counts again", func() bool { _, err := one(closed); return err == nil })
	close(stop)
	wg.Wait()
	if d := time.Duration(slowest.Load()); d > 5*time.Second {
		t.Errorf("a call waited %s", d)
	}
}

func TestKeysOfOneCallerAreOneSlot(t *testing.T) {
	addr, _ := server(t)
	s := open(t, addr)
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	take(t, s, ratelimit.Ask{Limit: rate(1, time.Hour, 1), Key: "ev{i}l}", Cost: 1}, ratelimit.Ask{Limit: quota(1, ratelimit.Day, false), Key: "ev{i}l}", Cost: 1})
	keys, err := client.Keys(t.Context(), "*").Result()
	if err != nil || len(keys) != 2 {
		t.Fatalf("%v %v", keys, err)
	}
	var slots []int64
	for _, k := range keys {
		n, err := client.Do(t.Context(), "CLUSTER", "KEYSLOT", k).Int64()
		if err != nil {
			t.Skip("this server has no CLUSTER KEYSLOT: ", err)
		}
		slots = append(slots, n)
	}
	if slots[0] != slots[1] {
		t.Errorf("%v are in slots %v", keys, slots)
	}
}

// In a cluster, limits of different callers are different slots: what one
// refuses, the others do not take.
func TestCluster(t *testing.T) {
	addr, _ := server(t, "--cluster-enabled", "yes")
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	if err := client.Do(t.Context(), "CLUSTER", "ADDSLOTSRANGE", 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	awaitTrue(t, "the cluster is up", func() bool { return client.Set(t.Context(), "x", 1, time.Second).Err() == nil })
	s := open(t, addr, func(o *redisstore.Options) { o.Cluster = true })
	wide, narrow, day := rate(10, time.Hour, 10), rate(2, time.Hour, 2), quota(5, ratelimit.Day, false)
	for i := range 4 {
		d := take(t, s,
			ratelimit.Ask{Limit: wide, Key: "everybody", Cost: 1}, ratelimit.Ask{Limit: day, Key: "everybody", Cost: 1},
			ratelimit.Ask{Limit: narrow, Key: "ann", Cost: 1}, ratelimit.Ask{Limit: day, Key: "bob", Cost: 1})
		if d[2].Allowed != (i < 2) || !d[0].Allowed || !d[3].Allowed {
			t.Errorf("call %d: %+v", i, d)
		}
		if d[0].Remaining != int64(max(10-i-1, 8)) || d[1].Remaining != int64(max(5-i-1, 3)) || d[3].Remaining != int64(max(5-i-1, 3)) {
			t.Errorf("call %d: %+v", i, d)
		}
	}
	full := make([]bool, 2)
	p := &ratelimit.Places{Name: "c", Bucket: "concurrency//c", Limit: 1}
	release, err := s.Acquire(t.Context(), []ratelimit.PlaceAsk{{Places: p, Key: "ann"}, {Places: p, Key: "bob"}}, full)
	if err != nil || full[0] || full[1] {
		t.Fatal(err, full)
	}
	defer release()
	if _, err := s.Acquire(t.Context(), []ratelimit.PlaceAsk{{Places: p, Key: "eve"}, {Places: p, Key: "bob"}}, full); err != nil || full[0] || !full[1] {
		t.Fatal(err, full)
	}
	awaitTrue(t, "the first place was given back", func() bool {
		again, err := s.Acquire(t.Context(), []ratelimit.PlaceAsk{{Places: p, Key: "eve"}}, full[:1])
		if err != nil {
			t.Fatal(err)
		}
		again()
		return !full[0]
	})
}

// A server that takes connections and does not answer holds nobody up.
func TestServerHangs(t *testing.T) {
	addr, process := server(t)
	s := ratelimit.NewShared(ratelimit.SharedOptions{
		Store: open(t, addr), Local: ratelimit.NewMemory(0), Timeout: 20 * time.Millisecond,
	})
	l := rate(5, time.Hour, 5)
	take(t, s, ratelimit.Ask{Limit: l, Key: "ann", Cost: 1})
	if err := process.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 50 {
				take(t, s, ratelimit.Ask{Limit: l, Key: "bob", Cost: 1})
			}
		})
	}
	wg.Wait()
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("800 calls took %s", took)
	}
	if err := process.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	awaitTrue(t, "the server counts again", func() bool {
		return take(t, s, ratelimit.Ask{Limit: l, Key: "ann", Cost: 0})[0].Remaining == 4
	})
}
