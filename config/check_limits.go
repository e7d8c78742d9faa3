package config

import (
	"slices"

	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
)

// checkLimits checks where limits are counted and the plans.
func (f *File) checkLimits() {
	l := f.Config.GetLimits()
	if r := l.GetRedis(); r != nil {
		if r.GetTls() != nil {
			f.checkClientTLS(r.GetTls(), "limits.redis.tls")
		}
		if r.GetCluster() && r.GetDatabase() != 0 {
			f.wrong("limits.redis.database", "a cluster has only database 0")
		}
		if !r.GetCluster() && len(r.GetAddresses()) > 1 {
			f.wrong("limits.redis.addresses", "several addresses are those of a cluster: set cluster, or name one")
		}
	}
	names := make([]string, 0, len(l.GetPlans()))
	first, consumers, credentials := map[string]string{}, map[string]string{}, map[string]string{}
	for i, p := range l.GetPlans() {
		path := element("limits.plans", i)
		names = append(names, p.GetName())
		f.checkOnce(first, p.GetName(), join(path, "name"), "is the name of")
		for j, c := range p.GetConsumers() {
			f.checkOnce(consumers, c, element(join(path, "consumers"), j), "belongs to a plan already:")
		}
		for j, c := range p.GetCredentials() {
			f.checkOnce(credentials, c, element(join(path, "credentials"), j), "belongs to a plan already:")
		}
		for j, part := range p.GetLimits() {
			at := join(element(join(path, "limits"), j), "limits")
			if part.GetLimits() != nil {
				f.checkNotNegative(part.GetLimits().ProtoReflect(), at)
				f.checkLimitsOf(part.GetLimits(), at)
			}
		}
	}
	if d := l.GetDefaultPlan(); d != "" && !slices.Contains(names, d) && !f.isBad("limits") {
		if len(names) == 0 {
			f.wrong("limits.default_plan", "there is no plan %s", quote(d))
		} else {
			f.wrong("limits.default_plan", "there is no plan %s; %s", quote(d), suggest(d, names))
		}
	}
}

// checkOnce refuses a name that was seen at another place.
func (f *File) checkOnce(first map[string]string, name, path, what string) {
	if other, ok := first[name]; ok && name != "" {
		f.wrong(path, "%s %s %s", quote(name), what, f.said(other))
		return
	}
	first[name] = path
}

// checkLimitsOf checks numbers that no method could make sense of. What
// depends on a method's request is checked when the schema is known.
func (f *File) checkLimitsOf(l *policyv1.Limits, path string) {
	for i, r := range l.GetRates() {
		at := element(join(path, "rates"), i)
		f.checkPositive(r.GetRequests(), join(at, "requests"))
		if r.GetPer().AsDuration() <= 0 {
			f.wrong(join(at, "per"), `want a time, as in "1s"`)
		}
		if r.Burst != nil {
			f.checkPositive(r.GetBurst(), join(at, "burst"))
		}
		if r.GetExcess() != policyv1.Excess_EXCESS_UNSPECIFIED && !r.GetPerMessage() {
			f.wrong(join(at, "excess"), "is about the messages of a stream: it needs per_message")
		}
	}
	for i, q := range l.GetQuotas() {
		at := element(join(path, "quotas"), i)
		f.checkPositive(q.GetLimit(), join(at, "limit"))
		if q.GetPeriod() == policyv1.Quota_PERIOD_UNSPECIFIED {
			f.wrong(join(at, "period"), "want minute, hour, day or month")
		}
	}
	for i, c := range l.GetConcurrency() {
		f.checkPositive(c.GetLimit(), join(element(join(path, "concurrency"), i), "limit"))
	}
}

// checkPositive refuses 0; what is below is refused with all other negatives.
func (f *File) checkPositive(n int64, path string) {
	if n == 0 && !f.hasBad(path) {
		f.wrong(path, "want at least 1")
	}
}
