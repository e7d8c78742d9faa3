package apikey

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/transomhq/transom/interceptors/authn/store"
)

// Create makes a key of what k says about its owner, and returns its text,
// which nobody can tell again.
func Create(ctx context.Context, s store.Store, k Key) (Key, string, error) {
	if k.Consumer == "" {
		return Key{}, "", errors.New("whose key it is must be said: a consumer")
	}
	k.Created = time.Now().UTC().Truncate(time.Second)
	for range 8 { // a prefix is taken by chance once in 2^48
		text := Generate(&k)
		err := s.Update(ctx, Bucket, k.Prefix, func(old []byte) ([]byte, error) {
			if old != nil {
				return nil, errTaken
			}
			return json.Marshal(k)
		})
		if !errors.Is(err, errTaken) {
			return k, text, err
		}
	}
	return Key{}, "", errTaken
}

var errTaken = errors.New("the prefix is taken")

// Rotate makes a successor of the key with a prefix. Both are good for the
// time of overlap; then the old one expires, if it does not sooner.
func Rotate(ctx context.Context, s store.Store, prefix string, overlap time.Duration) (Key, string, error) {
	keys, err := All(ctx, s)
	if err != nil {
		return Key{}, "", err
	}
	for _, old := range keys {
		if old.Prefix != prefix {
			continue
		}
		if state := old.State(time.Now()); state != "active" {
			return Key{}, "", fmt.Errorf("key %s is %s: make a new one", prefix, state)
		}
		next := old
		next.Follows = prefix
		if !old.Expires.IsZero() { // for as long again
			next.Expires = time.Now().UTC().Truncate(time.Second).Add(old.Expires.Sub(old.Created))
		}
		next, text, err := Create(ctx, s, next)
		if err != nil {
			return Key{}, "", err
		}
		return next, text, Expire(ctx, s, prefix, time.Now().UTC().Add(overlap), true)
	}
	return Key{}, "", fmt.Errorf("key %s: %w", prefix, store.ErrNotFound)
}

// Expire sets when a key ends; sooner keeps an end that is sooner already.
func Expire(ctx context.Context, s store.Store, prefix string, at time.Time, sooner bool) error {
	return change(ctx, s, prefix, func(k *Key) {
		if !sooner || k.Expires.IsZero() || at.Before(k.Expires) {
			k.Expires = at
		}
	})
}

// Revoke takes a key back.
func Revoke(ctx context.Context, s store.Store, prefix string) error {
	return change(ctx, s, prefix, func(k *Key) {
		if k.Revoked.IsZero() {
			k.Revoked = time.Now().UTC().Truncate(time.Second)
		}
	})
}

func change(ctx context.Context, s store.Store, prefix string, f func(*Key)) error {
	err := s.Update(ctx, Bucket, prefix, func(old []byte) ([]byte, error) {
		if old == nil {
			return nil, store.ErrNotFound
		}
		var k Key
		if err := json.Unmarshal(old, &k); err != nil {
			return nil, err
		}
		f(&k)
		return json.Marshal(k)
	})
	if err != nil {
		return fmt.Errorf("key %s: %w", prefix, err)
	}
	return nil
}
