package apikey

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"time"
)

// Sizes in bytes.
const (
	prefixSize = 6 // 8 characters
	secretSize = 32
	saltSize   = 16
	maxText    = 256 // of a key that somebody shows
)

const scheme = "tk_"

// Key is what is kept of a key.
type Key struct {
	Prefix   string   `json:"prefix"`
	Hash     string   `json:"hash"` // "sha256:<salt>:<hash>", in hex
	Name     string   `json:"name,omitempty"`
	Consumer string   `json:"consumer"`
	Subject  string   `json:"subject,omitempty"` // "": the consumer
	Scopes   []string `json:"scopes,omitempty"`
	Roles    []string `json:"roles,omitempty"`

	Created time.Time `json:"created,omitzero"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
	Revoked time.Time `json:"revoked,omitzero"` // zero: it was not
	// Follows is the prefix of the key that this one replaces.
	Follows string `json:"follows,omitempty"`
}

// State says how a key is at a time: "active", "expired" or "revoked".
func (k *Key) State(now time.Time) string {
	switch {
	case !k.Revoked.IsZero():
		return "revoked"
	case !k.Expires.IsZero() && !now.Before(k.Expires):
		return "expired"
	}
	return "active"
}

// Generate gives k a new prefix and hash, and returns the key's text: it is
// shown once and never again.
func Generate(k *Key) string {
	k.Prefix = strings.Map(alphanumeric, base64.RawURLEncoding.EncodeToString(random(prefixSize)))
	secret := base64.RawURLEncoding.EncodeToString(random(secretSize))
	k.Hash = hashOf(random(saltSize), secret)
	return scheme + k.Prefix + "_" + secret
}

// alphanumeric keeps "_" for what stands between the parts of a key.
func alphanumeric(r rune) rune {
	switch r {
	case '-':
		return 'x'
	case '_':
		return 'y'
	}
	return r
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

func hashOf(salt []byte, secret string) string {
	h := sha256.New()
	h.Write(salt)
	h.Write([]byte(secret))
	return "sha256:" + hex.EncodeToString(salt) + ":" + hex.EncodeToString(h.Sum(nil))
}

// Split takes a key's text apart.
func Split(text string) (prefix, secret string, err error) {
	rest, ok := strings.CutPrefix(text, scheme)
	prefix, secret, ok2 := strings.Cut(rest, "_")
	if !ok || !ok2 || prefix == "" || secret == "" || len(text) > maxText {
		return "", "", errors.New("an API key looks like tk_<prefix>_<secret>")
	}
	return prefix, secret, nil
}

// Hash returns the prefix and the salted hash of a key's text, as a
// configuration holds them.
func Hash(text string) (prefix, hash string, err error) {
	prefix, secret, err := Split(text)
	if err != nil {
		return "", "", err
	}
	return prefix, hashOf(random(saltSize), secret), nil
}

// compiled is a key that is ready to be compared with.
type compiled struct {
	key  Key
	salt []byte
	sum  []byte
}

func compile(k Key) (*compiled, error) {
	algorithm, rest, _ := strings.Cut(k.Hash, ":")
	salt, sum, _ := strings.Cut(rest, ":")
	c := &compiled{key: k}
	var err, err2 error
	c.salt, err = hex.DecodeString(salt)
	c.sum, err2 = hex.DecodeString(sum)
	if algorithm != "sha256" || err != nil || err2 != nil || len(c.sum) != sha256.Size || len(c.salt) < 8 {
		return nil, errors.New("key " + k.Prefix + ": its hash is not sha256:<salt>:<hash>")
	}
	return c, nil
}

// matches compares in a time that says nothing about the secret.
func (c *compiled) matches(secret string) bool {
	buf := make([]byte, 0, 128)
	buf = append(append(buf, c.salt...), secret...)
	sum := sha256.Sum256(buf)
	return subtle.ConstantTimeCompare(sum[:], c.sum) == 1
}
