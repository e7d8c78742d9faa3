package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/transomhq/transom/config"
	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
	"github.com/transomhq/transom/interceptors"
	"github.com/transomhq/transom/interceptors/authn"
	"github.com/transomhq/transom/interceptors/authn/jwt"
	"github.com/transomhq/transom/interceptors/policy"
	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/rest"
)

// credentials are what outlives a house of those who call: verifiers with
// what they fetched, and the streams that run on somebody's credential.
type credentials struct {
	log    *slog.Logger
	leases authn.Leases

	mu        sync.Mutex
	verifiers map[string]*sharedVerifier // by description
}

type sharedVerifier struct {
	authn.Verifier
	refs int
}

func newCredentials(log *slog.Logger) *credentials {
	return &credentials{log: log, verifiers: map[string]*sharedVerifier{}}
}

// acquire returns the verifier of a description, opened if no house has it,
// and the function that gives it back.
func (c *credentials) acquire(description string, open func() (authn.Verifier, error)) (authn.Verifier, func(), error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	shared := c.verifiers[description]
	if shared == nil {
		verifier, err := open()
		if err != nil {
			return nil, nil, err
		}
		shared = &sharedVerifier{Verifier: verifier}
		c.verifiers[description] = shared
	}
	shared.refs++
	return shared.Verifier, sync.OnceFunc(func() { c.release(description) }), nil
}

func (c *credentials) release(description string) {
	c.mu.Lock()
	shared := c.verifiers[description]
	shared.refs--
	last := shared.refs == 0
	if last {
		delete(c.verifiers, description)
	}
	c.mu.Unlock()
	if closer, ok := shared.Verifier.(interface{ Close() }); ok && last {
		closer.Close()
	}
}

// callers is how a house finds out who is calling.
type callers struct {
	guard    *authn.Guard
	carriers credentialCarriers
	headers  []string        // request headers that carry credentials
	identity []string        // metadata keys that only the gateway sets
	drop     map[string]bool // metadata keys that never reach a backend
}

// buildAuthn compiles how callers prove who they are.
func (g *Gateway) buildAuthn(h *house, file *config.File) (*callers, error) {
	cfg := file.Config.GetAuthn()
	c := &callers{drop: map[string]bool{}}
	opts := authn.Options{
		Realm: cfg.GetRealm(), Forward: forwardOf(cfg.GetIdentity()), Leases: &g.credentials.leases,
		Grace: cfg.GetLease().GetGrace().AsDuration(), Policies: authnPolicies(h, file),
	}
	var errs []error
	kept := map[string]bool{}
	for i, a := range cfg.GetAuthenticators() {
		one, err := g.openAuthenticator(h, a)
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

func (g *Gateway) openAuthenticator(h *house, a *configv1.Authenticator) (authn.Authenticator, error) {
	one := authn.Authenticator{Name: a.GetName()}
	for _, c := range carriersOf(a) {
		switch {
		case c.GetQuery() != "":
			one.Carriers = append(one.Carriers, authn.Query(c.GetQuery()))
		case c.GetSubprotocol() != "":
			one.Carriers = append(one.Carriers, authn.Subprotocol(c.GetSubprotocol()))
		default:
			one.Carriers = append(one.Carriers, authn.Header(c.GetHeader(), c.GetScheme()))
		}
	}
	var open func() (authn.Verifier, error)
	switch {
	case a.GetJwt() != nil:
		one.Challenge = "Bearer"
		open = func() (authn.Verifier, error) { return g.openJWT(a.GetJwt()) }
	default:
		return one, errors.New("its kind is not supported by this version")
	}
	description, err := proto.MarshalOptions{Deterministic: true}.Marshal(a)
	if err != nil {
		return one, err
	}
	verifier, release, err := g.credentials.acquire(string(description), open)
	if err != nil {
		return one, err
	}
	h.release = append(h.release, release)
	one.Verifier = verifier
	return one, nil
}

func (g *Gateway) openJWT(c *configv1.Jwt) (authn.Verifier, error) {
	k := c.GetJwks()
	client, err := httpClient(k.GetTls(), k.GetTimeout().AsDuration())
	if err != nil {
		return nil, fmt.Errorf("jwks: %w", err)
	}
	return jwt.New(jwt.Options{
		Issuer: c.GetIssuer(), Audiences: c.GetAudiences(), Algorithms: c.GetAlgorithms(), Types: c.GetTypes(),
		Skew: c.GetSkew().AsDuration(), MaxBytes: int(c.GetMaxBytes()), CacheSize: int(c.GetCacheSize()),
		SubjectClaim: c.GetSubjectClaim(), ScopeClaims: c.GetScopeClaims(), RoleClaims: c.GetRoleClaims(), ConsumerClaims: c.GetConsumerClaims(),
		Keys: jwt.KeyOptions{
			URL: k.GetUrl(), File: k.GetFile(), Discovery: k.GetDiscovery(),
			Refresh: k.GetRefresh().AsDuration(), MinInterval: k.GetMinInterval().AsDuration(), Client: client, Log: g.credentials.log,
		},
	})
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
