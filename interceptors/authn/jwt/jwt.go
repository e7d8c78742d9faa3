package jwt

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/maypok86/otter/v2"

	"github.com/transomhq/transom/interceptors/authn"
	"github.com/transomhq/transom/rpc"
)

// Options say which tokens are accepted. Issuer, Audiences and Keys are needed.
type Options struct {
	// Issuer is the one "iss" of accepted tokens.
	Issuer string
	// Audiences are the names of what is called here; "aud" must have one.
	Audiences []string
	// Algorithms are those of Algorithms() that are allowed; empty: all.
	Algorithms []string
	// Types are the media types ("typ") of accepted tokens, without
	// "application/"; empty: "JWT", "at+jwt", and none at all.
	Types []string
	// Skew is how far clocks may differ; 0: 60 seconds.
	Skew time.Duration
	// MaxBytes bounds a token; 0: 16 KiB.
	MaxBytes int
	// CacheSize is how many verified tokens are remembered; 0: 10,000.
	CacheSize int

	// SubjectClaim names who calls; "": "sub".
	SubjectClaim string
	// ScopeClaims hold scopes as a text with spaces or as a list, the first
	// that is there; empty: "scope", "scp".
	ScopeClaims []string
	// RoleClaims hold roles, as a list or a text with spaces, all together;
	// dots lead into nested claims: "realm_access.roles". Empty: "roles".
	RoleClaims []string
	// ConsumerClaims name the calling application, the first that is there;
	// empty: "client_id", "azp".
	ConsumerClaims []string

	// Keys say where the issuer's keys are.
	Keys KeyOptions
}

const (
	defaultSkew  = time.Minute
	defaultBytes = 16 << 10
	defaultCache = 10_000
	// maxTries bounds the signatures that are checked for a token without "kid".
	maxTries = 8
)

// Verifier verifies tokens of one issuer. It is safe for concurrent use.
type Verifier struct {
	opts     Options
	keys     *keys
	verified *otter.Cache[[sha256.Size]byte, *verified]
}

var _ authn.Verifier = (*Verifier)(nil)

// verified is a token that was verified before.
type verified struct {
	principal *rpc.Principal
	key       *key
	notBefore time.Time
	notAfter  time.Time
}

// New returns a verifier, which fetches keys until Close.
func New(opts Options) (*Verifier, error) {
	switch {
	case opts.Issuer == "":
		return nil, errors.New("issuer: whose tokens are accepted must be said")
	case len(opts.Audiences) == 0:
		return nil, errors.New("audiences: for whom tokens are accepted must be said")
	}
	for _, alg := range opts.Algorithms {
		if !slices.Contains(Algorithms(), alg) {
			return nil, fmt.Errorf("algorithms: %q is not one of %s", alg, strings.Join(Algorithms(), ", "))
		}
	}
	opts.complete()
	cache, err := otter.New(&otter.Options[[sha256.Size]byte, *verified]{
		MaximumSize: opts.CacheSize,
		Executor:    func(fn func()) { fn() }, // no goroutine of its own
	})
	if err != nil {
		return nil, err
	}
	v := &Verifier{opts: opts, verified: cache}
	if v.keys, err = newKeys(opts.Issuer, opts.Keys); err != nil {
		return nil, err
	}
	return v, nil
}

func (o *Options) complete() {
	if len(o.Algorithms) == 0 {
		o.Algorithms = Algorithms()
	}
	if len(o.Types) == 0 {
		o.Types = []string{"", "JWT", "at+jwt"}
	}
	if o.Skew == 0 {
		o.Skew = defaultSkew
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = defaultBytes
	}
	if o.CacheSize == 0 {
		o.CacheSize = defaultCache
	}
	if o.SubjectClaim == "" {
		o.SubjectClaim = "sub"
	}
	if len(o.ScopeClaims) == 0 {
		o.ScopeClaims = []string{"scope", "scp"}
	}
	if len(o.RoleClaims) == 0 {
		o.RoleClaims = []string{"roles"}
	}
	if len(o.ConsumerClaims) == 0 {
		o.ConsumerClaims = []string{"client_id", "azp"}
	}
}

// Close ends the fetching of keys and waits for it.
func (v *Verifier) Close() { v.keys.close() }

// Verify returns who a token is about.
func (v *Verifier) Verify(ctx context.Context, c authn.Credential) (*rpc.Principal, error) {
	if len(c.Text) > v.opts.MaxBytes {
		return nil, authn.Refuse(authn.Invalid, fmt.Sprintf("the token is larger than %d bytes", v.opts.MaxBytes), nil)
	}
	digest := sha256.Sum256([]byte(c.Text))
	known, ok := v.verified.GetIfPresent(digest)
	if !ok || known.key.gone.Load() {
		var err error
		if known, err = v.verify(ctx, c.Text); err != nil {
			return nil, err
		}
		v.verified.Set(digest, known)
	}
	now := time.Now()
	switch {
	case now.After(known.notAfter.Add(v.opts.Skew)):
		return nil, authn.Refuse(authn.Expired, "the token has expired", nil)
	case now.Add(v.opts.Skew).Before(known.notBefore):
		return nil, authn.Refuse(authn.Invalid, "the token is not valid yet", nil)
	}
	return known.principal, nil
}

// verify does what does not change with time: form, issuer, audience, signature.
func (v *Verifier) verify(ctx context.Context, compact string) (*verified, error) {
	t, err := parse(compact)
	if err != nil {
		return nil, invalid("the token is malformed", err)
	}
	if !slices.Contains(v.opts.Algorithms, t.alg) {
		return nil, invalid("the token's algorithm is not allowed", fmt.Errorf("alg %.20q", t.alg))
	}
	if !v.acceptsType(t.typ) {
		return nil, invalid("the token is of another type", fmt.Errorf("typ %.40q", t.typ))
	}
	// Cheap, and before any key is fetched for a foreign token.
	if iss, err := text(t.claims, "iss"); err != nil || iss != v.opts.Issuer {
		return nil, invalid("the token is from another issuer", err)
	}
	signer, err := v.signer(ctx, compact, t)
	if err != nil {
		return nil, err
	}
	if err := v.checkAudience(t.claims); err != nil {
		return nil, err
	}
	return v.accept(t, signer)
}

func invalid(text string, cause error) error { return authn.Refuse(authn.Invalid, text, cause) }

// acceptsType compares media types, which have no case and whose
// "application/" may be left out (RFC 7515, section 4.1.9).
func (v *Verifier) acceptsType(typ string) bool {
	if rest := len("application/"); len(typ) > rest && strings.EqualFold(typ[:rest], "application/") {
		typ = typ[rest:]
	}
	return slices.ContainsFunc(v.opts.Types, func(one string) bool { return strings.EqualFold(one, typ) })
}

// signer returns the key that signed a token.
func (v *Verifier) signer(ctx context.Context, compact string, t *token) (*key, error) {
	candidates, err := v.keys.find(ctx, t)
	if err != nil {
		return nil, err
	}
	if len(candidates) == 0 {
		return nil, invalid("the token is signed with a key that its issuer does not have", fmt.Errorf("kid %.60q, alg %s", t.kid, t.alg))
	}
	alg, ok := jwa.LookupSignatureAlgorithm(t.alg)
	if !ok {
		return nil, invalid("the token's algorithm is not allowed", nil)
	}
	verifier, err := jws.VerifierFor(alg)
	if err != nil {
		return nil, invalid("the token's algorithm is not allowed", err)
	}
	dot := strings.LastIndexByte(compact, '.')
	signature, err := decode(compact[dot+1:])
	if err != nil {
		return nil, invalid("the token is malformed", err)
	}
	for _, k := range candidates[:min(len(candidates), maxTries)] {
		if err = verifier.Verify(k.raw, []byte(compact[:dot]), signature); err == nil {
			return k, nil
		}
	}
	return nil, invalid("the token's signature is wrong", nil)
}

func (v *Verifier) checkAudience(claims map[string]any) error {
	audiences, err := texts(claims, "aud")
	if err != nil {
		return invalid("the token is malformed", err)
	}
	for _, aud := range audiences {
		if slices.Contains(v.opts.Audiences, aud) {
			return nil
		}
	}
	return invalid("the token is for another audience", nil)
}

// accept reads the claims of a token whose signature is good.
func (v *Verifier) accept(t *token, signer *key) (*verified, error) {
	exp, ok, err := seconds(t.claims, "exp")
	if err == nil && !ok {
		err = errors.New("there is no exp")
	}
	if err != nil {
		return nil, invalid("the token does not say when it expires", err)
	}
	nbf, _, err := seconds(t.claims, "nbf")
	if err == nil {
		_, _, err = seconds(t.claims, "iat")
	}
	if err != nil {
		return nil, invalid("the token is malformed", err)
	}
	p, err := v.principal(t.claims)
	if err != nil {
		return nil, invalid("the token is malformed", err)
	}
	p.Expiry = timeOf(exp)
	return &verified{principal: p, key: signer, notBefore: timeOf(nbf), notAfter: p.Expiry}, nil
}

func timeOf(seconds float64) time.Time {
	whole, part := math.Modf(seconds)
	return time.Unix(int64(whole), int64(part*1e9))
}
