package gateway

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/transomhq/transom/config"
	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
	"github.com/transomhq/transom/interceptors"
	"github.com/transomhq/transom/interceptors/authz"
	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/upstream"
)

// buildAuthz compiles what the callers of each method must be allowed.
func (g *Gateway) buildAuthz(h *house, file *config.File) (interceptors.Interceptor, error) {
	cfg := file.Config.GetAuthz()
	opts := authz.Options{
		DenyByDefault: cfg.GetDefault() == configv1.AuthzDefault_AUTHZ_DEFAULT_DENY,
		External:      externalAuthorizers(cfg, h.backends.clusters), Metrics: g.denied,
	}
	for _, m := range h.schema.Methods {
		e := h.policies.Of(m.Name)
		for _, text := range authz.Lint(e.Policy.GetAuthz()) {
			h.advice = append(h.advice, fmt.Sprintf("%s: authz of %s: %s", e.Origins["authz"].Text, m.Selector(), text))
		}
		if e.Policy.GetAuthn().GetPublic() && e.Policy.GetAuthz() == nil && mutates(m) {
			h.advice = append(h.advice, fmt.Sprintf("%s: %s changes things and is public: everybody may call it", e.Origins["authn"].Text, m.Selector()))
		}
		opts.Methods = append(opts.Methods, authz.Method{
			Desc: m.Desc, Policy: e.Policy.GetAuthz(), Public: e.Policy.GetAuthn().GetPublic(), Origin: e.Origins["authz"].Text,
		})
	}
	guard, err := authz.New(opts)
	if err != nil {
		return interceptors.Interceptor{}, err
	}
	return interceptors.Interceptor{
		Unary: guard.Unary(), Stream: guard.Stream(),
		Applies: func(m *rpc.Method) bool { return guard.Applies(m.Name) },
	}, nil
}

// mutates reports whether a method's bindings say that it changes things.
func mutates(m *rpc.Method) bool {
	return slices.ContainsFunc(m.Bindings, func(b *rpc.Binding) bool {
		return !b.Implicit && (b.HTTPMethod == http.MethodPut || b.HTTPMethod == http.MethodPatch || b.HTTPMethod == http.MethodDelete)
	})
}

func externalAuthorizers(cfg *configv1.Authz, clusters []*upstream.Cluster) map[string]*authz.External {
	all := map[string]*authz.External{}
	for _, e := range cfg.GetExternal() {
		for _, c := range clusters {
			if c.Name() == e.GetCluster() { // checked by config
				all[e.GetName()] = &authz.External{
					Name: e.GetName(), Conn: c, Timeout: e.GetTimeout().AsDuration(), FailOpen: e.GetFailOpen(),
					MaxMessageBytes: int(e.GetMaxMessageBytes()),
				}
			}
		}
	}
	return all
}
