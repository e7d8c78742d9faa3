package gateway

import (
	"github.com/transomhq/transom/interceptors"
	"github.com/transomhq/transom/interceptors/validate"
	"github.com/transomhq/transom/rpc"
)

// buildValidation compiles the rules of all methods' requests. Where rules
// exist they hold, unless a policy says otherwise.
func (g *Gateway) buildValidation(h *house) (interceptors.Interceptor, error) {
	opts := validate.Options{Resolver: h.schema.Types, Metrics: g.invalid}
	for _, m := range h.schema.Methods {
		mode := h.policies.Of(m.Name).Policy.GetValidation().GetMode()
		opts.Methods = append(opts.Methods, validate.Method{Desc: m.Desc, Mode: mode})
	}
	checker, err := validate.New(opts)
	if err != nil {
		return interceptors.Interceptor{}, err
	}
	return interceptors.Interceptor{
		Unary: checker.Unary(), Stream: checker.Stream(),
		Applies: func(m *rpc.Method) bool { return checker.Applies(m.Name) },
	}, nil
}
