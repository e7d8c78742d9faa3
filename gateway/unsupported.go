package gateway

import (
	"fmt"

	"github.com/transomhq/transom/interceptors/policy"
	"github.com/transomhq/transom/rpc"
)

// What a policy asks for and this version does not do. Ignoring the guards
// would leave a door open that somebody believes shut, so they are refused;
// the comforts are only missed, so they are warned about.
func missingGuards() []string   { return []string{"version"} }
func missingComforts() []string { return []string{"upstream"} }

// unsupported returns what is refused about a method's policy.
func unsupported(m *rpc.Method, e *policy.Effective) []error {
	var errs []error
	for _, part := range missingGuards() {
		if origin, ok := e.Origins[part]; ok {
			errs = append(errs, fmt.Errorf("%s: policy %q of %s is not supported by this version: remove it", origin.Text, part, m.Selector()))
		}
	}
	return errs
}

// ignored returns what has no effect in the policies of methods, once for each
// place where it is declared.
func ignored(methods []*rpc.Method, policies *policy.Set) []string {
	out := shareIgnored(methods, policies)
	seen := map[string]bool{}
	for _, m := range methods {
		for _, part := range missingComforts() {
			origin, ok := policies.Of(m.Name).Origins[part]
			text := fmt.Sprintf("%s: policy %q has no effect in this version", origin.Text, part)
			if ok && !seen[text] {
				seen[text] = true
				out = append(out, text)
			}
		}
	}
	return out
}
