package apikey

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/transomhq/transom/interceptors/authn"
	"github.com/transomhq/transom/interceptors/authn/store"
	"github.com/transomhq/transom/rpc"
)

// Bucket is where keys are in a store.
const Bucket = "keys"

// Issuer is the issuer of principals that keys prove.
const Issuer = "apikey"

// Ring holds the keys of a gateway in memory: those of its configuration,
// which never change, and those of a store. It is safe for concurrent use.
type Ring struct {
	fixed map[string]*entry
	all   atomic.Pointer[map[string]*entry]
	decoy *compiled   // compared with where there is no key
	await atomic.Bool // the keys of a store are not here yet
}

type entry struct {
	*compiled
	principal *rpc.Principal
}

var _ authn.Verifier = (*Ring)(nil)

// NewRing returns a ring of keys. With more to come from a store, a key that
// is not there is not refused before Load.
func NewRing(fixed []Key, more bool) (*Ring, error) {
	r := &Ring{fixed: make(map[string]*entry, len(fixed))}
	r.await.Store(more)
	for _, k := range fixed {
		e, err := newEntry(k)
		if err != nil {
			return nil, err
		}
		r.fixed[k.Prefix] = e
	}
	r.all.Store(&r.fixed)
	var k Key
	Generate(&k)
	var err error
	r.decoy, err = compile(k)
	return r, err
}

func newEntry(k Key) (*entry, error) {
	c, err := compile(k)
	if err != nil {
		return nil, err
	}
	p := &rpc.Principal{
		Subject: k.Subject, Issuer: Issuer, Consumer: k.Consumer, Scopes: k.Scopes, Roles: k.Roles,
		CredentialID: k.Prefix, Method: "apikey", Expiry: k.Expires,
	}
	if p.Subject == "" {
		p.Subject = k.Consumer
	}
	return &entry{c, p}, nil
}

// Load reads the store's keys anew. A key that is unchanged stays the same
// principal.
func (r *Ring) Load(ctx context.Context, s store.Store) error {
	keys, err := All(ctx, s)
	if err != nil {
		return err
	}
	next := maps.Clone(r.fixed)
	for _, k := range keys {
		if _, ok := next[k.Prefix]; ok {
			continue // the configuration wins
		}
		e, err := newEntry(k)
		if err != nil {
			return err
		}
		next[k.Prefix] = e
	}
	r.all.Store(&next)
	r.await.Store(false)
	return nil
}

// Waits reports whether the keys of a store are not here yet.
func (r *Ring) Waits() bool { return r.await.Load() }

// Verify returns whose key is shown.
func (r *Ring) Verify(_ context.Context, c authn.Credential) (*rpc.Principal, error) {
	prefix, secret, err := Split(c.Text)
	if err != nil {
		return nil, authn.Refuse(authn.Invalid, "the API key is malformed", nil)
	}
	e, ok := (*r.all.Load())[prefix]
	if !ok {
		if r.await.Load() {
			return nil, errors.New("the store of API keys could not be read yet")
		}
		r.decoy.matches(secret) // as long as for a key that there is
		return nil, authn.Refuse(authn.Invalid, "the API key is not known", nil)
	}
	if !e.matches(secret) {
		return nil, authn.Refuse(authn.Invalid, "the API key is not known", fmt.Errorf("wrong secret for key %s", prefix))
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	return e.principal, nil
}

// Check returns a *authn.Refusal if the key that proved p is not good any more.
func (r *Ring) Check(p *rpc.Principal) error {
	e, ok := (*r.all.Load())[p.CredentialID]
	if !ok {
		return errRevoked()
	}
	return e.check()
}

func errRevoked() error { return authn.Refuse(authn.Revoked, "the API key was revoked", nil) }

func (e *entry) check() error {
	switch e.key.State(time.Now()) {
	case "revoked":
		return errRevoked()
	case "expired":
		return authn.Refuse(authn.Expired, "the API key has expired", nil)
	}
	return nil
}

// All returns the keys of a store, by consumer and time.
func All(ctx context.Context, s store.Store) ([]Key, error) {
	records, err := s.All(ctx, Bucket)
	if err != nil {
		return nil, err
	}
	keys := make([]Key, 0, len(records))
	for prefix, text := range records {
		var k Key
		if err := json.Unmarshal(text, &k); err != nil {
			return nil, fmt.Errorf("key %s: %w", prefix, err)
		}
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Consumer, b.Consumer), a.Created.Compare(b.Created), cmp.Compare(a.Prefix, b.Prefix))
	})
	return keys, nil
}
