package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// RedisOptions say which server keeps the records.
type RedisOptions struct {
	Address            string // "host:port"
	Username, Password string
	Database           int
	TLS                *tls.Config // nil: plaintext
	Prefix             string      // of the names of keys
}

// Redis keeps records in hashes of a Redis server, one a bucket, which several
// gateways share.
type Redis struct {
	client *redis.Client
	prefix string
}

var _ Store = (*Redis)(nil)

// NewRedis returns the store of a server, which need not be up.
func NewRedis(o RedisOptions) *Redis {
	return &Redis{prefix: o.Prefix, client: redis.NewClient(&redis.Options{
		Addr: o.Address, Username: o.Username, Password: o.Password, DB: o.Database, TLSConfig: o.TLS,
		DialTimeout: 2 * time.Second, ReadTimeout: 2 * time.Second, WriteTimeout: 2 * time.Second,
		PoolSize: 4, MaxRetries: 1,
	})}
}

func (r *Redis) version() string           { return r.prefix + "{authn}:version" }
func (r *Redis) hash(bucket string) string { return r.prefix + "{authn}:" + bucket }

// Version implements Store: a counter of changes.
func (r *Redis) Version(ctx context.Context) (string, error) {
	v, err := r.client.Get(ctx, r.version()).Result()
	if errors.Is(err, redis.Nil) {
		return "", nil
	}
	return v, err
}

// All implements Store.
func (r *Redis) All(ctx context.Context, bucket string) (map[string][]byte, error) {
	texts, err := r.client.HGetAll(ctx, r.hash(bucket)).Result()
	if err != nil {
		return nil, err
	}
	all := make(map[string][]byte, len(texts))
	for name, text := range texts {
		all[name] = []byte(text)
	}
	return all, nil
}

// maxTries bounds how often a change is tried again because another was faster.
const maxTries = 20

// Update implements Store.
func (r *Redis) Update(ctx context.Context, bucket, name string, change func([]byte) ([]byte, error)) error {
	attempt := func(tx *redis.Tx) error {
		old, err := tx.HGet(ctx, r.hash(bucket), name).Bytes()
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		next, err := change(old)
		if err != nil {
			return err
		}
		_, err = tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
			if next == nil {
				p.HDel(ctx, r.hash(bucket), name)
			} else {
				p.HSet(ctx, r.hash(bucket), name, next)
			}
			p.Incr(ctx, r.version())
			return nil
		})
		return err
	}
	for range maxTries {
		err := r.client.Watch(ctx, attempt, r.hash(bucket))
		if !errors.Is(err, redis.TxFailedErr) {
			return err
		}
	}
	return fmt.Errorf("record %s: too many others change it", name)
}

// Close implements Store.
func (r *Redis) Close() error { return r.client.Close() }
