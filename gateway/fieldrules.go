package gateway

import (
	"github.com/transomhq/transom/interceptors"
	"github.com/transomhq/transom/interceptors/fieldrules"
	"github.com/transomhq/transom/rpc"
)

// buildFieldRules finds the guarded fields of all methods' messages. It returns
// nothing to link where the schema guards none.
func buildFieldRules(h *house) []interceptors.Interceptor {
	if !fieldrules.Declared(h.schema.Files) {
		return nil
	}
	opts := fieldrules.Options{Types: h.schema.Types}
	for _, m := range h.schema.Methods {
		opts.Methods = append(opts.Methods, m.Desc)
	}
	guard := fieldrules.New(opts)
	return []interceptors.Interceptor{{
		Unary: guard.Unary(), Stream: guard.Stream(),
		Applies: func(m *rpc.Method) bool { return guard.Applies(m.Name) },
	}}
}
