package config

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
)

// TestRulesFitTheirFields holds the protos to what the loader relies on.
func TestRulesFitTheirFields(t *testing.T) {
	seen := map[protoreflect.FullName]bool{}
	var visit func(md protoreflect.MessageDescriptor)
	visit = func(md protoreflect.MessageDescriptor) {
		if md == nil || seen[md.FullName()] || !isOurs(md) {
			return
		}
		seen[md.FullName()] = true
		for i := range md.Fields().Len() {
			fitField(t, md.Fields().Get(i))
			visit(md.Fields().Get(i).Message())
		}
		if !t.Failed() {
			complete(dynamicpb.NewMessage(md))
		}
	}
	visit((*configv1.Config)(nil).ProtoReflect().Descriptor())
	if len(seen) < 10 {
		t.Errorf("only %d messages seen", len(seen))
	}
}

func fitField(t *testing.T, fd protoreflect.FieldDescriptor) {
	t.Helper()
	rule := RuleOf(fd)
	for _, text := range []string{rule.GetDefault(), rule.GetMin(), rule.GetMax()} {
		if _, err := parseScalar(fd, text); text != "" && err != nil {
			t.Errorf("%s cannot be %q", fd.FullName(), text)
		}
	}
	switch {
	case rule.GetDefault() != "" && !fd.HasPresence():
		t.Errorf("%s has a default, so it must be optional: its zero value would never be seen", fd.FullName())
	case rule.GetDefault() != "" && rule.GetRequired():
		t.Errorf("%s is required and has a default", fd.FullName())
	case fd.Kind() == protoreflect.BoolKind && fd.HasPresence() && rule.GetDefault() != "true":
		t.Errorf("%s is false unless set: it need not be optional", fd.FullName())
	case rule.GetKind() != 0 && fd.Kind() != protoreflect.StringKind:
		t.Errorf("%s has the kind of a text", fd.FullName())
	}
}

// TestDefaultsAreValid: only what somebody must say is missing.
func TestDefaultsAreValid(t *testing.T) {
	err := Validate(Defaults())
	if err == nil || strings.Count(err.Error(), "\n") != 1 || !strings.Contains(err.Error(), "schema.sources: ") || !strings.Contains(err.Error(), "clusters: ") {
		t.Errorf("the defaults have mistakes of their own: %v", err)
	}
}
