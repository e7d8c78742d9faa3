package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
)

// Algorithms returns the algorithms that can be allowed: asymmetric ones, so
// that nobody who can verify a token can make one.
func Algorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

// Bounds of what a key set may hold.
const (
	maxKeySetBytes = 1 << 20
	maxKeys        = 128
	minRSABits     = 2048
	maxRSABits     = 16384 // more is slow to verify with
)

// key is a public key of an issuer and the algorithms that it is for.
type key struct {
	id   string
	raw  any // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
	algs []string
	gone atomic.Bool // the issuer does not publish it any more
}

// keySet is what an issuer published at one time. It is immutable.
type keySet struct {
	keys    []*key
	skipped []error // why other keys are of no use
}

// parseKeySet reads a JWK set (RFC 7517, section 5). Keys that are of no use
// here are left out; a set without any other is an error.
func parseKeySet(text []byte) (*keySet, error) {
	if len(text) > maxKeySetBytes {
		return nil, fmt.Errorf("the key set is larger than %d bytes", maxKeySetBytes)
	}
	parsed, err := jwk.Parse(text, jwk.WithIgnoreParseError(true))
	if err != nil {
		return nil, fmt.Errorf("not a JWK set: %w", err)
	}
	s := &keySet{}
	for i := range parsed.Len() {
		if i == maxKeys {
			s.skipped = append(s.skipped, fmt.Errorf("more than %d keys", maxKeys))
			break
		}
		one, ok := parsed.Key(i)
		if !ok {
			continue
		}
		k, err := importKey(one)
		if err != nil {
			s.skipped = append(s.skipped, fmt.Errorf("key %d: %w", i, err))
			continue
		}
		s.keys = append(s.keys, k)
	}
	if len(s.keys) == 0 {
		return nil, errors.Join(append([]error{errors.New("the key set holds no key that can verify a token")}, s.skipped...)...)
	}
	return s, nil
}

func importKey(one jwk.Key) (*key, error) {
	if use, ok := one.KeyUsage(); ok && use != "" && use != "sig" {
		return nil, fmt.Errorf("its use is %q", use)
	}
	if ops, ok := one.KeyOps(); ok && len(ops) > 0 && !slices.Contains(ops, jwk.KeyOpVerify) {
		return nil, errors.New("its key_ops do not have verify")
	}
	if one.KeyType() == jwa.OctetSeq() {
		return nil, errors.New("it is symmetric") // whoever verifies could sign
	}
	public, err := one.PublicKey()
	if err != nil {
		return nil, errors.New("it has no public part")
	}
	k := &key{}
	k.id, _ = one.KeyID()
	if err := jwk.Export(public, &k.raw); err != nil {
		return nil, errors.New("it is malformed")
	}
	if k.algs, err = algorithmsOf(k.raw); err != nil {
		return nil, err
	}
	if alg, ok := one.Algorithm(); ok && alg.String() != "" {
		if !slices.Contains(k.algs, alg.String()) {
			return nil, fmt.Errorf("its alg, %q, is not one of its type", alg)
		}
		k.algs = []string{alg.String()}
	}
	return k, nil
}

// algorithmsOf returns the algorithms that fit a key: an elliptic curve has
// exactly one (RFC 7518, section 3.4).
func algorithmsOf(raw any) ([]string, error) {
	switch raw := raw.(type) {
	case *rsa.PublicKey:
		if bits := raw.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return nil, fmt.Errorf("it has %d bits, want %d to %d", bits, minRSABits, maxRSABits)
		}
		if raw.E < 3 || raw.E%2 == 0 {
			return nil, errors.New("its exponent is not safe")
		}
		return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}, nil
	case *ecdsa.PublicKey:
		if _, err := raw.ECDH(); err != nil {
			return nil, errors.New("its point is not on its curve")
		}
		switch raw.Curve {
		case elliptic.P256():
			return []string{"ES256"}, nil
		case elliptic.P384():
			return []string{"ES384"}, nil
		case elliptic.P521():
			return []string{"ES512"}, nil
		}
	case ed25519.PublicKey:
		if len(raw) == ed25519.PublicKeySize {
			return []string{"EdDSA"}, nil
		}
	}
	return nil, fmt.Errorf("its type, %T, is not supported", raw)
}

// candidates returns the keys that may have signed a token: the one that it
// names, or all that fit where it names none.
func (s *keySet) candidates(t *token) []*key {
	var out []*key
	for _, k := range s.keys {
		if (t.kid == "" || k.id == t.kid) && slices.Contains(k.algs, t.alg) {
			out = append(out, k)
		}
	}
	return out
}

// replace returns next with the keys that were there already: what was
// verified with those stays verified, and what was verified with a key that is
// not published any more does not.
func (s *keySet) replace(next *keySet) *keySet {
	if s == nil {
		return next
	}
	for _, old := range s.keys {
		i := slices.IndexFunc(next.keys, func(k *key) bool { return k.same(old) })
		if i < 0 {
			old.gone.Store(true)
			continue
		}
		next.keys[i] = old
	}
	return next
}

func (k *key) same(other *key) bool {
	if k.id != other.id || !slices.Equal(k.algs, other.algs) {
		return false
	}
	mine, ok := k.raw.(interface{ Equal(crypto.PublicKey) bool })
	return ok && mine.Equal(other.raw)
}
