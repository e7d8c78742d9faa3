package redisstore

import (
	"context"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/transomhq/transom/interceptors/ratelimit"
)

// The script's calendar is Go's: every month's first day for four centuries,
// and windows around random moments.
func TestCalendar(t *testing.T) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redis-server is not installed: `make packages` does it")
	}
	socket := filepath.Join(t.TempDir(), "redis.sock")
	cmd := exec.Command(path, "--port", "0", "--unixsocket", socket, "--save", "")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: socket})
	defer client.Close()
	for deadline := time.Now().Add(20 * time.Second); client.Ping(t.Context()).Err() != nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("redis-server does not answer")
		}
	}
	functions, _, _ := strings.Cut(takeScript, "local function read_rate")
	script := redis.NewScript(functions + `
		sec = tonumber(ARGV[1])
		return {windows(tonumber(ARGV[2]))}`)
	check := func(at time.Time, p ratelimit.Period) {
		t.Helper()
		got, err := script.Run(context.Background(), client, nil, at.Unix(), int(p)).Int64Slice()
		if err != nil {
			t.Fatal(err)
		}
		start, end := p.Bounds(at)
		before, _ := p.Bounds(start.Add(-time.Second))
		_, after := p.Bounds(end)
		want := []int64{start.Unix(), end.Unix(), before.Unix(), after.Unix()}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("%s around %s: %v, want %v", p, at.UTC(), got, want)
			}
		}
	}
	for year := 1970; year < 2400; year++ {
		for month := time.January; month <= time.December; month++ {
			check(time.Date(year, month, 1, 0, 0, 0, 0, time.UTC), ratelimit.Month)
		}
	}
	for range 2000 {
		check(time.Unix(rand.Int64N(1<<33), 0), ratelimit.Period(1+rand.IntN(4)))
	}
}
