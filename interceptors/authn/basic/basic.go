package basic

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/maypok86/otter/v2"
	"golang.org/x/crypto/bcrypt"

	"github.com/transomhq/transom/interceptors/authn"
	"github.com/transomhq/transom/rpc"
)

// User may call with a password.
type User struct {
	Name   string
	Hash   string // bcrypt: "$2y$10$..."
	Scopes []string
	Roles  []string
}

// Issuer is the issuer of principals that passwords prove.
const Issuer = "basic"

const (
	maxText    = 1024            // of what a client sends
	remembered = 5 * time.Minute // a right password
	cacheSize  = 1000
)

// Verifier checks passwords. It is safe for concurrent use.
type Verifier struct {
	users map[string]*user
	decoy []byte // hash for users that there are not: they take as long
	key   []byte // of what is remembered
	known *otter.Cache[[sha256.Size]byte, time.Time]
	slots chan struct{} // one for each password being checked
}

type user struct {
	hash      []byte
	principal *rpc.Principal
}

var _ authn.Verifier = (*Verifier)(nil)

// New returns a verifier. Its error is a hash that is none.
func New(users []User) (*Verifier, error) {
	v := &Verifier{users: map[string]*user{}, key: make([]byte, 32), slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
	_, _ = rand.Read(v.key) // never fails
	cost := bcrypt.MinCost
	for _, u := range users {
		c, err := bcrypt.Cost([]byte(u.Hash))
		if err != nil {
			return nil, fmt.Errorf("user %q: its password_hash is not bcrypt", u.Name)
		}
		if strings.Contains(u.Name, ":") || v.users[u.Name] != nil {
			return nil, fmt.Errorf("user %q: a name is there once and has no colon", u.Name)
		}
		cost = max(cost, c)
		v.users[u.Name] = &user{[]byte(u.Hash), &rpc.Principal{
			Subject: u.Name, Issuer: Issuer, Scopes: u.Scopes, Roles: u.Roles, CredentialID: u.Name, Method: "basic",
		}}
	}
	var err error
	if v.decoy, err = bcrypt.GenerateFromPassword(v.key[:16], cost); err != nil {
		return nil, err
	}
	v.known, err = otter.New(&otter.Options[[sha256.Size]byte, time.Time]{MaximumSize: cacheSize, Executor: func(fn func()) { fn() }})
	return v, err
}

// Verify returns who shows a name and the right password.
func (v *Verifier) Verify(ctx context.Context, c authn.Credential) (*rpc.Principal, error) {
	if len(c.Text) > maxText {
		return nil, authn.Refuse(authn.Invalid, "the user name and password are malformed", nil)
	}
	text, err := base64.StdEncoding.DecodeString(c.Text)
	name, password, ok := strings.Cut(string(text), ":")
	if err != nil || !ok || !utf8.Valid(text) {
		return nil, authn.Refuse(authn.Invalid, "the user name and password are malformed", nil)
	}
	u := v.users[name]
	digest := v.digest(text)
	if u != nil {
		if at, ok := v.known.GetIfPresent(digest); ok && time.Since(at) < remembered {
			return u.principal, nil
		}
	}
	right, err := v.check(ctx, u, password)
	if err != nil {
		return nil, err
	}
	if !right {
		return nil, authn.Refuse(authn.Invalid, "the user name or the password is wrong", nil)
	}
	v.known.Set(digest, time.Now())
	return u.principal, nil
}

// check compares a password, few at a time: guessing is slow for all guessers
// together.
func (v *Verifier) check(ctx context.Context, u *user, password string) (bool, error) {
	select {
	case v.slots <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	defer func() { <-v.slots }()
	hash := v.decoy
	if u != nil {
		hash = u.hash
	}
	return bcrypt.CompareHashAndPassword(hash, []byte(password)) == nil && u != nil, nil
}

func (v *Verifier) digest(text []byte) (sum [sha256.Size]byte) {
	mac := hmac.New(sha256.New, v.key)
	mac.Write(text)
	mac.Sum(sum[:0])
	return sum
}
