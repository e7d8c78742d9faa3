package jwt_test

import (
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/transomhq/transom/interceptors/authn"
	"github.com/transomhq/transom/interceptors/authn/jwt"
)

func verify(t testing.TB, v *jwt.Verifier, token string) (string, error) {
	t.Helper()
	p, err := v.Verify(t.Context(), authn.Credential{Text: token})
	if err != nil {
		return "", err
	}
	return p.Subject, nil
}

func TestAcceptsEveryAlgorithm(t *testing.T) {
	for _, alg := range jwt.Algorithms() {
		t.Run(alg, func(t *testing.T) {
			s := newSigner(t, "k", alg)
			v := newVerifier(t, newIssuer(t, s), nil)
			if sub, err := verify(t, v, s.token(t, nil)); sub != "ann" {
				t.Errorf("got %q, %v", sub, err)
			}
		})
	}
}

func TestPrincipal(t *testing.T) {
	s := newSigner(t, "k", "ES256")
	v := newVerifier(t, newIssuer(t, s), func(o *jwt.Options) {
		o.RoleClaims = []string{"roles", "realm_access.roles", "https://x.example/roles"}
	})
	p, err := v.Verify(t.Context(), authn.Credential{Text: s.token(t, map[string]any{
		"aud": []string{"x", audience}, "realm_access": map[string]any{"roles": []string{"admin"}}, "https://x.example/roles": "a b", "tenant": "t1",
	})})
	if err != nil {
		t.Fatal(err)
	}
	if p.Subject != "ann" || p.Issuer != issuerName || p.Consumer != "app" || p.CredentialID != "t-1" || p.Method != "jwt" || p.Expiry.IsZero() ||
		!slices.Equal(p.Scopes, []string{"orders.read", "orders.write"}) || !slices.Equal(p.Roles, []string{"clerk", "admin", "a", "b"}) || p.Claims["tenant"] != "t1" {
		t.Errorf("got %+v", p)
	}
}

// TestAttacks are tokens that somebody would like to be accepted.
func TestAttacks(t *testing.T) {
	rs, es, other := newSigner(t, "rs", "RS256"), newSigner(t, "es", "ES256"), newSigner(t, "rs", "RS256")
	es384, hmacKey := newSigner(t, "es384", "ES384"), newSigner(t, "weak", "RS256")
	i := newIssuer(t, rs, es, es384)
	i.mu.Lock()
	i.keys = append(i.keys, map[string]any{"kty": "oct", "kid": "oct", "k": b64("secret secret secret secret secret"), "alg": "HS256"},
		hmacKey.public(t, map[string]any{"kid": "enc", "use": "enc"}))
	i.mu.Unlock()
	v := newVerifier(t, i, nil)
	good := es.token(t, nil)
	if _, err := verify(t, v, good); err != nil {
		t.Fatal(err)
	}
	claims := fmt.Sprintf(`{"iss":%q,"aud":%q,"sub":"ann","exp":%d`, issuerName, audience, time.Now().Add(time.Hour).Unix())
	whole := claims + "}"
	hs := func(header string, key []byte) string {
		text := b64(header) + "." + b64(whole)
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(text))
		return text + "." + b64(string(mac.Sum(nil)))
	}
	der, err := x509.MarshalPKIXPublicKey(rs.private.Public())
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	ownKey, _ := json.Marshal(other.public(t, nil))
	parts := strings.Split(good, ".")
	sig, _ := base64.RawURLEncoding.DecodeString(parts[2])
	derSig, err := es.private.Sign(nil, hash(parts[0]+"."+parts[1]), crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	hour := time.Now().Add(time.Hour).Unix()
	for name, token := range map[string]string{
		"empty":                      "",
		"dots only":                  "..",
		"two parts":                  parts[0] + "." + parts[1],
		"four parts":                 good + "." + parts[2],
		"no signature":               parts[0] + "." + parts[1] + ".",
		"alg none":                   b64(`{"alg":"none"}`) + "." + b64(whole) + ".",
		"alg None":                   b64(`{"alg":"NoNe"}`) + "." + b64(whole) + ".",
		"alg none, signed":           b64(`{"alg":"none","kid":"es"}`) + "." + b64(whole) + "." + parts[2],
		"alg empty":                  es.sign(t, `{"alg":"","kid":"es"}`, whole),
		"alg missing":                es.sign(t, `{"kid":"es"}`, whole),
		"alg a number":               es.sign(t, `{"alg":1,"kid":"es"}`, whole),
		"alg twice":                  es.sign(t, `{"alg":"none","alg":"ES256","kid":"es"}`, whole),
		"alg in other case":          es.sign(t, `{"alg":"es256","kid":"es"}`, whole),
		"HS256 with the public PEM":  hs(`{"alg":"HS256","kid":"rs"}`, publicPEM),
		"HS256 with the public DER":  hs(`{"alg":"HS256","kid":"rs"}`, der),
		"HS256 with an oct key":      hs(`{"alg":"HS256","kid":"oct"}`, []byte("secret secret secret secret secret")),
		"HS256 with no key":          hs(`{"alg":"HS256"}`, nil),
		"RS256 header, HMAC inside":  hs(`{"alg":"RS256","kid":"rs"}`, publicPEM),
		"ES256 by a P-384 key":       es384.signAs(t, "ES384", `{"alg":"ES256","kid":"es384"}`, whole),
		"ES384 by a P-256 key":       es.signAs(t, "ES256", `{"alg":"ES384","kid":"es"}`, whole),
		"PS256 header, RS256 inside": rs.signAs(t, "RS256", `{"alg":"PS256","kid":"rs"}`, whole),
		"kid of another type":        rs.sign(t, `{"alg":"RS256","kid":"es"}`, whole),
		"kid of a foreign key":       other.sign(t, `{"alg":"RS256","kid":"rs"}`, whole),
		"kid unknown":                other.sign(t, `{"alg":"RS256","kid":"nobody"}`, whole),
		"kid a path":                 other.sign(t, `{"alg":"RS256","kid":"../../../../dev/null"}`, whole),
		"kid SQL":                    other.sign(t, `{"alg":"RS256","kid":"' UNION SELECT 'key"}`, whole),
		"kid an object":              rs.sign(t, `{"alg":"RS256","kid":{"a":1}}`, whole),
		"kid of an encryption key":   hmacKey.sign(t, `{"alg":"RS256","kid":"enc"}`, whole),
		"jwk in the header":          other.sign(t, fmt.Sprintf(`{"alg":"RS256","jwk":%s}`, ownKey), whole),
		"jku in the header":          other.sign(t, `{"alg":"RS256","kid":"rs","jku":"https://evil.example/keys"}`, whole),
		"x5u in the header":          other.sign(t, `{"alg":"RS256","kid":"rs","x5u":"https://evil.example/cert"}`, whole),
		"crit":                       es.sign(t, `{"alg":"ES256","kid":"es","crit":["exp"],"exp":1}`, whole),
		"crit empty":                 es.sign(t, `{"alg":"ES256","kid":"es","crit":[]}`, whole),
		"b64 false":                  es.sign(t, `{"alg":"ES256","kid":"es","b64":false}`, whole),
		"zip":                        es.sign(t, `{"alg":"ES256","kid":"es","zip":"DEF"}`, whole),
		"nested":                     es.sign(t, `{"alg":"ES256","kid":"es","cty":"JWT"}`, whole),
		"typ of a logout token":      es.sign(t, `{"alg":"ES256","kid":"es","typ":"logout+jwt"}`, whole),
		"typ of a key":               es.sign(t, `{"alg":"ES256","kid":"es","typ":"dpop+jwt"}`, whole),
		"header no object":           es.sign(t, `["ES256"]`, whole),
		"header with a tail":         es.sign(t, `{"alg":"ES256","kid":"es"}{}`, whole),
		"claims no object":           es.sign(t, `{"alg":"ES256","kid":"es"}`, `"ann"`),
		"claims no JSON":             es.sign(t, `{"alg":"ES256","kid":"es"}`, claims),
		"claims empty":               es.sign(t, `{"alg":"ES256","kid":"es"}`, `{}`),
		"sub twice":                  es.sign(t, `{"alg":"ES256","kid":"es"}`, claims+`,"sub":"root"}`),
		"sub twice, escaped":         es.sign(t, `{"alg":"ES256","kid":"es"}`, claims+`,"\u0073ub":"root"}`),
		"a name twice, deep":         es.sign(t, `{"alg":"ES256","kid":"es"}`, claims+`,"act":{"sub":"a","sub":"b"}}`),
		"claims not UTF-8":           es.sign(t, `{"alg":"ES256","kid":"es"}`, claims+",\"n\":\"\xff\"}"),
		"claims too deep":            es.sign(t, `{"alg":"ES256","kid":"es"}`, claims+`,"d":`+strings.Repeat("[", 5000)+strings.Repeat("]", 5000)+`}`),
		"other issuer":               es.token(t, map[string]any{"iss": "https://evil.example"}),
		"issuer with a slash":        es.token(t, map[string]any{"iss": issuerName + "/"}),
		"no issuer":                  es.token(t, map[string]any{"iss": nil}),
		"issuer a list":              es.token(t, map[string]any{"iss": []string{issuerName}}),
		"other audience":             es.token(t, map[string]any{"aud": "bank"}),
		"no audience":                es.token(t, map[string]any{"aud": nil}),
		"audience null":              es.token(t, map[string]any{"aud": json.RawMessage("null")}),
		"audience an object":         es.token(t, map[string]any{"aud": map[string]any{audience: true}}),
		"audience a prefix":          es.token(t, map[string]any{"aud": audience + ".evil"}),
		"no subject":                 es.token(t, map[string]any{"sub": nil}),
		"subject a number":           es.token(t, map[string]any{"sub": 7}),
		"expired":                    es.token(t, map[string]any{"exp": time.Now().Add(-2 * time.Minute).Unix()}),
		"expired long ago":           es.token(t, map[string]any{"exp": -1}),
		"no exp":                     es.token(t, map[string]any{"exp": nil}),
		"exp a text":                 es.token(t, map[string]any{"exp": fmt.Sprint(hour)}),
		"exp null":                   es.token(t, map[string]any{"exp": json.RawMessage("null")}),
		"exp beyond numbers":         es.token(t, map[string]any{"exp": json.RawMessage("1e999")}),
		"not valid yet":              es.token(t, map[string]any{"nbf": hour}),
		"nbf a text":                 es.token(t, map[string]any{"nbf": "0"}),
		"scope a number":             es.token(t, map[string]any{"scope": 5}),
		"signature changed":          parts[0] + "." + parts[1] + "." + b64(string(append([]byte{sig[0] ^ 1}, sig[1:]...))),
		"signature short":            parts[0] + "." + parts[1] + "." + b64(string(sig[:63])),
		"signature long":             parts[0] + "." + parts[1] + "." + b64(string(sig)+"\x00"),
		"signature zeros":            parts[0] + "." + parts[1] + "." + b64(strings.Repeat("\x00", 64)),
		"signature in DER":           parts[0] + "." + parts[1] + "." + b64(string(derSig)),
		"claims changed":             parts[0] + "." + b64(whole) + "." + parts[2],
		"padding":                    good + "=",
		"a line break":               parts[0] + "." + parts[1] + "." + parts[2][:10] + "\n" + parts[2][10:],
		"standard alphabet":          strings.Replace(good, parts[2], base64.RawStdEncoding.EncodeToString([]byte("\xfb\xff\xfe"+string(sig[3:]))), 1),
		"a space before":             " " + good,
		"JSON serialization":         `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"encrypted (five parts)":     "a.b.c.d.e",
		"larger than the limit":      es.token(t, map[string]any{"pad": strings.Repeat("x", 16<<10)}),
	} {
		t.Run(name, func(t *testing.T) {
			sub, err := verify(t, v, token)
			var r *authn.Refusal
			if sub != "" || !errors.As(err, &r) {
				t.Fatalf("got %q, %v", sub, err)
			}
			want := authn.Invalid
			if strings.HasPrefix(name, "expired") {
				want = authn.Expired
			}
			if r.Reason != want {
				t.Errorf("reason %s, want %s (%v)", r.Reason, want, r)
			}
			if token != "" && len(parts[2]) > 0 && strings.Contains(r.Error(), parts[2]) {
				t.Errorf("the error holds the token: %v", r)
			}
		})
	}
}

func hash(s string) []byte { sum := sha256.Sum256([]byte(s)); return sum[:] }

func TestAcceptsWhatIsAllowed(t *testing.T) {
	s := newSigner(t, "k", "ES256")
	v := newVerifier(t, newIssuer(t, s), nil)
	claims := fmt.Sprintf(`{"iss":%q,"aud":[%q],"sub":"ann","exp":%d.5}`, issuerName, audience, time.Now().Add(time.Hour).Unix())
	for name, token := range map[string]string{
		"no kid":                s.sign(t, `{"alg":"ES256"}`, claims),
		"no typ":                s.sign(t, `{"alg":"ES256","kid":"k"}`, claims),
		"typ of access tokens":  s.sign(t, `{"alg":"ES256","kid":"k","typ":"at+jwt"}`, claims),
		"typ in full":           s.sign(t, `{"alg":"ES256","kid":"k","typ":"application/AT+JWT"}`, claims),
		"expired within skew":   s.token(t, map[string]any{"exp": time.Now().Add(-50 * time.Second).Unix()}),
		"valid soon, with skew": s.token(t, map[string]any{"nbf": time.Now().Add(50 * time.Second).Unix()}),
		"exp far away":          s.token(t, map[string]any{"exp": json.RawMessage("1e300")}),
	} {
		if sub, err := verify(t, v, token); sub != "ann" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOnlyAllowedAlgorithms(t *testing.T) {
	s := newSigner(t, "k", "RS256")
	v := newVerifier(t, newIssuer(t, s), func(o *jwt.Options) { o.Algorithms = []string{"PS256"} })
	if _, err := verify(t, v, s.token(t, nil)); err == nil {
		t.Error("RS256 was accepted")
	}
	if _, err := jwt.New(jwt.Options{Issuer: "i", Audiences: []string{"a"}, Algorithms: []string{"HS256"}}); err == nil || !strings.Contains(err.Error(), `"HS256"`) {
		t.Errorf("HS256 can be allowed: %v", err)
	}
}

// A key that expires in the cache is not good for longer than its token.
func TestCachedTokensExpire(t *testing.T) {
	s := newSigner(t, "k", "ES256")
	v := newVerifier(t, newIssuer(t, s), func(o *jwt.Options) { o.Skew = time.Millisecond })
	token := s.token(t, map[string]any{"exp": float64(time.Now().Add(300*time.Millisecond).UnixMilli()) / 1000})
	if _, err := verify(t, v, token); err != nil {
		t.Fatal(err)
	}
	time.Sleep(350 * time.Millisecond)
	var r *authn.Refusal
	if _, err := verify(t, v, token); !errors.As(err, &r) || r.Reason != authn.Expired {
		t.Errorf("got %v", err)
	}
}

// Keys are rotated again and again while calls come with old and new tokens.
func TestRotationUnderLoad(t *testing.T) {
	const interval = 200 * time.Millisecond
	old := newSigner(t, "k0", "ES256")
	i := newIssuer(t, old)
	v := newVerifier(t, i, func(o *jwt.Options) { o.Keys.MinInterval = interval })
	var current atomic.Pointer[[2]*signer]
	current.Store(&[2]*signer{old, old})
	begin := time.Now()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var calls atomic.Int64
	for n := range 8 {
		wg.Go(func() {
			for c := 0; ; c++ {
				select {
				case <-stop:
					return
				default:
				}
				s := current.Load()[c%2]
				if _, err := verify(t, v, s.token(t, map[string]any{"jti": fmt.Sprint(n, c)})); err != nil {
					t.Errorf("a call failed: %v", err)
					return
				}
				calls.Add(1)
			}
		})
	}
	for n := range 5 {
		time.Sleep(interval)
		before, last := current.Load()[0], current.Load()[1]
		next := newSigner(t, fmt.Sprint("k", n+1), "ES256")
		i.publish(t, before, last, next) // before: calls under way may still have its tokens
		current.Store(&[2]*signer{last, next})
	}
	time.Sleep(interval)
	close(stop)
	wg.Wait()
	most := int64(time.Since(begin)/interval) + 2 // the first fetch, and one begun interval
	if n := i.fetches.Load(); n > most {
		t.Errorf("%d fetches in %s, want at most %d", n, time.Since(begin), most)
	}
	t.Logf("%d calls, %d fetches", calls.Load(), i.fetches.Load())
}

// Tokens that name keys nobody has do not make the gateway an attacker of the issuer.
func TestUnknownKeysAreAskedForSeldom(t *testing.T) {
	s, stranger := newSigner(t, "k", "ES256"), newSigner(t, "x", "ES256")
	i := newIssuer(t, s)
	v := newVerifier(t, i, func(o *jwt.Options) { o.Keys.MinInterval = time.Hour })
	if _, err := verify(t, v, s.token(t, nil)); err != nil {
		t.Fatal(err)
	}
	for n := range 50 {
		stranger.kid = fmt.Sprint("x", n)
		if _, err := verify(t, v, stranger.token(t, nil)); err == nil {
			t.Fatal("accepted")
		}
	}
	if n := i.fetches.Load(); n > 2 {
		t.Errorf("%d fetches", n)
	}
}

func TestStaleKeysServeWhileTheIssuerIsDown(t *testing.T) {
	s := newSigner(t, "k", "ES256")
	i := newIssuer(t, s)
	v := newVerifier(t, i, func(o *jwt.Options) {
		o.Keys.Refresh, o.Keys.MinInterval = 20*time.Millisecond, 20*time.Millisecond
	})
	if _, err := verify(t, v, s.token(t, nil)); err != nil {
		t.Fatal(err)
	}
	i.answer(http.StatusInternalServerError)
	for before := i.fetches.Load(); i.fetches.Load() < before+2; {
		time.Sleep(time.Millisecond)
	}
	if _, err := verify(t, v, s.token(t, map[string]any{"jti": "new"})); err != nil {
		t.Errorf("with the issuer down: %v", err)
	}
}

func TestNoKeysYetIsNobodysFault(t *testing.T) {
	s := newSigner(t, "k", "ES256")
	i := newIssuer(t, s)
	i.answer(http.StatusServiceUnavailable)
	v := newVerifier(t, i, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err := v.Verify(ctx, authn.Credential{Text: s.token(t, nil)})
	var r *authn.Refusal
	if err == nil || errors.As(err, &r) {
		t.Errorf("got %v, want an error that is no refusal", err)
	}
}

// A key that the issuer takes back is not good any more, not even for tokens
// that were verified before.
func TestWithdrawnKeys(t *testing.T) {
	bad, good := newSigner(t, "bad", "ES256"), newSigner(t, "good", "ES256")
	i := newIssuer(t, bad, good)
	v := newVerifier(t, i, func(o *jwt.Options) {
		o.Keys.Refresh, o.Keys.MinInterval = 10*time.Millisecond, 10*time.Millisecond
	})
	token := bad.token(t, nil)
	if _, err := verify(t, v, token); err != nil {
		t.Fatal(err)
	}
	i.publish(t, good)
	for before := i.fetches.Load(); i.fetches.Load() < before+3; {
		time.Sleep(time.Millisecond)
	}
	if _, err := verify(t, v, token); err == nil {
		t.Error("a token of a withdrawn key is accepted")
	}
}

func TestDiscovery(t *testing.T) {
	s := newSigner(t, "k", "ES256")
	i := newIssuer(t, s)
	v := newVerifier(t, i, func(o *jwt.Options) { o.Issuer, o.Keys = i.URL, jwt.KeyOptions{Discovery: true} })
	if _, err := verify(t, v, s.token(t, map[string]any{"iss": i.URL})); err != nil {
		t.Error(err)
	}
	wrong := newVerifier(t, i, func(o *jwt.Options) { o.Issuer, o.Keys = i.URL+"/", jwt.KeyOptions{Discovery: true} })
	if _, err := verify(t, wrong, s.token(t, map[string]any{"iss": i.URL + "/"})); err == nil || !strings.Contains(err.Error(), "another issuer") {
		t.Errorf("got %v", err)
	}
}

func TestKeyFile(t *testing.T) {
	a, b := newSigner(t, "a", "ES256"), newSigner(t, "b", "ES256")
	name := filepath.Join(t.TempDir(), "keys.json")
	put := func(s *signer) {
		text, err := json.Marshal(map[string]any{"keys": []any{s.public(t, nil)}})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	opts := jwt.Options{Issuer: issuerName, Audiences: []string{audience}, Keys: jwt.KeyOptions{File: name, MinInterval: 10 * time.Millisecond}}
	if _, err := jwt.New(opts); err == nil {
		t.Error("a missing file is accepted")
	}
	put(a)
	v, err := jwt.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if _, err := verify(t, v, a.token(t, nil)); err != nil {
		t.Error(err)
	}
	put(b)
	if _, err := verify(t, v, b.token(t, nil)); err != nil {
		t.Errorf("after a change: %v", err)
	}
}

func TestHugeKeySetsAreRefused(t *testing.T) {
	s := newSigner(t, "k", "ES256")
	i := newIssuer(t, s)
	i.mu.Lock()
	i.keys[0]["pad"] = strings.Repeat("x", 2<<20)
	i.mu.Unlock()
	v := newVerifier(t, i, nil)
	if _, err := verify(t, v, s.token(t, nil)); err == nil || !strings.Contains(err.Error(), "more than 1048576 bytes") {
		t.Errorf("got %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	s := newSigner(f, "k", "ES256")
	v := newVerifier(f, newIssuer(f, s), nil)
	good := s.token(f, nil)
	f.Add(good)
	f.Add("a.b.c")
	f.Add(b64(`{"alg":"none"}`) + "." + b64(`{}`) + ".")
	f.Fuzz(func(t *testing.T, token string) {
		// Nothing but what was signed is accepted, and errors hold no token.
		_, err := v.Verify(t.Context(), authn.Credential{Text: token})
		if (err == nil) != (token == good) {
			t.Errorf("%q: %v", token, err)
		}
	})
}

func BenchmarkVerifyCached(b *testing.B) {
	s := newSigner(b, "k", "ES256")
	v := newVerifier(b, newIssuer(b, s), nil)
	c := authn.Credential{Text: s.token(b, nil)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(b.Context(), c); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyNew(b *testing.B) {
	for _, alg := range []string{"RS256", "ES256", "EdDSA"} {
		b.Run(alg, func(b *testing.B) {
			s := newSigner(b, "k", alg)
			v := newVerifier(b, newIssuer(b, s), nil)
			tokens := make([]authn.Credential, 2000)
			for n := range tokens {
				tokens[n].Text = s.token(b, map[string]any{"jti": fmt.Sprint(n)})
			}
			n := 0
			for b.Loop() {
				if n%len(tokens) == 0 {
					b.StopTimer()
					v = newVerifier(b, newIssuer(b, s), nil)
					b.StartTimer()
				}
				if _, err := v.Verify(b.Context(), tokens[n%len(tokens)]); err != nil {
					b.Fatal(err)
				}
				n++
			}
		})
	}
}
