package revocation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/transomhq/transom/interceptors/authn"
	"github.com/transomhq/transom/interceptors/authn/store"
	"github.com/transomhq/transom/rpc"
)

// Bucket is where revocations are in a store.
const Bucket = "revocations"

// Entry is one revocation. Exactly one of Token, Subject and Key is set.
type Entry struct {
	// Token is the id of a token ("jti").
	Token string `json:"token,omitempty"`
	// Subject is everything of somebody that was issued before At.
	Subject string `json:"subject,omitempty"`
	// Key is the prefix of an API key.
	Key string `json:"key,omitempty"`
	// Issuer, if set, is whose token or subject is meant; "" means all issuers'.
	Issuer string `json:"issuer,omitempty"`
	// At is when it was revoked.
	At time.Time `json:"at"`
	// Until is when the entry is of no use any more, since the credential has
	// expired by itself; zero: never.
	Until time.Time `json:"until,omitzero"`
	// Reason is for people.
	Reason string `json:"reason,omitempty"`
}

// name is what the entry is about, and its name in a store.
func (e *Entry) name() (string, error) {
	set := 0
	name := ""
	for kind, value := range map[string]string{"token": e.Token, "subject": e.Subject, "key": e.Key} {
		if value != "" {
			set++
			name = kind + "\x00" + e.Issuer + "\x00" + value
		}
	}
	if set != 1 {
		return "", errors.New("want one of a token id, a subject and a key")
	}
	return name, nil
}

// List is the list as a gateway has it in memory. The zero value was not
// loaded yet: until then, nobody can tell what is revoked.
type List struct {
	entries atomic.Pointer[map[string]Entry]
}

// Load reads the list anew. Entries that are of no use any more are left out.
func (l *List) Load(ctx context.Context, s store.Store) error {
	all, err := All(ctx, s)
	if err != nil {
		return err
	}
	entries := make(map[string]Entry, len(all))
	for _, e := range all {
		name, err := e.name()
		if err == nil {
			entries[name] = e
		}
	}
	l.entries.Store(&entries)
	return nil
}

// Check returns a *authn.Refusal if p's credential was taken back, and another
// error if the list could not be loaded yet.
func (l *List) Check(p *rpc.Principal) error {
	entries := l.entries.Load()
	switch {
	case entries == nil:
		return errNotLoaded
	case len(*entries) > 0 && revoked(*entries, p):
		return authn.Refuse(authn.Revoked, "the credential was revoked", nil)
	}
	return nil
}

var errNotLoaded = errors.New("the list of revocations could not be read yet")

func revoked(entries map[string]Entry, p *rpc.Principal) bool {
	if p.CredentialID != "" {
		kind := "token"
		if p.Method == "apikey" {
			kind = "key"
		}
		if hit(entries, kind, p, p.CredentialID) {
			return true
		}
	}
	return p.Subject != "" && hit(entries, "subject", p, p.Subject)
}

func hit(entries map[string]Entry, kind string, p *rpc.Principal, value string) bool {
	for _, issuer := range [2]string{p.Issuer, ""} {
		e, ok := entries[kind+"\x00"+issuer+"\x00"+value]
		if ok && (e.Until.IsZero() || time.Now().Before(e.Until)) && (kind != "subject" || !issuedAfter(p, e.At)) {
			return true
		}
	}
	return false
}

// issuedAfter reports whether a token says that it was issued after at: a
// subject that has signed in again is welcome.
func issuedAfter(p *rpc.Principal, at time.Time) bool {
	iat, ok := p.Claims["iat"].(float64)
	return ok && iat > float64(at.Unix())
}

// Add revokes what e names, from now on.
func Add(ctx context.Context, s store.Store, e Entry) error {
	name, err := e.name()
	if err != nil {
		return err
	}
	if e.At.IsZero() {
		e.At = time.Now().UTC()
	}
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return s.Update(ctx, Bucket, name, func([]byte) ([]byte, error) { return text, nil })
}

// Remove takes a revocation back.
func Remove(ctx context.Context, s store.Store, e Entry) error {
	name, err := e.name()
	if err != nil {
		return err
	}
	return s.Update(ctx, Bucket, name, func(old []byte) ([]byte, error) {
		if old == nil {
			return nil, store.ErrNotFound
		}
		return nil, nil
	})
}

// All returns the revocations of a store that still mean something, the latest first.
func All(ctx context.Context, s store.Store) ([]Entry, error) {
	records, err := s.All(ctx, Bucket)
	if err != nil {
		return nil, err
	}
	var all []Entry
	for name, text := range records {
		var e Entry
		if err := json.Unmarshal(text, &e); err != nil {
			return nil, fmt.Errorf("revocation %q: %w", strings.ReplaceAll(name, "\x00", " "), err)
		}
		if e.Until.IsZero() || time.Now().Before(e.Until) {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b Entry) int { return b.At.Compare(a.At) })
	return all, nil
}
