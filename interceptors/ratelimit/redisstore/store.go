package redisstore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	_ "embed" // the scripts
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/transomhq/transom/interceptors/ratelimit"
)

//go:embed take.lua
var takeScript string

//go:embed acquire.lua
var acquireScript string

//go:embed renew.lua
var renewScript string

// Options say where the server is.
type Options struct {
	// Addresses are the server's "host:port", or some nodes of a cluster.
	Addresses []string
	Cluster   bool
	Username  string
	Password  string
	Database  int
	TLS       *tls.Config // nil: plaintext
	// Prefix is what the names of all keys start with; "": "transom".
	Prefix string
	// Connections to each server; 0: go-redis's own choice.
	Connections int
	// Lease is how long the place of a running call outlives its gateway; 0: 10 s.
	Lease time.Duration
}

// Store is a ratelimit.Store and ratelimit.Leases in Redis. Close must be called.
type Store struct {
	client  redis.UniversalClient
	prefix  string
	cluster bool
	lease   time.Duration
	take    *redis.Script
	acquire *redis.Script
	renew   *redis.Script

	process string // what the ids of this process's leases start with
	serial  atomic.Uint64

	mu      sync.Mutex
	held    map[string][]string // the keys in which a lease has a place, by its id
	dropped []place             // given back, and not yet told
	wake    chan struct{}
	stop    context.CancelFunc
	keeper  sync.WaitGroup
}

var (
	_ ratelimit.Store  = (*Store)(nil)
	_ ratelimit.Leases = (*Store)(nil)
)

// New returns a store. It connects when it is first asked.
func New(opts Options) *Store {
	if opts.Prefix == "" {
		opts.Prefix = "transom"
	}
	if opts.Lease == 0 {
		opts.Lease = 10 * time.Second
	}
	s := &Store{
		client: connect(&opts), prefix: opts.Prefix, cluster: opts.Cluster, lease: opts.Lease,
		take: redis.NewScript(takeScript), acquire: redis.NewScript(acquireScript), renew: redis.NewScript(renewScript),
		process: rand.Text(), held: map[string][]string{}, wake: make(chan struct{}, 1),
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.keeper.Go(func() { s.keep(ctx) })
	return s
}

// connect returns a client that never tries a call twice: who waits for it is
// a call of ours, and a script that ran twice would count twice.
func connect(o *Options) redis.UniversalClient {
	opts := &redis.UniversalOptions{
		Addrs: o.Addresses, Username: o.Username, Password: o.Password, DB: o.Database, TLSConfig: o.TLS,
		MaxRetries: -1, MaxRedirects: 3, ContextTimeoutEnabled: true,
		DialTimeout: 2 * time.Second, DialerRetries: 1, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second,
		PoolSize: o.Connections, MinIdleConns: 1, Protocol: 2, DisableIdentity: true, IsClusterMode: o.Cluster,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if o.Cluster {
		return redis.NewClusterClient(opts.Cluster())
	}
	return redis.NewClient(opts.Simple())
}

// Close gives back the places of running calls and closes the connections.
func (s *Store) Close() error {
	s.stop()
	s.keeper.Wait()
	return s.client.Close()
}

// key returns where a bucket's counts of one caller live. The hash tag is the
// caller, so that all limits of one caller are one slot of a cluster.
func (s *Store) key(bucket, caller string) string {
	if strings.ContainsAny(caller, "{}") {
		sum := sha256.Sum256([]byte(caller))
		caller = "sha256-" + hex.EncodeToString(sum[:])
	}
	return s.prefix + ":{" + caller + "}:" + bucket
}

// Take implements ratelimit.Store. On one server all limits of a call are one
// script. A cluster has one script for each key of a caller, in order; when a
// later one refuses, the earlier ones are given back.
func (s *Store) Take(ctx context.Context, asks []ratelimit.Ask, decisions []ratelimit.Decision) error {
	if !s.cluster {
		return s.script(ctx, "take", asks, decisions)
	}
	groups := groupsOf(len(asks), func(i int) string { return asks[i].Key })
	var taken [][]ratelimit.Ask
	for _, g := range groups {
		part, answers := pick(asks, g), make([]ratelimit.Decision, len(g))
		if err := s.script(ctx, "take", part, answers); err != nil {
			s.giveBack(ctx, taken)
			return err
		}
		for j, i := range g {
			decisions[i] = answers[j]
		}
		if refuses(part, answers) {
			return s.undo(ctx, asks, decisions, groups, taken)
		}
		taken = append(taken, part)
	}
	return nil
}

// undo gives back what was taken, and asks the rest what they would have said.
func (s *Store) undo(ctx context.Context, asks []ratelimit.Ask, decisions []ratelimit.Decision, groups [][]int, taken [][]ratelimit.Ask) error {
	s.giveBack(ctx, taken)
	for n, g := range groups {
		if n == len(taken) {
			continue // it refused
		}
		part, answers := pick(asks, g), make([]ratelimit.Decision, len(g))
		for j := range part {
			part[j].Cost = 0
		}
		if err := s.script(ctx, "take", part, answers); err != nil {
			return err
		}
		for j, i := range g {
			decisions[i] = answers[j]
		}
	}
	return nil
}

func (s *Store) giveBack(ctx context.Context, taken [][]ratelimit.Ask) {
	for _, part := range taken {
		// What cannot be given back flows back by itself.
		_ = s.script(ctx, "back", part, make([]ratelimit.Decision, len(part)))
	}
}

func refuses(asks []ratelimit.Ask, decisions []ratelimit.Decision) bool {
	for i, d := range decisions {
		if !d.Allowed && !asks[i].Limit.Shadow {
			return true
		}
	}
	return false
}

// groupsOf returns the indexes below n in groups of equal keys, in order.
func groupsOf(n int, key func(int) string) [][]int {
	var groups [][]int
	at := make(map[string]int, n)
	for i := range n {
		g, ok := at[key(i)]
		if !ok {
			g = len(groups)
			at[key(i)] = g
			groups = append(groups, nil)
		}
		groups[g] = append(groups[g], i)
	}
	return groups
}

func pick(asks []ratelimit.Ask, indexes []int) []ratelimit.Ask {
	out := make([]ratelimit.Ask, len(indexes))
	for j, i := range indexes {
		out[j] = asks[i]
	}
	return out
}

// script runs the script of Take over asks.
func (s *Store) script(ctx context.Context, mode string, asks []ratelimit.Ask, decisions []ratelimit.Decision) error {
	keys := make([]string, len(asks))
	args := make([]any, 1, 1+6*len(asks))
	args[0] = mode
	for i, a := range asks {
		keys[i] = s.key(a.Limit.Bucket, a.Key)
		shadow := "0"
		if a.Limit.Shadow {
			shadow = "1"
		}
		if r := a.Limit.Rate; r != nil {
			per := strconv.FormatFloat(float64(r.Per)/float64(time.Microsecond), 'f', -1, 64)
			args = append(args, "rate", r.Requests, per, r.Burst, a.Cost, shadow)
			continue
		}
		rolling := 0
		if a.Limit.Quota.Rolling {
			rolling = 1
		}
		args = append(args, "quota", a.Limit.Quota.Limit, int(a.Limit.Quota.Period), rolling, a.Cost, shadow)
	}
	out, err := s.take.Run(ctx, s.client, keys, args...).Int64Slice()
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	if len(out) != 4*len(asks) {
		return fmt.Errorf("redis: %d answers to %d limits", len(out), len(asks))
	}
	for i, a := range asks {
		decisions[i] = decision(a.Limit, out[4*i:4*i+4])
	}
	return nil
}

func decision(l *ratelimit.Limit, v []int64) ratelimit.Decision {
	d := ratelimit.Decision{
		Allowed: v[0] == 1, Remaining: v[1],
		RetryAfter: time.Duration(v[2]) * time.Microsecond, ResetAfter: time.Duration(v[3]) * time.Microsecond,
	}
	if v[2] < 0 {
		d.RetryAfter = ratelimit.Never
	}
	if l.Rate != nil {
		d.Limit = l.Rate.Burst
	} else {
		d.Limit = l.Quota.Limit
	}
	return d
}
