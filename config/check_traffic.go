package config

import (
	"slices"
	"strings"
	"time"

	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
)

// checkTraffic checks where a route's calls go, and how they are shared.
func (f *File) checkTraffic(r *configv1.Route, clusters []string, path string) {
	f.checkReference(r.GetCluster(), clusters, join(path, "cluster"))
	switch split := len(r.GetSplit()) > 0; {
	case split && r.GetCluster() != "":
		f.wrong(join(path, "split"), "a route has either a cluster or a split, not both")
	case !split && r.GetCluster() == "" && !f.hasBad(join(path, "cluster")) && !f.hasBad(join(path, "split")):
		f.wrong(join(path, "cluster"), "is required, or a split of several")
	case !split:
		for name, set := range map[string]bool{"sticky": r.GetSticky() != "", "matches": len(r.GetMatches()) > 0, "ramp": r.GetRamp() != nil} {
			if set {
				f.wrong(join(path, name), "is of use with split only")
			}
		}
	default:
		f.checkSplit(r, clusters, path)
	}
	if m := r.GetMirror(); m != nil {
		f.checkReference(m.GetCluster(), clusters, join(path, "mirror.cluster"))
		if m.GetCluster() == r.GetCluster() && m.GetCluster() != "" {
			f.wrong(join(path, "mirror.cluster"), "serves the route already: it would get each call twice")
		}
	}
}

func (f *File) checkSplit(r *configv1.Route, clusters []string, path string) {
	first := map[string]string{}
	names := make([]string, 0, len(r.GetSplit()))
	sum, ramped := int64(0), r.GetRamp().GetSubset()
	for i, s := range r.GetSplit() {
		at := element(join(path, "split"), i)
		names = append(names, s.GetName())
		f.checkOnce(first, s.GetName(), join(at, "name"), "is the name of")
		f.checkReference(s.GetCluster(), clusters, join(at, "cluster"))
		switch {
		case s.GetName() != ramped || ramped == "":
			sum += int64(s.GetWeight())
		case s.GetWeight() != 0:
			f.wrong(join(at, "weight"), "the ramp says the share of %s: leave its weight out", quote(ramped))
		}
	}
	switch {
	case sum > 0 || f.hasBad(join(path, "split")):
	case ramped != "":
		f.wrong(join(path, "split"), "all weights beside that of the ramp are 0: nobody would get the rest")
	default:
		f.wrong(join(path, "split"), "all weights are 0: nobody would get the calls")
	}
	if text := stickyMistake(r.GetSticky()); text != "" {
		f.wrong(join(path, "sticky"), "%s", text)
	}
	if name, ok := strings.CutPrefix(r.GetSticky(), "header:"); ok {
		f.checkAsked(name, join(path, "sticky"))
	}
	for i, m := range r.GetMatches() {
		f.checkMatch(m, names, element(join(path, "matches"), i))
	}
	f.checkRamp(r.GetRamp(), names, join(path, "ramp"))
}

func stickyMistake(s string) string {
	if s == "" || s == "principal" {
		return ""
	}
	kind, name, _ := strings.Cut(s, ":")
	if kind != "header" && kind != "cookie" || name == "" || headerMistake(name, name) != "" {
		return quote(s) + `: want "principal", "header:NAME" or "cookie:NAME"`
	}
	return ""
}

func (f *File) checkMatch(m *configv1.Match, subsets []string, path string) {
	f.checkSubset(m.GetSubset(), subsets, join(path, "subset"))
	if len(m.GetHeaders()) == 0 && len(m.GetClaims()) == 0 && m.Percent == nil && m.GetScope() == "" && !f.hasBad(path) {
		f.wrong(path, "would hold for every call: say headers, claims, percent or scope, or give the subset a weight")
	}
	for i, h := range m.GetHeaders() {
		at := element(join(path, "headers"), i)
		set := 0
		for _, one := range []bool{h.GetExact() != "", h.GetPrefix() != "", h.GetPresent()} {
			if one {
				set++
			}
		}
		if set != 1 && !f.hasBad(at) {
			f.wrong(at, "want one of exact, prefix and present, not %d of them", set)
		}
		f.checkAsked(h.GetName(), join(at, "name"))
	}
}

// checkAsked refuses header fields that do not mean the same behind every door:
// those that the gateway speaks with, or that say who is calling.
func (f *File) checkAsked(name, path string) {
	f.checkCrossing(name, path)
	lower := strings.ToLower(name)
	for _, own := range []string{"user-agent", "content-type", "content-encoding", "accept-encoding", "expect", "date", "forwarded", "via", "x-real-ip", "x-request-id"} {
		if lower == own {
			f.wrong(path, "%s is not the caller's alone to set: choose another field", quote(name))
		}
	}
	for _, prefix := range []string{"x-forwarded-", "x-envoy-", "grpcgateway-"} {
		if strings.HasPrefix(lower, prefix) {
			f.wrong(path, "%s is not the caller's alone to set: choose another field", quote(name))
		}
	}
	id := f.Config.GetAuthn().GetIdentity()
	keys := []string{id.GetSubject(), id.GetIssuer(), id.GetScopes(), id.GetRoles(), id.GetConsumer(), id.GetCredential()}
	for _, key := range id.GetClaims() {
		keys = append(keys, key)
	}
	if slices.ContainsFunc(keys, func(key string) bool { return key != "" && strings.EqualFold(key, name) }) {
		f.wrong(path, "%s is what the gateway says about a caller (authn.identity): use claims", quote(name))
	}
}

func (f *File) checkSubset(name string, subsets []string, path string) {
	for _, s := range subsets {
		if name == s || name == "" || s == "" {
			return
		}
	}
	f.wrong(path, "there is no subset %s; %s", quote(name), suggest(name, subsets))
}

func (f *File) checkRamp(r *configv1.Ramp, subsets []string, path string) {
	if r == nil {
		return
	}
	f.checkSubset(r.GetSubset(), subsets, join(path, "subset"))
	if _, err := time.Parse(time.RFC3339, r.GetBegin()); r.GetBegin() != "" && err != nil {
		f.wrong(join(path, "begin"), `want a time like "2026-10-01T09:00:00Z", not %s`, quote(r.GetBegin()))
	}
	if r.GetSteps() > 0 && r.GetOver().AsDuration() == 0 {
		f.wrong(join(path, "steps"), "a ramp without over has no steps")
	}
	s, at := r.GetStop(), join(path, "stop")
	if s != nil && s.GetErrorPoints() == 0 && s.GetLatencyRatio() == 0 && !f.hasBad(at) {
		f.wrong(at, "compares neither failures nor latency: say error_points or latency_ratio")
	}
	if s.GetLatencyRatio() > 0 && s.GetLatencyRatio() <= 1 {
		f.wrong(join(at, "latency_ratio"), "want more than 1: a subset that is as fast as the others would stop")
	}
	for i, name := range s.GetCodes() {
		if !retriableCode(name) {
			f.wrong(element(join(at, "codes"), i), `%s is not the name of a gRPC code that can fail a call, such as "UNAVAILABLE"`, quote(name))
		}
	}
}

// maxFaultDelay bounds how long a call can be made to wait.
const maxFaultDelay = 5 * time.Minute

func (f *File) checkFaults(p *policyv1.Faults, path string) {
	if p == nil || f.hasBad(path) {
		return
	}
	switch {
	case p.GetScope() == "" && !p.GetInsecureWithoutScope():
		f.wrong(path, "would touch everybody's calls: say the scope that testers have (or, outside of production, insecure_without_scope)")
	case p.GetScope() != "" && p.GetInsecureWithoutScope():
		f.wrong(join(path, "insecure_without_scope"), "contradicts scope: leave one of them out")
	}
	if p.GetDelay() == nil && p.GetAbort() == nil {
		f.wrong(path, "does nothing: say delay or abort")
	}
	if name := p.GetHeader(); name != "" {
		if text := headerMistake(name, name); text != "" {
			f.wrong(join(path, "header"), "%s", text)
		} else {
			f.checkAsked(name, join(path, "header"))
		}
	}
	if d := p.GetDelay(); d != nil {
		if t := d.GetDuration().AsDuration(); t <= 0 || t > maxFaultDelay {
			f.wrong(join(path, "delay.duration"), "want more than 0s and at most %s", formatDuration(maxFaultDelay))
		}
		f.checkPercent(d.Percent, join(path, "delay.percent"))
	}
	if a := p.GetAbort(); a != nil {
		if !retriableCode(a.GetCode()) {
			f.wrong(join(path, "abort.code"), `%s is not the name of a gRPC code that can fail a call, such as "UNAVAILABLE"`, quote(a.GetCode()))
		}
		f.checkPercent(a.Percent, join(path, "abort.percent"))
	}
}

func (f *File) checkPercent(p *float64, path string) {
	if p != nil && !(*p >= 0 && *p <= 100) {
		f.wrong(path, "want 0 to 100, not %v", *p)
	}
}
