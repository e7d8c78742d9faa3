package gateway_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/transomhq/transom/config"
	"github.com/transomhq/transom/gateway"
)

// vault is a schema whose methods need credentials, except where it says so.
const vault = `
syntax = "proto3";
package vault.v1;
import "google/api/annotations.proto";
import "google/protobuf/struct.proto";
import "transom/policy/v1/policy.proto";
service Vault {
  rpc Open(OpenRequest) returns (google.protobuf.Value) { option (google.api.http) = {get: "/v1/open/{name}"}; }
  rpc Fill(OpenRequest) returns (google.protobuf.Value) { option (google.api.http) = {post: "/v1/fill" body: "*"}; }
  rpc Hours(OpenRequest) returns (google.protobuf.Value) {
    option (google.api.http) = {get: "/v1/hours"};
    option (transom.policy.v1.method) = {authn: {public: true}};
  }
  rpc Watch(OpenRequest) returns (stream google.protobuf.Value) { option (google.api.http) = {get: "/v1/watch"}; }
  rpc Talk(stream OpenRequest) returns (stream google.protobuf.Value);
}
message OpenRequest { string name = 1; }
`

// keeper answers "open" and remembers the metadata of the last call. Streams
// send one message and last until their client goes.
type keeper struct {
	addr string
	mu   sync.Mutex
	last metadata.MD
}

func newKeeper(t *testing.T) *keeper {
	k := &keeper{}
	srv := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, ss grpc.ServerStream) error {
		md, _ := metadata.FromIncomingContext(ss.Context())
		k.mu.Lock()
		k.last = md
		k.mu.Unlock()
		method, _ := grpc.MethodFromServerStream(ss)
		var in structpb.Value
		if err := ss.RecvMsg(&in); err != nil {
			return err
		}
		if err := ss.SendMsg(structpb.NewStringValue("open")); err != nil {
			return err
		}
		if strings.HasSuffix(method, "/Watch") || strings.HasSuffix(method, "/Talk") {
			<-ss.Context().Done()
		}
		return nil
	}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Stop(); <-done })
	k.addr = l.Addr().String()
	return k
}

func (k *keeper) saw() metadata.MD {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.last
}

// identityProvider signs tokens and serves its key.
type identityProvider struct {
	*httptest.Server
	t       *testing.T
	private *ecdsa.PrivateKey
}

func newIdentityProvider(t *testing.T) *identityProvider {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := jwk.Import(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	_ = public.Set("kid", "k")
	p := &identityProvider{t: t, private: private}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{public}})
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *identityProvider) token(change map[string]any) string {
	p.t.Helper()
	claims := map[string]any{
		"iss": "https://login.example", "aud": "vault", "sub": "ann", "exp": time.Now().Add(time.Hour).Unix(),
		"jti": "token-1", "scope": "open fill", "tenant": "t1",
	}
	maps.Copy(claims, change)
	text, err := json.Marshal(claims)
	if err != nil {
		p.t.Fatal(err)
	}
	token, err := jws.Sign(text, jws.WithKey(jwa.ES256(), p.private, jws.WithProtectedHeaders(headersWithKid())))
	if err != nil {
		p.t.Fatal(err)
	}
	return string(token)
}

func headersWithKid() jws.Headers {
	h := jws.NewHeaders()
	_ = h.Set("kid", "k")
	return h
}

// guarded is a gateway in front of a keeper.
type guarded struct {
	*running
	t      *testing.T
	keeper *keeper
	conn   *grpc.ClientConn
	conf   string
}

// startGuarded starts a gateway with a part of configuration.
func startGuarded(t *testing.T, more string, opts ...gateway.Option) *guarded {
	t.Helper()
	k := newKeeper(t)
	dir := folder(t, map[string]string{"vault.proto": vault})
	conf := filepath.Join(t.TempDir(), "transom.yaml")
	write(t, conf, fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {disabled: true}
schema: {sources: [%q]}
clusters: [{name: test, targets: [%q]}]
reload: {watch: false}
%s
`, dir, k.addr, more))
	g := &guarded{running: start(t, config.Source{Path: conf}, opts...), t: t, keeper: k, conf: conf}
	var err error
	g.conn, err = grpc.NewClient(g.Addrs()[0].String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.conn.Close() })
	return g
}

func jwtConfig(p *identityProvider, more string) string {
	return fmt.Sprintf(`
authn:
  authenticators:
    - name: users
      jwt: {issuer: "https://login.example", audiences: [vault], jwks: {url: %q}}
      carriers: [{header: authorization, scheme: Bearer}, {query: access_token}]
  identity: {subject: x-transom-subject, scopes: x-transom-scopes, claims: {tenant: x-tenant}}
%s`, p.URL, more)
}

// answer is what both doors say of a call, as far as they can say the same.
type answer struct {
	code    codes.Code
	message string
	reason  string
}

func (g *guarded) rest(path string, header ...string) (*http.Response, answer) {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), "GET", g.url+path, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	if resp.StatusCode == 200 {
		return resp, answer{}
	}
	var st struct {
		Code    codes.Code
		Message string
		Details []struct{ Reason string }
	}
	if err := json.Unmarshal(body, &st); err != nil {
		g.t.Fatalf("%v: %s", err, body)
	}
	a := answer{code: st.Code, message: st.Message}
	if len(st.Details) > 0 {
		a.reason = st.Details[0].Reason
	}
	return resp, a
}

func (g *guarded) grpc(method string, md ...string) answer {
	g.t.Helper()
	ctx := metadata.AppendToOutgoingContext(g.t.Context(), md...)
	err := g.conn.Invoke(ctx, "/vault.v1.Vault/"+method, structpb.NewNullValue(), new(structpb.Value))
	return answerOf(err)
}

func answerOf(err error) answer {
	st := status.Convert(err)
	a := answer{code: st.Code()}
	if a.code == codes.OK {
		return a
	}
	a.message = st.Message()
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			a.reason = info.GetReason()
		}
	}
	return a
}

func TestCredentialsHaveOneVerdictOnEveryDoor(t *testing.T) {
	p := newIdentityProvider(t)
	g := startGuarded(t, jwtConfig(p, ""))
	stranger := newIdentityProvider(t)
	for _, tt := range []struct {
		name, authorization string
		reason              string
		challenge           string
	}{
		{"none", "", "MISSING_CREDENTIAL", `Bearer realm="api"`},
		{"another scheme", "Basic YTpi", "MISSING_CREDENTIAL", `Bearer realm="api"`},
		{"good", "Bearer " + p.token(nil), "", ""},
		{"good, scheme in lower case", "bearer " + p.token(nil), "", ""},
		{"empty", "Bearer", "INVALID", `Bearer realm="api", error="invalid_token", error_description="the token is malformed"`},
		{"garbage", "Bearer abc", "INVALID", `Bearer realm="api", error="invalid_token", error_description="the token is malformed"`},
		{"expired", "Bearer " + p.token(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}), "EXPIRED",
			`Bearer realm="api", error="invalid_token", error_description="the token has expired"`},
		{"a stranger's", "Bearer " + stranger.token(nil), "INVALID", `Bearer realm="api", error="invalid_token", error_description="the token's signature is wrong"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var header, md []string
			if tt.authorization != "" {
				header, md = []string{"Authorization", tt.authorization}, []string{"authorization", tt.authorization}
			}
			resp, rest := g.rest("/v1/open/a", header...)
			native := g.grpc("Open", md...)
			if rest != native {
				t.Errorf("REST says %+v, gRPC says %+v", rest, native)
			}
			want, status := codes.OK, 200
			if tt.reason != "" {
				want, status = codes.Unauthenticated, 401
			}
			if native.code != want || native.reason != tt.reason || resp.StatusCode != status {
				t.Errorf("got %+v, HTTP %d", native, resp.StatusCode)
			}
			if got := resp.Header.Get("WWW-Authenticate"); got != tt.challenge {
				t.Errorf("challenge %s", got)
			}
		})
	}
}

func TestPublicMethods(t *testing.T) {
	g := startGuarded(t, jwtConfig(newIdentityProvider(t), ""))
	if _, a := g.rest("/v1/hours"); a.code != codes.OK {
		t.Errorf("without a credential: %+v", a)
	}
	if _, a := g.rest("/v1/hours", "Authorization", "Bearer wrong"); a.reason != "INVALID" {
		t.Errorf("with a wrong one: %+v", a)
	}
	err := g.conn.Invoke(t.Context(), "/grpc.health.v1.Health/Check", structpb.NewNullValue(), new(structpb.Value))
	if status.Code(err) == codes.Unauthenticated {
		t.Errorf("health: %v", err)
	}
	ss, err := g.conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
	if err == nil {
		err = ss.RecvMsg(new(structpb.Value))
	}
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("reflection: %v", err)
	}
}

// TestWhatTheBackendLearns: the identity, not the credential; and no identity
// that a client made up.
func TestWhatTheBackendLearns(t *testing.T) {
	p := newIdentityProvider(t)
	g := startGuarded(t, jwtConfig(p, ""))
	token := p.token(nil)
	if _, a := g.rest("/v1/open/a", "Authorization", "Bearer "+token, "Grpc-Metadata-X-Transom-Subject", "root", "Grpc-Metadata-X_Tenant", "t2"); a.code != codes.OK {
		t.Fatal(a)
	}
	check := func(door string) {
		t.Helper()
		md := g.keeper.saw()
		if !slices.Equal(md["x-transom-subject"], []string{"ann"}) || !slices.Equal(md["x-transom-scopes"], []string{"open fill"}) || !slices.Equal(md["x-tenant"], []string{"t1"}) {
			t.Errorf("%s: identity %v", door, md)
		}
		if strings.Contains(fmt.Sprint(md), token) || len(md["authorization"]) > 0 || len(md["x_transom_subject"]) > 0 || len(md["x_tenant"]) > 0 {
			t.Errorf("%s: %v", door, md)
		}
	}
	check("REST")
	if a := g.grpc("Open", "authorization", "Bearer "+token, "x-transom-subject", "root", "x_transom_subject", "root", "x_tenant", "t2"); a.code != codes.OK {
		t.Fatal(a)
	}
	check("gRPC")
	if _, a := g.rest("/v1/hours", "Grpc-Metadata-X-Transom-Subject", "root"); a.code != codes.OK {
		t.Fatal(a)
	}
	if a := g.grpc("Hours", "x-transom-subject", "root"); a.code != codes.OK || len(g.keeper.saw()["x-transom-subject"]) > 0 {
		t.Errorf("anonymous: %v", g.keeper.saw())
	}
}

// A credential in the query is taken off it before anything else looks.
func TestQueryCredential(t *testing.T) {
	p := newIdentityProvider(t)
	g := startGuarded(t, jwtConfig(p, ""))
	token := p.token(nil)
	if _, a := g.rest("/v1/open/a?access_token=" + token); a.code != codes.OK {
		t.Errorf("got %+v", a)
	}
	if _, a := g.rest("/v1/open/a?access_token="+token, "Authorization", "Bearer "+token); a.reason != "INVALID" {
		t.Errorf("in two places: %+v", a)
	}
	if _, a := g.rest("/v1/open/a?access_token=" + token + "&access%5Ftoken=" + token); a.reason != "INVALID" {
		t.Errorf("twice: %+v", a)
	}
	if _, a := g.rest("/v1/open/a?access_token=" + token + "x&nonsense=1"); a.code == codes.OK {
		t.Errorf("got %+v", a)
	}
	g.logs.await("msg=call", 4)
	if text := g.logs.String(); strings.Contains(text, token[len(token)-40:]) || strings.Contains(text, token[:40]) {
		t.Errorf("the log holds the token:\n%s", text)
	}
}

// A refused call's body is not read.
func TestRefusesBeforeReading(t *testing.T) {
	g := startGuarded(t, jwtConfig(newIdentityProvider(t), ""))
	pr, pw := io.Pipe() // never written to
	defer pw.Close()
	req, err := http.NewRequestWithContext(t.Context(), "POST", g.url+"/v1/fill", pr)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 401 {
		t.Errorf("got %d", resp.StatusCode)
	}
}

// A stream ends within a second of its credential.
func TestExpiryEndsStreams(t *testing.T) {
	p := newIdentityProvider(t)
	g := startGuarded(t, jwtConfig(p, ""))
	expiry := time.Now().Add(1500 * time.Millisecond)
	token := p.token(map[string]any{"exp": float64(expiry.UnixMilli()) / 1000})
	var wg sync.WaitGroup
	for _, method := range []string{"Watch", "Talk"} {
		wg.Go(func() {
			ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token)
			err := stream(ctx, g.conn, method)
			if late := time.Since(expiry); late < 0 || late > time.Second {
				t.Errorf("%s: ended %s after the expiry", method, late)
			}
			if a := answerOf(err); a.code != codes.Unauthenticated || a.reason != "EXPIRED" {
				t.Errorf("%s: %+v", method, a)
			}
		})
	}
	wg.Go(func() {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", g.url+"/v1/watch", nil)
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if late := time.Since(expiry); late < 0 || late > time.Second {
			t.Errorf("REST: ended %s after the expiry", late)
		}
		if !strings.Contains(string(body), `"EXPIRED"`) {
			t.Errorf("REST: %s %v", body, err)
		}
	})
	wg.Wait()
}

// stream opens a stream and reads until its end.
func stream(ctx context.Context, conn *grpc.ClientConn, method string) error {
	ss, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: method == "Talk"}, "/vault.v1.Vault/"+method)
	if err != nil {
		return err
	}
	if err := ss.SendMsg(structpb.NewNullValue()); err != nil {
		return err
	}
	if method != "Talk" {
		_ = ss.CloseSend()
	}
	for {
		if err := ss.RecvMsg(new(structpb.Value)); err != nil {
			return err
		}
	}
}

// What a policy asks for must exist.
func TestUnknownAuthenticators(t *testing.T) {
	dir := folder(t, map[string]string{"vault.proto": strings.Replace(vault, "authn: {public: true}", `authn: {any_of: ["partners"]}`, 1)})
	_, err := gateway.New(t.Context(), flags(dir, "127.0.0.1:1"))
	if err == nil || !strings.Contains(err.Error(), `/vault.v1.Vault/Hours: authn: there is no authenticator "partners": none is configured`) {
		t.Errorf("got %v", err)
	}
}
