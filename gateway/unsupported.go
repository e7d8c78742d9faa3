package gateway

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/transomhq/transom/interceptors/policy"
	"github.com/transomhq/transom/rpc"
)

// What a policy asks for and this version does not do. Ignoring the guards
// would leave a door open that somebody believes shut, so they are refused;
// the comforts are only missed, so they are warned about.
func missingGuards() []string   { return []string{"version"} }
func missingComforts() []string { return []string{"upstream.hedge"} }

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

// says reports whether the field of path, "upstream.hedge", is set in m.
func says(m protoreflect.Message, path string) bool {
	name, rest, deeper := strings.Cut(path, ".")
	fd := m.Descriptor().Fields().ByName(protoreflect.Name(name))
	return fd != nil && m.Has(fd) && (!deeper || says(m.Get(fd).Message(), rest))
}

// ignored returns what has no effect in the policies of methods, once for each
// place where it is declared.
func ignored(methods []*rpc.Method, policies *policy.Set) []string {
	out := shareIgnored(methods, policies)
	seen := map[string]bool{}
	for _, m := range methods {
		for _, part := range missingComforts() {
			e := policies.Of(m.Name)
			top, _, _ := strings.Cut(part, ".")
			origin, ok := e.Origins[top]
			ok = ok && says(e.Policy.ProtoReflect(), part)
			text := fmt.Sprintf("%s: policy %q has no effect in this version", origin.Text, part)
			if ok && !seen[text] {
				seen[text] = true
				out = append(out, text)
			}
		}
	}
	return out
}
