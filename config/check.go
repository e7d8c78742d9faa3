package config

import (
	"cmp"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
)

// Validate checks what a complete configuration means: names, ranges, files,
// and that its parts fit each other. The error is Mistakes, without positions.
func Validate(cfg *configv1.Config) error {
	f := newFile("")
	f.Config = cfg
	f.check()
	return f.mistakes.inOrder()
}

// check runs every check, each part by itself before parts against each other.
func (f *File) check() {
	if f.bad[""] {
		return // not YAML: nothing was read
	}
	f.checkRules(f.Config.ProtoReflect())
	f.checkListeners()
	f.checkSchema()
	f.checkClusters()
	f.checkRoutes()
	f.checkHeaders()
	f.checkWebSocket()
	f.checkPolicies()
	f.checkLimits()
	f.checkAuthn()
	f.checkAuthz()
	f.checkCors()
	f.checkResponseHeaders(f.Config.GetEdge())
}

// checkRules checks every field by what its proto says about it.
func (f *File) checkRules(m protoreflect.Message) {
	walk(m, "", func(m protoreflect.Message, path string) {
		fields := m.Descriptor().Fields()
		for i := range fields.Len() {
			fd := fields.Get(i)
			rule := RuleOf(fd)
			if rule == nil {
				continue
			}
			at := join(path, string(fd.Name()))
			if !m.Has(fd) {
				if rule.GetRequired() && !f.hasBad(at) {
					f.wrong(at, "is required")
				}
				continue
			}
			each(m, fd, at, func(v protoreflect.Value, fd protoreflect.FieldDescriptor, at string) {
				f.checkRange(rule, fd, v, at)
				if kind := rule.GetKind(); kind != configv1.Kind_KIND_UNSPECIFIED {
					f.checkKind(kind, v.String(), at)
				}
			})
		}
	})
}

func (f *File) checkRange(rule *configv1.Rule, fd protoreflect.FieldDescriptor, v protoreflect.Value, path string) {
	if text := rule.GetMin(); text != "" {
		if limit, err := parseScalar(fd, text); err == nil && compare(v, limit) < 0 {
			f.wrong(path, "want at least %s, not %s", text, valueNode(fd, v).Value)
		}
	}
	if text := rule.GetMax(); text != "" {
		if limit, err := parseScalar(fd, text); err == nil && compare(v, limit) > 0 {
			f.wrong(path, "want at most %s, not %s", text, valueNode(fd, v).Value)
		}
	}
}

// compare orders two values of a type that has a range.
func compare(a, b protoreflect.Value) int {
	switch a.Interface().(type) {
	case int32, int64:
		return cmp.Compare(a.Int(), b.Int())
	case uint32, uint64:
		return cmp.Compare(a.Uint(), b.Uint())
	case float32, float64:
		return cmp.Compare(a.Float(), b.Float())
	case protoreflect.Message:
		x, y := durationOf(a.Message()), durationOf(b.Message())
		return cmp.Or(cmp.Compare(x.GetSeconds(), y.GetSeconds()), cmp.Compare(x.GetNanos(), y.GetNanos()))
	}
	return 0
}

// durationOf returns m as a duration, nil for any other message.
func durationOf(m protoreflect.Message) *durationpb.Duration {
	d, _ := m.Interface().(*durationpb.Duration)
	return d
}
