package config

import (
	"strings"

	_ "google.golang.org/grpc" // registers its balancers
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"

	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
)

// checkBalancing checks how a cluster chooses and guards its endpoints.
func (f *File) checkBalancing(c *configv1.Cluster, path string) {
	name := c.GetBalancer()
	switch name {
	case "", "round_robin", "least_request", "consistent_hash":
	default:
		if balancer.Get(name) == nil {
			f.wrong(join(path, "balancer"), "there is no balancer %s; there are round_robin, least_request and consistent_hash, and grpc-go's, such as pick_first", quote(name))
			return
		}
		if c.GetHealthCheck() != nil {
			f.wrong(join(path, "health_check"), "the balancer %s asks nobody: choose round_robin, least_request or consistent_hash, or set health_service", quote(name))
		}
	}
	header, isHeader := strings.CutPrefix(c.GetHash(), "header:")
	switch hash := c.GetHash(); {
	case hash == "" && name == "consistent_hash":
		f.wrong(join(path, "hash"), `consistent_hash needs to know by what: "principal", "client" or "header:NAME"`)
	case hash == "":
	case name != "consistent_hash":
		f.wrong(join(path, "hash"), "only the balancer consistent_hash reads it")
	case hash != "principal" && hash != "client" && (!isHeader || header == "" || header != strings.ToLower(header) || strings.ContainsAny(header, " :")):
		f.wrong(join(path, "hash"), `%s: want "principal", "client" or "header:NAME" in lower case`, quote(hash))
	}
}

// retriableCodes are the codes that name a failure: a call that went well is not repeated.
func retriableCode(name string) bool {
	var code codes.Code
	return code.UnmarshalJSON([]byte(quote(name))) == nil && code != codes.OK && strings.ToUpper(name) == name
}

func (f *File) checkRetry(r *policyv1.Retry, path string) {
	if n := r.GetMaxAttempts(); n > 10 {
		f.wrong(join(path, "max_attempts"), "want at most 10, not %d", n)
	}
	for i, name := range r.GetCodes() {
		if !retriableCode(name) {
			f.wrong(element(join(path, "codes"), i), `%s is not the name of a gRPC code that can fail a call, such as "UNAVAILABLE"`, quote(name))
		}
	}
	if first, longest := r.GetInitialBackoff().AsDuration(), r.GetMaxBackoff().AsDuration(); longest > 0 && first > longest {
		f.wrong(join(path, "initial_backoff"), "%s is more than max_backoff, %s", formatDuration(first), formatDuration(longest))
	}
}
