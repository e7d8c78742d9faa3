package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/transomhq/transom/config"
	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
	"github.com/transomhq/transom/interceptors"
	"github.com/transomhq/transom/interceptors/authn"
	"github.com/transomhq/transom/interceptors/authn/apikey"
	"github.com/transomhq/transom/interceptors/authn/basic"
	"github.com/transomhq/transom/interceptors/authn/introspection"
	"github.com/transomhq/transom/interceptors/authn/jwt"
	"github.com/transomhq/transom/interceptors/authn/mtls"
	"github.com/transomhq/transom/interceptors/policy"
	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/rest"
)

// credentials are what outlives a house of those who call: verifiers with
// what they fetched, the store of keys and revocations, and the streams that
// run on somebody's credential.
type credentials struct {
	log       *slog.Logger
	leases    authn.Leases
	verifiers lending[*verifier]
	vaults    lending[*vault]
}

// verifier is a verifier that may have something to close.
type verifier struct {
	authn.Verifier
	close func()
}

func (v *verifier) Close() {
	if v.close != nil {
		v.close()
	}
}

func newCredentials(log *slog.Logger) *credentials { return &credentials{log: log} }

// callers is how a house finds out who is calling.
type callers struct {
	guard    *authn.Guard
	carriers credentialCarriers
	headers  []string        // request headers that carry credentials
	identity []string        // metadata keys that only the gateway sets
	drop     map[string]bool // metadata keys that never reach a backend

	vault *vault // nil: no store
	rings []*apikey.Ring
}

// buildAuthn compiles how callers prove who they are.
func (g *Gateway) buildAuthn(h *house, file *config.File) (*callers, error) {
	cfg := file.Config.GetAuthn()
	c := &callers{drop: map[string]bool{}}
	if err := g.lendVault(h, c, file.Config); err != nil {
		return nil, err
	}
	opts := authn.Options{Check: c.check,
		Realm: cfg.GetRealm(), Forward: forwardOf(cfg.GetIdentity()), Leases: &g.credentials.leases,
		Grace: cfg.GetLease().GetGrace().AsDuration(), Policies: authnPolicies(h, file),
	}
	var errs []error
	kept := map[string]bool{}
	for i, a := range cfg.GetAuthenticators() {
		one, err := g.openAuthenticator(h, c, a)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: authenticator %q: %w", file.Position(fmt.Sprintf("authn.authenticators[%d]", i)), a.GetName(), err))
			continue
		}
		opts.Authenticators = append(opts.Authenticators, one)
		c.take(a, kept)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for name := range kept { // one that is sent on is sent on by all
		delete(c.drop, name)
	}
	c.identity = opts.Forward.Keys()
	for _, key := range c.identity {
		c.drop[key] = true
	}
	var err error
	c.guard, err = authn.New(opts)
	return c, err
}

// take notes where an authenticator's credentials are found, and that they end here.
func (c *callers) take(a *configv1.Authenticator, kept map[string]bool) {
	for _, at := range carriersOf(a) {
		name := strings.ToLower(at.GetHeader())
		switch {
		case at.GetQuery() != "":
			c.carriers.queries = append(c.carriers.queries, at.GetQuery())
		case at.GetSubprotocol() != "":
			c.carriers.subprotocols = append(c.carriers.subprotocols, at.GetSubprotocol())
		case name != "":
			c.headers = append(c.headers, name)
			// grpc-gateway passes some headers under a second name, too.
			for _, key := range []string{name, "grpcgateway-" + name} {
				c.drop[key] = true
				if a.GetForward() {
					kept[key] = true
				}
			}
		}
	}
}

// drops reports whether a client's metadata key ends here. Servers take "_"
// and "-" for one another.
func (c *callers) drops(key string) bool {
	if len(c.drop) == 0 {
		return false
	}
	if strings.IndexByte(key, '_') >= 0 {
		key = strings.ReplaceAll(key, "_", "-")
	}
	return c.drop[key]
}

// interceptor returns the link of the chain. A public method of a gateway
// without authenticators does not pay for it.
func (c *callers) interceptor() interceptors.Interceptor {
	return interceptors.Interceptor{
		Unary: c.guard.Unary(), Stream: c.guard.Stream(),
		Applies: func(m *rpc.Method) bool { return c.guard.Applies(m.Name) },
	}
}

// requestHeaders returns the request header fields that pass, those of
// credentials among them.
func (c *callers) requestHeaders(configured []string) []string {
	if len(configured) == 0 {
		configured = rest.DefaultRequestHeaders()
	}
	return slices.Concat(configured, c.headers)
}

func forwardOf(id *configv1.Identity) authn.Forward {
	return authn.Forward{
		Subject: id.GetSubject(), Issuer: id.GetIssuer(), Scopes: id.GetScopes(), Roles: id.GetRoles(),
		Consumer: id.GetConsumer(), Credential: id.GetCredential(), Claims: id.GetClaims(),
	}
}

// authnPolicies returns the policies of methods. Health checks are public
// unless a rule names them: who probes has no credentials.
func authnPolicies(h *house, file *config.File) map[string]*policyv1.Authn {
	policies := map[string]*policyv1.Authn{}
	for _, m := range h.schema.Methods {
		if p := h.policies.Of(m.Name).Policy.GetAuthn(); p != nil {
			policies[m.Name] = p
		}
	}
	rules, _ := rulesOf(file) // whose mistakes were reported with the other methods
	own := policy.Resolve(h.self.methods, rules)
	for _, m := range h.self.methods {
		p, health := own.Of(m.Name), m.Service() == "grpc.health.v1.Health"
		switch {
		case health && !p.Origins["authn"].Exact:
			policies[m.Name] = &policyv1.Authn{Public: true}
		case p.Policy.GetAuthn() != nil:
			policies[m.Name] = p.Policy.GetAuthn()
		}
	}
	return policies
}

// carriersOf returns where an authenticator's credentials may be.
func carriersOf(a *configv1.Authenticator) []*configv1.Carrier {
	if len(a.GetCarriers()) > 0 {
		return a.GetCarriers()
	}
	switch {
	case a.GetApiKey() != nil:
		return []*configv1.Carrier{{Header: "x-api-key"}}
	case a.GetBasic() != nil:
		return []*configv1.Carrier{{Header: "authorization", Scheme: "Basic"}}
	case a.GetMtls() != nil:
		return nil
	}
	return []*configv1.Carrier{{Header: "authorization", Scheme: "Bearer"}}
}

// lendVault takes the store of keys and revocations over from the house before.
func (g *Gateway) lendVault(h *house, c *callers, cfg *configv1.Config) (err error) {
	if cfg.GetAuthn().GetStore() == nil {
		return nil
	}
	description, err := describePart(cfg.GetAuthn().GetStore())
	if err != nil {
		return err
	}
	var release func()
	c.vault, release, err = g.credentials.vaults.acquire(description, func() (*vault, error) {
		return openVault(cfg, &g.credentials.leases, g.credentials.log)
	})
	if err == nil {
		h.release = append(h.release, release)
	}
	return err
}

// describePart returns a text that is the same for the same configuration.
func describePart(parts ...proto.Message) (string, error) {
	var all strings.Builder
	for _, part := range parts {
		text, err := proto.MarshalOptions{Deterministic: true}.Marshal(part)
		if err != nil {
			return "", err
		}
		all.Write(text)
	}
	return all.String(), nil
}

// check has the last word about a caller: what was revoked meanwhile.
func (c *callers) check(p *rpc.Principal) error {
	if p.Method == "apikey" {
		if err := c.checkKey(p); err != nil {
			return err
		}
	}
	if c.vault == nil {
		return nil
	}
	return c.vault.revoked.Check(p)
}

// checkKey asks whether a key is still good; one of the rings has proved it.
func (c *callers) checkKey(p *rpc.Principal) (err error) {
	for _, ring := range c.rings {
		if err = ring.Check(p); err == nil {
			return nil
		}
	}
	return err
}

func (g *Gateway) openAuthenticator(h *house, c *callers, a *configv1.Authenticator) (authn.Authenticator, error) {
	one := authn.Authenticator{Name: a.GetName(), Carriers: carriers(a), Challenge: challengeOf(a)}
	description, err := describePart(a)
	if err != nil {
		return one, err
	}
	if a.GetApiKey() != nil && c.vault != nil {
		description += fmt.Sprintf("%p", c.vault) // whose keys are the ring's, too
	}
	v, release, err := g.credentials.verifiers.acquire(description, func() (*verifier, error) { return g.openVerifier(a, c.vault) })
	if err != nil {
		return one, err
	}
	h.release = slices.Insert(h.release, 0, release) // before the vault
	one.Verifier = v.Verifier
	if ring, ok := v.Verifier.(*apikey.Ring); ok {
		c.rings = append(c.rings, ring)
	}
	return one, nil
}

func carriers(a *configv1.Authenticator) []authn.Carrier {
	if a.GetMtls() != nil {
		return []authn.Carrier{authn.ClientCertificate()}
	}
	var all []authn.Carrier
	for _, c := range carriersOf(a) {
		switch {
		case c.GetQuery() != "":
			all = append(all, authn.Query(c.GetQuery()))
		case c.GetSubprotocol() != "":
			all = append(all, authn.Subprotocol(c.GetSubprotocol()))
		default:
			all = append(all, authn.Header(c.GetHeader(), c.GetScheme()))
		}
	}
	return all
}

func challengeOf(a *configv1.Authenticator) string {
	switch {
	case a.GetJwt() != nil, a.GetIntrospection() != nil:
		return "Bearer"
	case a.GetBasic() != nil:
		return "Basic"
	}
	return "" // no scheme is registered for it
}

func (g *Gateway) openVerifier(a *configv1.Authenticator, store *vault) (*verifier, error) {
	switch {
	case a.GetJwt() != nil:
		return g.openJWT(a.GetJwt())
	case a.GetApiKey() != nil:
		return openKeys(a.GetApiKey(), store)
	case a.GetMtls() != nil:
		return &verifier{Verifier: mtls.New(mtls.Options{Name: certificateName(a.GetMtls().GetSubject()), Allow: a.GetMtls().GetAllow()})}, nil
	case a.GetBasic() != nil:
		return openBasic(a.GetBasic())
	case a.GetIntrospection() != nil:
		return openIntrospection(a.GetIntrospection())
	}
	return nil, errors.New("it is of no kind")
}

func (g *Gateway) openJWT(c *configv1.Jwt) (*verifier, error) {
	k := c.GetJwks()
	client, err := httpClient(k.GetTls(), k.GetTimeout().AsDuration())
	if err != nil {
		return nil, fmt.Errorf("jwks: %w", err)
	}
	v, err := jwt.New(jwt.Options{
		Issuer: c.GetIssuer(), Audiences: c.GetAudiences(), Algorithms: c.GetAlgorithms(), Types: c.GetTypes(),
		Skew: c.GetSkew().AsDuration(), MaxBytes: int(c.GetMaxBytes()), CacheSize: int(c.GetCacheSize()),
		SubjectClaim: c.GetSubjectClaim(), ScopeClaims: c.GetScopeClaims(), RoleClaims: c.GetRoleClaims(), ConsumerClaims: c.GetConsumerClaims(),
		Keys: jwt.KeyOptions{
			URL: k.GetUrl(), File: k.GetFile(), Discovery: k.GetDiscovery(),
			Refresh: k.GetRefresh().AsDuration(), MinInterval: k.GetMinInterval().AsDuration(), Client: client, Log: g.credentials.log,
		},
	})
	if err != nil {
		return nil, err
	}
	return &verifier{v, v.Close}, nil
}

func openKeys(c *configv1.ApiKey, from *vault) (*verifier, error) {
	var fixed []apikey.Key
	for _, k := range c.GetKeys() {
		expires, _ := time.Parse(time.RFC3339, k.GetExpires()) // the configuration was checked; "" is never
		fixed = append(fixed, apikey.Key{
			Prefix: k.GetPrefix(), Hash: k.GetHash(), Consumer: k.GetConsumer(), Subject: k.GetSubject(),
			Scopes: k.GetScopes(), Roles: k.GetRoles(), Expires: expires,
		})
	}
	ring, err := apikey.NewRing(fixed, from != nil)
	if err != nil || from == nil {
		return &verifier{Verifier: ring}, err
	}
	from.add(ring)
	return &verifier{ring, func() { from.remove(ring) }}, nil
}

func certificateName(n configv1.CertificateName) mtls.Name {
	switch n {
	case configv1.CertificateName_CERTIFICATE_NAME_DNS:
		return mtls.DNS
	case configv1.CertificateName_CERTIFICATE_NAME_COMMON_NAME:
		return mtls.CommonName
	case configv1.CertificateName_CERTIFICATE_NAME_SUBJECT:
		return mtls.Subject
	case configv1.CertificateName_CERTIFICATE_NAME_SPIFFE, configv1.CertificateName_CERTIFICATE_NAME_UNSPECIFIED:
	}
	return mtls.SPIFFE
}

func openBasic(c *configv1.Basic) (*verifier, error) {
	var users []basic.User
	for _, u := range c.GetUsers() {
		users = append(users, basic.User{Name: u.GetName(), Hash: u.GetPasswordHash().GetValue(), Scopes: u.GetScopes(), Roles: u.GetRoles()})
	}
	v, err := basic.New(users)
	return &verifier{Verifier: v}, err
}

func openIntrospection(c *configv1.Introspection) (*verifier, error) {
	client, err := httpClient(c.GetTls(), c.GetTimeout().AsDuration())
	if err != nil {
		return nil, err
	}
	v, err := introspection.New(introspection.Options{
		URL: c.GetUrl(), ClientID: c.GetClientId(), ClientSecret: c.GetClientSecret().GetValue(), Audiences: c.GetAudiences(),
		Cache: c.GetCache().AsDuration(), Timeout: c.GetTimeout().AsDuration(), Client: client,
	})
	if err != nil {
		return nil, err
	}
	return &verifier{v, v.Close}, nil
}

// httpClient returns a client for questions about credentials. It follows no
// redirect: what decides who may call is where the configuration says.
func httpClient(c *configv1.ClientTls, timeout time.Duration) (*http.Client, error) {
	tlsConfig, _, err := clientTLS(c)
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: tlsConfig, ForceAttemptHTTP2: true,
			IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 16, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}
