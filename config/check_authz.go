package config

import (
	"net/netip"
	"net/url"
	"strings"

	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
)

// checkAuthz checks the external authorizers, and that policies name one of them.
func (f *File) checkAuthz() {
	var clusters []string
	for _, c := range f.Config.GetClusters() {
		clusters = append(clusters, c.GetName())
	}
	first := map[string]string{}
	for i, e := range f.Config.GetAuthz().GetExternal() {
		path := element("authz.external", i)
		if other, ok := first[e.GetName()]; ok {
			f.wrong(join(path, "name"), "%s is the name of %s already", quote(e.GetName()), f.said(other))
		} else if e.GetName() != "" {
			first[e.GetName()] = join(path, "name")
		}
		f.checkReference(e.GetCluster(), clusters, join(path, "cluster"))
	}
	for i, rule := range f.Config.GetPolicies() {
		name := rule.GetPolicy().GetAuthz().GetExternal()
		if _, ok := first[name]; name != "" && !ok {
			f.wrong(join(element("policies", i), "policy.authz.external"), "there is no authorizer %s in authz.external", quote(name))
		}
	}
}

// checkCors checks which web pages may call.
func (f *File) checkCors() {
	for i, c := range f.Config.GetCors() {
		path := element("cors", i)
		for j, origin := range c.GetOrigins() {
			at := element(join(path, "origins"), j)
			if origin == "*" && c.GetCredentials() {
				f.wrong(at, `"*" does not go with credentials: every web page could call in the name of its visitor; name the origins`)
			} else if text := originMistake(origin); text != "" {
				f.wrong(at, "%s", text)
			}
		}
	}
}

// originMistake checks an origin as browsers write it (RFC 6454, section 6.2).
func originMistake(s string) string {
	if s == "*" {
		return ""
	}
	const want = `want an origin such as "https://app.example.com", "https://*.example.com" or "*", not `
	scheme, host, ok := strings.Cut(s, "://")
	if !ok || scheme == "" || host == "" {
		return want + quote(s)
	}
	below, wild := strings.CutPrefix(host, "*.")
	u, err := url.Parse(scheme + "://" + below)
	switch {
	case err != nil || u.Host != below || u.User != nil || strings.Contains(below, "*") || u.Hostname() == "":
		return want + quote(s)
	case s != strings.ToLower(s):
		return "browsers write origins in lower case: " + quote(strings.ToLower(s))
	case scheme == "https" && u.Port() == "443", scheme == "http" && u.Port() == "80":
		return "browsers leave out the port that the scheme implies: " + quote(strings.TrimSuffix(s, ":"+u.Port()))
	case wild && !strings.Contains(u.Hostname(), "."):
		return quote(s) + " would let every name below a top-level domain call: name one below it"
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil && wild {
		return want + quote(s)
	}
	return ""
}

// checkResponseHeaders checks the fields of every answer.
func (f *File) checkResponseHeaders(e *configv1.Edge) {
	for name, value := range e.GetResponseHeaders() {
		path := "edge.response_headers." + name
		if text := headerMistake(name, name); text != "" {
			f.wrong(path, "%s", text)
			continue
		}
		f.checkCrossing(name, path)
		if strings.ContainsAny(value, "\r\n\x00") {
			f.wrong(path, "a value has no line breaks")
		}
	}
}
