package config

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
)

// Defaults returns the configuration that an empty file means. It is not
// complete: nothing says what to serve.
func Defaults() *configv1.Config {
	cfg := new(configv1.Config)
	Complete(cfg)
	return cfg
}

// DefaultListen is the address of the listener of a configuration that names none.
const DefaultListen = ":8080"

// Complete gives every unset field of cfg its default.
func Complete(cfg *configv1.Config) {
	if len(cfg.GetListeners()) == 0 {
		cfg.Listeners = []*configv1.Listener{{Address: DefaultListen}}
	}
	complete(cfg.ProtoReflect())
}

func complete(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		rule := RuleOf(fd)
		switch {
		case rule.GetDefault() != "" && !m.Has(fd):
			v, err := parseScalar(fd, rule.GetDefault())
			if err != nil {
				// Written in the proto, and tested.
				panic(fmt.Sprintf("default of %s: %q", fd.FullName(), rule.GetDefault()))
			}
			m.Set(fd, v)
		case fd.IsMap() || !isOurs(fd.Message()):
		case fd.IsList():
			for j := range m.Get(fd).List().Len() {
				complete(m.Get(fd).List().Get(j).Message())
			}
		case m.Has(fd) || !rule.GetSwitch() && hasDefaults(fd.Message()):
			complete(m.Mutable(fd).Message())
		}
	}
}

// isOurs reports whether a message is one of the configuration's own, and not
// a well-known one or a policy.
func isOurs(md protoreflect.MessageDescriptor) bool {
	return md != nil && md.ParentFile().Package() == configPackage
}

// configPackage is the protobuf package of the configuration.
const configPackage protoreflect.FullName = "transom.config.v1"

func hasDefaults(md protoreflect.MessageDescriptor) bool {
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		rule := RuleOf(fd)
		if rule.GetDefault() != "" {
			return true
		}
		if isOurs(fd.Message()) && fd.Cardinality() != protoreflect.Repeated && !rule.GetSwitch() && hasDefaults(fd.Message()) {
			return true
		}
	}
	return false
}

// RuleOf returns what is known about a field's values, nil for nothing.
func RuleOf(fd protoreflect.FieldDescriptor) *configv1.Rule {
	opts := fd.Options()
	if opts == nil || !proto.HasExtension(opts, configv1.E_Rule) {
		return nil
	}
	rule, _ := proto.GetExtension(opts, configv1.E_Rule).(*configv1.Rule)
	return rule
}
