package verdicts_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/transomhq/transom/config"
	"github.com/transomhq/transom/gateway"
	"github.com/transomhq/transom/interceptors/authn/apikey"
	"github.com/transomhq/transom/interceptors/authn/revocation"
	"github.com/transomhq/transom/interceptors/authn/store"
	"github.com/transomhq/transom/schema"
)

// service is the text of one service: a method of each kind.
const service = `
service %[1]s {
  rpc Call(Ask) returns (Ask) { option (google.api.http) = {post: "/v1/%[1]s" body: "*"}; }
  rpc Watch(Ask) returns (stream Ask) { option (google.api.http) = {get: "/v1/%[1]s:watch"}; }
  rpc Chat(stream Ask) returns (stream Ask) { option (google.api.http) = {post: "/v1/%[1]s:chat" body: "*"}; }
}
`

const messages = `
syntax = "proto3";
package verdicts.v1;
import "buf/validate/validate.proto";
import "google/api/annotations.proto";
import "transom/policy/v1/policy.proto";
message Ask {
  string text = 1 [(buf.validate.field).string.not_contains = "forbidden"];
  int32 n = 2 [(buf.validate.field).int32.lte = 100];
  int32 price = 3 [(transom.policy.v1.field).write_scopes = "pricing"];
}
`

// ask is verdicts.v1.Ask.
type ask struct {
	Text string `json:"text,omitempty"`
	N    int32  `json:"n,omitempty"`
	// Price may not be set by callers of these tests.
	Price int32 `json:"price,omitempty"`
}

func large() ask { return ask{Text: strings.Repeat("x", 200)} }

// stage is a gateway between every kind of client and one backend.
type stage struct {
	t       *testing.T
	address string
	admin   string
	conn    *grpc.ClientConn
	client  *http.Client // HTTP/1.1
	h2      *http.Client
	ask     protoreflect.MessageDescriptor
	keys    *keyring
}

// setStage starts everything.
func setStage(t *testing.T) *stage {
	t.Helper()
	dir := t.TempDir()
	s := &stage{t: t, keys: newKeyring(t, dir)}
	text := messages
	for _, name := range slices.Sorted(maps.Keys(policies())) {
		text += fmt.Sprintf(service, name)
	}
	protos := filepath.Join(dir, "protos")
	if err := os.Mkdir(protos, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(protos, "verdicts.proto"), text)
	snapshot, err := schema.Load(t.Context(), schema.Options{Sources: []string{protos}})
	if err != nil {
		t.Fatal(err)
	}
	d, err := snapshot.Files.FindDescriptorByName("verdicts.v1.Ask")
	if err != nil {
		t.Fatal(err)
	}
	s.ask = d.(protoreflect.MessageDescriptor)
	conf := filepath.Join(dir, "transom.yaml")
	write(t, conf, configuration(s.startBackend(), closedPort(t), s.keys))
	s.startGateway(conf)
	s.conn, err = grpc.NewClient(s.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	h1, h2 := &http.Transport{}, &http.Transport{Protocols: new(http.Protocols)}
	h2.Protocols.SetUnencryptedHTTP2(true)
	s.client, s.h2 = &http.Client{Transport: h1}, &http.Client{Transport: h2}
	t.Cleanup(func() { s.conn.Close(); h1.CloseIdleConnections(); h2.CloseIdleConnections() })
	return s
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// closedPort returns an address where nobody listens.
func closedPort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// configuration is the operator's file, whole.
func configuration(backend, nobody string, keys *keyring) string {
	var b strings.Builder
	fmt.Fprintf(&b, `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0"}
schema: {sources: [protos]}
reload: {watch: false}
logging: {access: false}
clusters:
  - {name: backend, targets: [%q]}
  - {name: nobody, targets: [%q]}
routes:
  - {selector: "verdicts.v1.Gone.*", cluster: nobody}
  - {selector: "*", cluster: backend}
authn:
  authenticators:
    - {name: users, jwt: {issuer: "https://login.example", audiences: [verdicts], jwks: {file: jwks.json}}}
    - {name: keys, api_key: {}}
  store: {file: authn.db}
authz:
  default: deny
  external: [{name: nobody, cluster: nobody, timeout: 500ms}]
policies:
  # A deadline of a stream must be said for itself.
  - {selectors: [verdicts.v1.Timed.Call, verdicts.v1.Timed.Watch, verdicts.v1.Timed.Chat], policy: {deadline: {max: 300ms}}}
`, backend, nobody)
	all := policies()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if all[name] != "" {
			fmt.Fprintf(&b, "  - {selectors: [\"verdicts.v1.%s.*\"], policy: %s}\n", name, all[name])
		}
	}
	return b.String()
}

func (s *stage) startGateway(conf string) {
	s.t.Helper()
	g, err := gateway.New(s.t.Context(), config.Source{Path: conf}, gateway.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	})
	s.address, s.admin = g.Addrs()[0].String(), g.AdminAddr().String()
}

// startBackend serves every service: text and number of the last message say how.
func (s *stage) startBackend() string {
	srv := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, ss grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(ss)
		for {
			in := dynamicpb.NewMessage(s.ask)
			if err := ss.RecvMsg(in); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			if err := s.answer(ss, in); err != nil || !strings.HasSuffix(method, "/Chat") {
				return err
			}
		}
	}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	s.t.Cleanup(func() { srv.Stop(); <-done })
	return l.Addr().String()
}

func (s *stage) answer(ss grpc.ServerStream, in *dynamicpb.Message) error {
	n := in.Get(s.ask.Fields().ByName("n")).Int()
	switch in.Get(s.ask.Fields().ByName("text")).String() {
	case "fail":
		st, err := status.New(codes.FailedPrecondition, "not today: 100 % sure, não\nhoje").WithDetails(
			&errdetails.ErrorInfo{Reason: "NOT_TODAY", Domain: "backend", Metadata: map[string]string{"day": "monday"}},
			&errdetails.ResourceInfo{ResourceType: "day", ResourceName: "today"},
		)
		if err != nil {
			return err
		}
		return st.Err()
	case "code":
		return status.Error(codes.Code(n), "as it was asked for")
	case "hang":
		<-ss.Context().Done()
		return ss.Context().Err()
	case "hold":
		if err := ss.SendMsg(in); err != nil {
			return err
		}
		<-ss.Context().Done()
		return ss.Context().Err()
	}
	return ss.SendMsg(in)
}

func (s *stage) message(a ask) proto.Message {
	m := dynamicpb.NewMessage(s.ask)
	if a.Text != "" {
		m.Set(s.ask.Fields().ByName("text"), protoreflect.ValueOfString(a.Text))
	}
	if a.N != 0 {
		m.Set(s.ask.Fields().ByName("n"), protoreflect.ValueOfInt32(a.N))
	}
	if a.Price != 0 {
		m.Set(s.ask.Fields().ByName("price"), protoreflect.ValueOfInt32(a.Price))
	}
	return m
}

// keyring has the credentials of callers.
type keyring struct {
	t                 *testing.T
	issuer, stranger  *ecdsa.PrivateKey
	good, old, banned string // API keys
}

func newKeyring(t *testing.T, dir string) *keyring {
	k := &keyring{t: t}
	var err error
	for _, p := range []**ecdsa.PrivateKey{&k.issuer, &k.stranger} {
		if *p, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	public, err := jwk.Import(k.issuer.Public())
	if err != nil {
		t.Fatal(err)
	}
	_ = public.Set("kid", "k")
	set, err := json.Marshal(map[string]any{"keys": []any{public}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "jwks.json"), string(set))

	st := store.NewFile(filepath.Join(dir, "authn.db"))
	create := func(expires time.Time) (apikey.Key, string) {
		made, text, err := apikey.Create(t.Context(), st, apikey.Key{Consumer: "acme", Scopes: []string{"call"}, Expires: expires})
		if err != nil {
			t.Fatal(err)
		}
		return made, text
	}
	_, k.good = create(time.Time{})
	_, k.old = create(time.Now().Add(-time.Hour))
	banned, text := create(time.Time{})
	k.banned = text
	if err := apikey.Revoke(t.Context(), st, banned.Prefix); err != nil {
		t.Fatal(err)
	}
	if err := revocation.Add(t.Context(), st, revocation.Entry{Token: "taken-back"}); err != nil {
		t.Fatal(err)
	}
	return k
}

// sign makes a token of subject with changed claims.
func (k *keyring) sign(private *ecdsa.PrivateKey, subject string, change map[string]any) string {
	claims := map[string]any{
		"iss": "https://login.example", "aud": "verdicts", "sub": subject, "exp": time.Now().Add(time.Hour).Unix(),
		"jti": "token-of-" + subject, "scope": "call", "roles": []string{"clerk"}, "tenant": "t1",
	}
	maps.Copy(claims, change)
	text, err := json.Marshal(claims)
	if err != nil {
		k.t.Fatal(err)
	}
	h := jws.NewHeaders()
	_ = h.Set("kid", "k")
	signed, err := jws.Sign(text, jws.WithKey(jwa.ES256(), private, jws.WithProtectedHeaders(h)))
	if err != nil {
		k.t.Fatal(err)
	}
	return string(signed)
}

// credential gives the header field with which subject calls.
type credential func(k *keyring, subject string) (name, value string)

func bearer(t string) (string, string) { return "authorization", "Bearer " + t }

func token(k *keyring, subject string) (string, string) {
	return bearer(k.sign(k.issuer, subject, nil))
}

func garbage(*keyring, string) (string, string) { return bearer("abc") }

func strangersToken(k *keyring, subject string) (string, string) {
	return bearer(k.sign(k.stranger, subject, nil))
}

func unsigned(k *keyring, subject string) (string, string) {
	parts := strings.Split(k.sign(k.issuer, subject, nil), ".")
	return bearer(base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"k"}`)) + "." + parts[1] + ".")
}

func othersToken(k *keyring, subject string) (string, string) {
	return bearer(k.sign(k.issuer, subject, map[string]any{"aud": "others"}))
}

func expiredToken(k *keyring, subject string) (string, string) {
	return bearer(k.sign(k.issuer, subject, map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}))
}

func earlyToken(k *keyring, subject string) (string, string) {
	return bearer(k.sign(k.issuer, subject, map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}))
}

func revokedToken(k *keyring, subject string) (string, string) {
	return bearer(k.sign(k.issuer, subject, map[string]any{"jti": "taken-back"}))
}

func key(k *keyring, _ string) (string, string) { return "x-api-key", k.good }

func wrongKey(k *keyring, _ string) (string, string) {
	i := strings.LastIndexByte(k.good, '_')
	return "x-api-key", k.good[:i+1] + k.old[strings.LastIndexByte(k.old, '_')+1:]
}

func expiredKey(k *keyring, _ string) (string, string) { return "x-api-key", k.old }
func revokedKey(k *keyring, _ string) (string, string) { return "x-api-key", k.banned }

// counted reads transom_calls_total.
func (s *stage) counted() map[counter]int {
	s.t.Helper()
	resp, err := s.client.Get("http://" + s.admin + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	all := map[counter]int{}
	for line := range strings.Lines(string(text)) {
		rest, ok := strings.CutPrefix(line, "transom_calls_total{")
		if !ok {
			continue
		}
		labels, value, _ := strings.Cut(rest, "} ")
		var c counter
		for pair := range strings.SplitSeq(labels, ",") {
			name, text, _ := strings.Cut(pair, "=")
			text = strings.Trim(text, `"`)
			switch name {
			case "method":
				c.method = text
			case "door":
				c.door = text
			case "code":
				c.code = text
			}
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil {
			s.t.Fatal(err)
		}
		all[c] = int(n)
	}
	return all
}
