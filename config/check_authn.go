package config

import (
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
)

// checkAuthn checks what the parts of each authenticator mean together.
func (f *File) checkAuthn() {
	a := f.Config.GetAuthn()
	first := map[string]string{}
	var names []string
	for i, one := range a.GetAuthenticators() {
		path := element("authn.authenticators", i)
		if other, ok := first[one.GetName()]; ok {
			f.wrong(join(path, "name"), "%s is the name of %s already", quote(one.GetName()), f.said(other))
		} else if one.GetName() != "" {
			first[one.GetName()] = join(path, "name")
		}
		names = append(names, one.GetName())
		f.checkAuthenticator(one, path)
	}
	f.checkIdentity(a.GetIdentity())
	f.checkStore(a.GetStore())
	f.checkAuthnPolicies(names)
}

func (f *File) checkAuthenticator(a *configv1.Authenticator, path string) {
	set := 0
	for _, kind := range []bool{a.GetJwt() != nil, a.GetApiKey() != nil, a.GetMtls() != nil, a.GetBasic() != nil, a.GetIntrospection() != nil} {
		if kind {
			set++
		}
	}
	if set != 1 && !f.hasBad(path) {
		f.wrong(path, "want one of jwt, api_key, mtls, basic and introspection, not %d of them", set)
	}
	for i, c := range a.GetCarriers() {
		f.checkCarrier(c, element(join(path, "carriers"), i))
	}
	if a.GetMtls() != nil && len(a.GetCarriers()) > 0 {
		f.wrong(join(path, "carriers"), "a client certificate is shown in the TLS handshake and nowhere else")
	}
	if a.GetMtls() != nil && !slices.ContainsFunc(f.Config.GetListeners(), func(l *configv1.Listener) bool { return l.GetTls().GetClientCa() != "" }) {
		f.wrong(join(path, "mtls"), "no listener asks for client certificates: set tls.client_ca of one")
	}
	f.checkJWT(a.GetJwt(), join(path, "jwt"))
	f.checkAPIKey(a.GetApiKey(), join(path, "api_key"))
	f.checkIntrospection(a.GetIntrospection(), join(path, "introspection"))
	for i, u := range a.GetBasic().GetUsers() {
		if h := u.GetPasswordHash().GetValue(); h != "" && !strings.HasPrefix(h, "$2") {
			f.wrong(join(element(join(path, "basic.users"), i), "password_hash"), "want a bcrypt hash, as htpasswd -nB prints it")
		}
	}
}

func (f *File) checkCarrier(c *configv1.Carrier, path string) {
	set := 0
	for _, text := range []string{c.GetHeader(), c.GetQuery(), c.GetSubprotocol()} {
		if text != "" {
			set++
		}
	}
	if set != 1 && !f.hasBad(path) {
		f.wrong(path, "want one of header, query and subprotocol, not %d of them", set)
	}
	if c.GetScheme() != "" && c.GetHeader() == "" {
		f.wrong(join(path, "scheme"), "is of use with header only")
	}
}

func (f *File) checkJWT(j *configv1.Jwt, path string) {
	if j == nil {
		return
	}
	known := []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
	for i, alg := range j.GetAlgorithms() {
		at := element(join(path, "algorithms"), i)
		switch {
		case strings.HasPrefix(alg, "HS"):
			f.wrong(at, "%s is symmetric: whoever can verify a token could make one", alg)
		case !slices.Contains(known, alg):
			f.wrong(at, "%s is no algorithm that can be allowed; %s", quote(alg), suggest(alg, known))
		}
	}
	keys, at := j.GetJwks(), join(path, "jwks")
	set := 0
	for _, source := range []bool{keys.GetUrl() != "", keys.GetFile() != "", keys.GetDiscovery()} {
		if source {
			set++
		}
	}
	if set != 1 && !f.hasBad(at) {
		f.wrong(at, "want one of url, file and discovery, not %d of them", set)
	}
	if keys.GetUrl() != "" {
		f.checkWebAddress(keys.GetUrl(), keys.GetAllowHttp(), join(at, "url"))
	}
	if keys.GetDiscovery() {
		f.checkWebAddress(j.GetIssuer(), keys.GetAllowHttp(), join(path, "issuer"))
	}
	if keys.GetTls() != nil {
		f.checkClientTLS(keys.GetTls(), join(at, "tls"))
	}
}

func (f *File) checkIntrospection(n *configv1.Introspection, path string) {
	if n == nil {
		return
	}
	if n.GetUrl() != "" {
		f.checkWebAddress(n.GetUrl(), n.GetAllowHttp(), join(path, "url"))
	}
	if n.GetTls() != nil {
		f.checkClientTLS(n.GetTls(), join(path, "tls"))
	}
}

// checkWebAddress checks where something is asked that decides who may call.
func (f *File) checkWebAddress(address string, plain bool, path string) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		f.wrong(path, "want an https address, not %s", quote(address))
	case u.User != nil:
		f.wrong(path, "an address holds no password")
	case u.Scheme == "http" && !plain && !isLoopback(u.Hostname()):
		f.wrong(path, "%s is plain http: whoever sits between decides who may call. Use https, or say allow_http", quote(address))
	}
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// staticHash is what an API key's hash looks like.
var staticHash = regexp.MustCompile(`^sha256:[0-9a-f]{32}:[0-9a-f]{64}$`)

func (f *File) checkAPIKey(k *configv1.ApiKey, path string) {
	first := map[string]string{}
	for i, one := range k.GetKeys() {
		at := element(join(path, "keys"), i)
		if other, ok := first[one.GetPrefix()]; ok {
			f.wrong(join(at, "prefix"), "%s is the prefix of %s already", quote(one.GetPrefix()), f.said(other))
		} else if one.GetPrefix() != "" {
			first[one.GetPrefix()] = join(at, "prefix")
		}
		if one.GetHash() != "" && !staticHash.MatchString(one.GetHash()) {
			f.wrong(join(at, "hash"), "want sha256:<salt>:<hash>, as `transom keys hash` prints it")
		}
		if _, err := time.Parse(time.RFC3339, one.GetExpires()); one.GetExpires() != "" && err != nil {
			f.wrong(join(at, "expires"), `want a time like "2027-01-31T00:00:00Z", not %s`, quote(one.GetExpires()))
		}
	}
}

// checkIdentity refuses metadata keys that the gateway or gRPC speaks with.
func (f *File) checkIdentity(id *configv1.Identity) {
	first := map[string]string{}
	check := func(name, path string) {
		if name == "" {
			return
		}
		f.checkCrossing(name, path)
		lower := strings.ToLower(name)
		if lower == "authorization" || strings.HasPrefix(lower, "x-forwarded-") || lower == "x-request-id" || strings.HasSuffix(lower, "-bin") {
			f.wrong(path, "%s means something else to backends", quote(name))
		}
		if other, ok := first[lower]; ok {
			f.wrong(path, "%s is used for %s already", quote(name), f.said(other))
		}
		first[lower] = path
	}
	for _, field := range []struct{ name, key string }{
		{"subject", id.GetSubject()}, {"issuer", id.GetIssuer()}, {"scopes", id.GetScopes()},
		{"roles", id.GetRoles()}, {"consumer", id.GetConsumer()}, {"credential", id.GetCredential()},
	} {
		check(field.key, join("authn.identity", field.name))
	}
	for claim, key := range id.GetClaims() {
		at := `authn.identity.claims["` + claim + `"]`
		if text := headerMistake(key, key); text != "" {
			f.wrong(at, "%s", text)
			continue
		}
		check(key, at)
	}
}

func (f *File) checkStore(s *configv1.AuthnStore) {
	if s == nil {
		return
	}
	if (s.GetFile() == "") == (s.GetRedis() == nil) && !f.hasBad("authn.store") {
		f.wrong("authn.store", "want one of file and redis")
	}
	if s.GetRedis().GetTls() != nil {
		f.checkClientTLS(s.GetRedis().GetTls(), "authn.store.redis.tls")
	}
	if address := s.GetRedis().GetAddress(); address != "" {
		if _, _, err := net.SplitHostPort(address); err != nil {
			f.wrong("authn.store.redis.address", `want "host:port", not %s`, quote(address))
		}
	}
}

// checkAuthnPolicies checks the names of authenticators in policies. Those in
// the protos' options are checked when the gateway is built.
func (f *File) checkAuthnPolicies(names []string) {
	for i, rule := range f.Config.GetPolicies() {
		path := join(element("policies", i), "policy.authn")
		for j, name := range rule.GetPolicy().GetAuthn().GetAnyOf() {
			f.checkAuthenticatorName(name, names, element(join(path, "any_of"), j))
		}
		for j, name := range rule.GetPolicy().GetAuthn().GetAllOf() {
			f.checkAuthenticatorName(name, names, element(join(path, "all_of"), j))
		}
	}
}

func (f *File) checkAuthenticatorName(name string, names []string, path string) {
	switch {
	case slices.Contains(names, name) || f.isBad("authn"):
	case len(names) == 0:
		f.wrong(path, "there is no authenticator %s: authn.authenticators names none", quote(name))
	default:
		f.wrong(path, "there is no authenticator %s; %s", quote(name), suggest(name, names))
	}
}
