package redisstore

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/transomhq/transom/interceptors/ratelimit"
)

// place is one place that a lease has.
type place struct{ key, id string }

// tellTimeout bounds how long the keeper waits for one answer.
const tellTimeout = time.Second

// Acquire implements ratelimit.Leases. A place is a member of a sorted set
// with the time at which it is free again; this process renews it in time.
func (s *Store) Acquire(ctx context.Context, asks []ratelimit.PlaceAsk, full []bool) (func(), error) {
	id := s.process + "-" + strconv.FormatUint(s.serial.Add(1), 36)
	groups := [][]int{indexes(len(asks))}
	if s.cluster {
		groups = groupsOf(len(asks), func(i int) string { return asks[i].Key })
	}
	var keys []string
	for _, g := range groups {
		taken, refused, err := s.acquireOf(ctx, id, asks, g, full)
		keys = append(keys, taken...)
		if err != nil || refused {
			s.drop(id, keys)
			return func() {}, err
		}
	}
	s.mu.Lock()
	s.held[id] = keys
	s.mu.Unlock()
	return sync.OnceFunc(func() { s.drop(id, keys) }), nil
}

func indexes(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// acquireOf asks for the places of one slot.
func (s *Store) acquireOf(ctx context.Context, id string, asks []ratelimit.PlaceAsk, g []int, full []bool) (taken []string, refused bool, err error) {
	keys := make([]string, len(g))
	args := make([]any, 2, 2+2*len(g))
	args[0], args[1] = id, s.lease.Milliseconds()
	for j, i := range g {
		keys[j] = s.key(asks[i].Places.Bucket, asks[i].Key)
		shadow := "0"
		if asks[i].Places.Shadow {
			shadow = "1"
		}
		args = append(args, asks[i].Places.Limit, shadow)
	}
	out, err := s.acquire.Run(ctx, s.client, keys, args...).Int64Slice()
	if err != nil {
		// It may have run all the same.
		return keys, false, fmt.Errorf("redis: %w", err)
	}
	if len(out) != len(g) {
		return keys, false, fmt.Errorf("redis: %d answers to %d limits", len(out), len(g))
	}
	for j, i := range g {
		full[i] = out[j] == 1
		if !full[i] {
			taken = append(taken, keys[j])
		} else if !asks[i].Places.Shadow {
			refused = true
		}
	}
	if refused {
		taken = nil
	}
	return taken, refused, nil
}

// drop gives places back, soon: a call does not wait for that.
func (s *Store) drop(id string, keys []string) {
	if len(keys) == 0 {
		return
	}
	s.mu.Lock()
	delete(s.held, id)
	for _, k := range keys {
		s.dropped = append(s.dropped, place{k, id})
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default: // awake already
	}
}

// keep tells the server what was given back, and renews what is held, until
// ctx is done.
func (s *Store) keep(ctx context.Context) {
	tick := time.NewTicker(s.lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			s.tell()
			return
		case <-s.wake:
			s.tell()
		case <-tick.C:
			s.renewAll(ctx)
		}
	}
}

// batch is how many commands go out together.
const batch = 256

// tell sends what was given back. What fails is not tried again: the lease
// ends by itself.
func (s *Store) tell() {
	s.mu.Lock()
	dropped := s.dropped
	s.dropped = nil
	s.mu.Unlock()
	for len(dropped) > 0 {
		n := min(batch, len(dropped))
		ctx, cancel := context.WithTimeout(context.Background(), tellTimeout)
		_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, d := range dropped[:n] {
				p.ZRem(ctx, d.key, d.id)
			}
			return nil
		})
		cancel()
		if err != nil {
			return
		}
		dropped = dropped[n:]
	}
}

func (s *Store) renewAll(ctx context.Context) {
	s.mu.Lock()
	var held []place
	for id, keys := range s.held {
		for _, k := range keys {
			held = append(held, place{k, id})
		}
	}
	s.mu.Unlock()
	for len(held) > 0 {
		n := min(batch, len(held))
		bounded, cancel := context.WithTimeout(ctx, tellTimeout)
		_, err := s.client.Pipelined(bounded, func(p redis.Pipeliner) error {
			for _, h := range held[:n] {
				s.renew.Eval(bounded, p, []string{h.key}, h.id, s.lease.Milliseconds())
			}
			return nil
		})
		cancel()
		if err != nil {
			return // the next tick comes before the leases end
		}
		held = held[n:]
	}
	s.tell()
}
