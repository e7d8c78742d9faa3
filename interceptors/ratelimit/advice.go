package ratelimit

import (
	"fmt"

	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
)

// Advice returns what is allowed in the limits of methods and perhaps not
// meant, once for each place where it is declared.
func Advice(methods []Method) []string {
	var out []string
	seen := map[string]bool{}
	say := func(origin, format string, args ...any) {
		text := origin + ": limits: " + fmt.Sprintf(format, args...)
		if !seen[text] {
			seen[text] = true
			out = append(out, text)
		}
	}
	for _, m := range methods {
		streams := m.Desc.IsStreamingClient() || m.Desc.IsStreamingServer()
		for i, r := range m.Limits.GetRates() {
			unkeyed(say, m.Origin, fmt.Sprintf("rates[%d]", i), r.GetKey())
			if r.GetPerMessage() && !streams && r.GetBucket() == "" {
				say(m.Origin, "rates[%d]: per_message means nothing to %s, which is unary", i, m.Desc.FullName())
			}
		}
		for i, q := range m.Limits.GetQuotas() {
			unkeyed(say, m.Origin, fmt.Sprintf("quotas[%d]", i), q.GetKey())
		}
		for i, c := range m.Limits.GetConcurrency() {
			unkeyed(say, m.Origin, fmt.Sprintf("concurrency[%d]", i), c.GetKey())
		}
	}
	return out
}

func unkeyed(say func(origin, format string, args ...any), origin, part string, key *policyv1.Key) {
	if key.GetBy() == nil {
		say(origin, "%s has no key: each principal is counted, and callers without one by address; say so with key: {principal: true}", part)
	}
}
