package gateway

import (
	"errors"
	"fmt"
	"slices"

	"github.com/transomhq/transom/interceptors"
	"github.com/transomhq/transom/interceptors/idempotency"
	"github.com/transomhq/transom/interceptors/policy"
	"github.com/transomhq/transom/rpc"
)

// buildIdempotency reads which methods take an Idempotency-Key. Policies for a
// group of methods mean its unary ones.
func (g *Gateway) buildIdempotency(h *house) (interceptors.Interceptor, error) {
	taking := map[string]idempotency.Method{}
	var errs []error
	for _, m := range h.schema.Methods {
		e := h.policies.Of(m.Name)
		p := e.Policy.GetUpstream().GetIdempotencyKey()
		switch {
		case p == nil:
		case m.Unary():
			taking[m.Name] = idempotency.Method{Desc: m.Desc, TTL: p.GetTtl().AsDuration(), Required: p.GetRequired()}
		case e.Origins["upstream"].Exact:
			errs = append(errs, fmt.Errorf("%s: policy upstream.idempotency_key of %s: only unary calls are answered again", e.Origins["upstream"].Text, m.Selector()))
		}
	}
	opts := idempotency.Options{Methods: taking, Store: g.answers}
	return interceptors.Interceptor{
		Unary: idempotency.Unary(opts),
		Applies: func(m *rpc.Method) bool {
			_, ok := taking[m.Name]
			return ok
		},
	}, errors.Join(errs...)
}

// withIdempotencyKey adds a header to those that cross the REST door, when a
// method has a use for it.
func withIdempotencyKey(names []string, h *house, header string) []string {
	takes := func(m *rpc.Method) bool { return takesKey(m, h.policies) }
	if slices.Contains(names, header) || !slices.ContainsFunc(h.schema.Methods, takes) {
		return names
	}
	return append(slices.Clone(names), header)
}

func takesKey(m *rpc.Method, policies *policy.Set) bool {
	return policies.Of(m.Name).Policy.GetUpstream().GetIdempotencyKey() != nil
}
