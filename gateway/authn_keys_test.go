package gateway_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/transomhq/transom/interceptors/authn/apikey"
	"github.com/transomhq/transom/interceptors/authn/revocation"
	"github.com/transomhq/transom/interceptors/authn/store"
)

// Keys that the command line makes and takes back are known to a gateway that
// runs, and to its streams, within a second.
func TestAPIKeys(t *testing.T) {
	file := filepath.Join(t.TempDir(), "authn.db")
	g := startGuarded(t, fmt.Sprintf(`
authn:
  authenticators:
    - {name: partners, api_key: {}, carriers: [{header: x-partner-key}, {query: key}]}
  identity: {consumer: x-consumer}
  store: {file: %q}
`, file))
	s := store.NewFile(file)
	k, text, err := apikey.Create(t.Context(), s, apikey.Key{Consumer: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	within(t, time.Second, func() bool { return g.grpc("Open", "x-partner-key", text).code == codes.OK })
	if _, a := g.rest("/v1/open/a", "X-Partner-Key", text); a.code != codes.OK {
		t.Errorf("REST: %+v", a)
	}
	if md := g.keeper.saw(); len(md["x-partner-key"]) > 0 || md["x-consumer"][0] != "acme" {
		t.Errorf("the backend saw %v", md)
	}
	if _, a := g.rest("/v1/open/a?key=" + text); a.code != codes.OK {
		t.Errorf("query: %+v", a)
	}
	ended := make(chan error, 1)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-partner-key", text)
	go func() { ended <- stream(ctx, g.conn, "Talk") }()
	time.Sleep(200 * time.Millisecond) // the stream runs
	if err := apikey.Revoke(t.Context(), s, k.Prefix); err != nil {
		t.Fatal(err)
	}
	revoked := time.Now()
	if a := answerOf(<-ended); a.reason != "REVOKED" || time.Since(revoked) > time.Second {
		t.Errorf("the stream ended after %s: %+v", time.Since(revoked), a)
	}
	if a := g.grpc("Open", "x-partner-key", text); a.reason != "REVOKED" {
		t.Errorf("afterwards: %+v", a)
	}
	if _, secret, _ := apikey.Split(text); strings.Contains(g.logs.String(), secret) {
		t.Error("the log holds the key")
	}
}

// within waits until ok, which it must be in time.
func within(t *testing.T, limit time.Duration, ok func() bool) {
	t.Helper()
	begin := time.Now()
	for !ok() {
		if time.Since(begin) > limit {
			t.Fatalf("not within %s", limit)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// A token that is revoked ends the streams that run on it.
func TestRevokedTokens(t *testing.T) {
	p := newIdentityProvider(t)
	file := filepath.Join(t.TempDir(), "authn.db")
	g := startGuarded(t, jwtConfig(p, fmt.Sprintf("  store: {file: %q}\n", file)))
	token, other := p.token(nil), p.token(map[string]any{"jti": "token-2"})
	if a := g.grpc("Open", "authorization", "Bearer "+token); a.code != codes.OK {
		t.Fatal(a)
	}
	ended := make(chan error, 1)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token)
	go func() { ended <- stream(ctx, g.conn, "Watch") }()
	time.Sleep(200 * time.Millisecond) // the stream runs
	if err := revocation.Add(t.Context(), store.NewFile(file), revocation.Entry{Token: "token-1"}); err != nil {
		t.Fatal(err)
	}
	revoked := time.Now()
	if a := answerOf(<-ended); a.reason != "REVOKED" || time.Since(revoked) > time.Second {
		t.Errorf("the stream ended after %s: %+v", time.Since(revoked), a)
	}
	if a := g.grpc("Open", "authorization", "Bearer "+token); a.reason != "REVOKED" {
		t.Errorf("the token: %+v", a)
	}
	if a := g.grpc("Open", "authorization", "Bearer "+other); a.code != codes.OK {
		t.Errorf("another token: %+v", a)
	}
}

// Several authenticators, any and all of them.
func TestPasswordsIntrospectionAndCombinations(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("pa:ss"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		switch {
		case id != "gw" || secret != "s3cret":
			w.WriteHeader(http.StatusUnauthorized)
		case r.FormValue("token") == "good":
			fmt.Fprint(w, `{"active":true,"sub":"bob","scope":"a b","client_id":"app"}`)
		case r.FormValue("token") == "broken":
			w.WriteHeader(http.StatusInternalServerError)
		default:
			fmt.Fprint(w, `{"active":false}`)
		}
	}))
	t.Cleanup(server.Close)
	var k apikey.Key
	text := apikey.Generate(&k)
	g := startGuarded(t, fmt.Sprintf(`
authn:
  realm: vault
  authenticators:
    - {name: people, basic: {users: [{name: ann, password_hash: %q}]}}
    - {name: tokens, introspection: {url: %q, client_id: gw, client_secret: s3cret}}
    - {name: keys, api_key: {keys: [{prefix: %q, hash: %q, consumer: app}]}}
policies:
  - {selectors: [vault.v1.Vault.Fill], policy: {authn: {all_of: [keys, people]}}}
  - {selectors: [vault.v1.Vault.Open], policy: {authn: {any_of: [people, tokens]}}}
`, hash, server.URL, k.Prefix, k.Hash))
	ann := "Basic " + base64.StdEncoding.EncodeToString([]byte("ann:pa:ss"))
	wrong := "Basic " + base64.StdEncoding.EncodeToString([]byte("ann:pass"))
	nobody := "Basic " + base64.StdEncoding.EncodeToString([]byte("nobody:pa:ss"))
	for _, tt := range []struct {
		name, method string
		md           []string
		code         codes.Code
		reason       string
	}{
		{"password", "Open", []string{"authorization", ann}, codes.OK, ""},
		{"password again, remembered", "Open", []string{"authorization", ann}, codes.OK, ""},
		{"wrong password", "Open", []string{"authorization", wrong}, codes.Unauthenticated, "INVALID"},
		{"unknown user", "Open", []string{"authorization", nobody}, codes.Unauthenticated, "INVALID"},
		{"no base64", "Open", []string{"authorization", "Basic ???"}, codes.Unauthenticated, "INVALID"},
		{"token", "Open", []string{"authorization", "Bearer good"}, codes.OK, ""},
		{"inactive token", "Open", []string{"authorization", "Bearer bad"}, codes.Unauthenticated, "INVALID"},
		{"token with odd characters", "Open", []string{"authorization", "Bearer a&b"}, codes.Unauthenticated, "INVALID"},
		{"server broken", "Open", []string{"authorization", "Bearer broken"}, codes.Unavailable, "AUTHENTICATION_UNAVAILABLE"},
		{"key where it is not asked for", "Open", []string{"x-api-key", text}, codes.Unauthenticated, "MISSING_CREDENTIAL"},
		{"both of two", "Fill", []string{"x-api-key", text, "authorization", ann}, codes.OK, ""},
		{"one of two", "Fill", []string{"x-api-key", text}, codes.Unauthenticated, "MISSING_CREDENTIAL"},
		{"other one of two", "Fill", []string{"authorization", ann}, codes.Unauthenticated, "MISSING_CREDENTIAL"},
		{"one wrong of two", "Fill", []string{"x-api-key", text, "authorization", wrong}, codes.Unauthenticated, "INVALID"},
		{"two headers", "Open", []string{"authorization", ann, "authorization", "Bearer good"}, codes.Unauthenticated, "INVALID"},
	} {
		if a := g.grpc(tt.method, tt.md...); a.code != tt.code || a.reason != tt.reason {
			t.Errorf("%s: %+v", tt.name, a)
		}
	}
	resp, _ := g.rest("/v1/open/a")
	if got := resp.Header.Get("WWW-Authenticate"); got != `Basic realm="vault", Bearer realm="vault"` {
		t.Errorf("challenges %s", got)
	}
	for _, secret := range []string{"pa:ss", "s3cret", ann[6:], text[12:]} {
		if strings.Contains(g.logs.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}
