package jwt_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
	"go.uber.org/goleak"

	"github.com/transomhq/transom/interceptors/authn/jwt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	issuerName = "https://login.example"
	audience   = "shop"
)

// signer is a private key of an issuer.
type signer struct {
	kid, alg string
	private  crypto.Signer
}

func newSigner(t testing.TB, kid, alg string) *signer {
	t.Helper()
	s := &signer{kid: kid, alg: alg}
	var err error
	switch alg {
	case "ES256":
		s.private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		s.private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		s.private, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA":
		_, s.private, err = ed25519.GenerateKey(rand.Reader)
	default:
		s.private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// public returns the public key as a JWK, with members changed.
func (s *signer) public(t testing.TB, change map[string]any) map[string]any {
	t.Helper()
	k, err := jwk.Import(s.private.Public())
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	o := map[string]any{}
	if err := json.Unmarshal(text, &o); err != nil {
		t.Fatal(err)
	}
	o["kid"] = s.kid
	maps.Copy(o, change)
	return o
}

// sign signs two JSON texts as they are.
func (s *signer) sign(t testing.TB, header, claims string) string {
	t.Helper()
	return s.signAs(t, s.alg, header, claims)
}

func (s *signer) signAs(t testing.TB, alg, header, claims string) string {
	t.Helper()
	a, ok := jwa.LookupSignatureAlgorithm(alg)
	if !ok {
		t.Fatalf("no algorithm %s", alg)
	}
	by, err := jws.SignerFor(a)
	if err != nil {
		t.Fatal(err)
	}
	text := b64(header) + "." + b64(claims)
	signature, err := by.Sign(s.private, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + b64(string(signature))
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// token returns a good token, with claims changed; nil leaves one out.
func (s *signer) token(t testing.TB, change map[string]any) string {
	t.Helper()
	claims := map[string]any{
		"iss": issuerName, "aud": audience, "sub": "ann", "exp": time.Now().Add(time.Hour).Unix(), "jti": "t-1",
		"scope": "orders.read orders.write", "roles": []string{"clerk"}, "client_id": "app",
	}
	for name, v := range change {
		if v == nil {
			delete(claims, name)
		} else {
			claims[name] = v
		}
	}
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return s.sign(t, fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"JWT"}`, s.alg, s.kid), string(text))
}

// issuer serves a key set that can be changed.
type issuer struct {
	*httptest.Server
	fetches atomic.Int64
	mu      sync.Mutex
	keys    []map[string]any
	status  int
}

func newIssuer(t testing.TB, signers ...*signer) *issuer {
	i := &issuer{status: http.StatusOK}
	i.publish(t, signers...)
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		if r.URL.Path == "/.well-known/openid-configuration" {
			_ = json.NewEncoder(w).Encode(map[string]string{"issuer": i.URL, "jwks_uri": i.URL + "/keys"})
			return
		}
		i.fetches.Add(1)
		w.WriteHeader(i.status)
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": i.keys})
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) publish(t testing.TB, signers ...*signer) {
	var keys []map[string]any
	for _, s := range signers {
		keys = append(keys, s.public(t, nil))
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = keys
}

func (i *issuer) answer(status int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.status = status
}

func newVerifier(t testing.TB, i *issuer, change func(*jwt.Options)) *jwt.Verifier {
	t.Helper()
	opts := jwt.Options{Issuer: issuerName, Audiences: []string{"other", audience}, Keys: jwt.KeyOptions{URL: i.URL + "/keys"}}
	if change != nil {
		change(&opts)
	}
	v, err := jwt.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}
