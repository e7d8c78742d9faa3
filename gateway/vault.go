package gateway

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
	"github.com/transomhq/transom/interceptors/authn"
	"github.com/transomhq/transom/interceptors/authn/apikey"
	"github.com/transomhq/transom/interceptors/authn/revocation"
	"github.com/transomhq/transom/interceptors/authn/store"
)

// OpenStore opens the store of keys and revocations that a configuration
// names, as the command line does. Close it after use.
func OpenStore(cfg *configv1.Config) (store.Store, error) {
	c := cfg.GetAuthn().GetStore()
	switch {
	case c == nil:
		return nil, errors.New("the configuration names no store of keys and revocations: set authn.store")
	case c.GetRedis() == nil:
		return store.NewFile(c.GetFile()), nil
	}
	r := c.GetRedis()
	tlsConfig, _, err := clientTLS(r.GetTls())
	if err != nil {
		return nil, err
	}
	return store.NewRedis(store.RedisOptions{
		Address: r.GetAddress(), Username: r.GetUsername(), Password: r.GetPassword().GetValue(),
		Database: int(r.GetDatabase()), TLS: tlsConfig, Prefix: r.GetPrefix(),
	}), nil
}

// firstRead is how long a gateway that starts waits for its store.
const firstRead = 3 * time.Second

// vault is a store with what a gateway has of it in memory: revocations, and
// the rings of API keys that are filled from it.
type vault struct {
	store   store.Store
	revoked revocation.List
	stop    context.CancelFunc
	done    chan struct{}

	mu    sync.Mutex
	rings map[*apikey.Ring]bool
}

// openVault reads a store and goes on reading what changes in it.
func openVault(cfg *configv1.Config, leases *authn.Leases, log *slog.Logger) (*vault, error) {
	s, err := OpenStore(cfg)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	v := &vault{store: s, stop: stop, done: make(chan struct{}), rings: map[*apikey.Ring]bool{}}
	first, cancel := context.WithTimeout(ctx, firstRead)
	defer cancel()
	_ = v.load(first) // Watch tries again, and says why not
	go func() {
		defer close(v.done)
		store.Watch(ctx, s, log, v.load, func() {
			v.catchUp(ctx)
			leases.Recheck()
		})
	}()
	return v, nil
}

func (v *vault) load(ctx context.Context) error {
	if err := v.revoked.Load(ctx, v.store); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for ring := range v.rings {
		if err := ring.Load(ctx, v.store); err != nil {
			return err
		}
	}
	return nil
}

// add fills a ring from the store, now and when it changes.
func (v *vault) add(ring *apikey.Ring) {
	ctx, cancel := context.WithTimeout(context.Background(), firstRead)
	defer cancel()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.rings[ring] = true
	_ = ring.Load(ctx, v.store) // until it was loaded, the ring knows that there is more
}

// catchUp fills rings that came while the store could not be read.
func (v *vault) catchUp(ctx context.Context) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for ring := range v.rings {
		if ring.Waits() {
			_ = ring.Load(ctx, v.store) // the next time, then
		}
	}
}

func (v *vault) remove(ring *apikey.Ring) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.rings, ring)
}

// Close ends the reading and waits for it.
func (v *vault) Close() {
	v.stop()
	<-v.done
	_ = v.store.Close() // nothing is lost
}
