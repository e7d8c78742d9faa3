package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/transomhq/transom/config"
	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
)

const root = "../../../"

func TestCommittedDocsAreCurrent(t *testing.T) {
	dir := t.TempDir()
	if err := run(root+"proto", dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"config.md", "config.schema.json"} {
		want, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(root + "docs/" + name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("docs/%s is not what `make gen` writes (%v)", name, err)
		}
	}
}

func TestEverythingIsDescribed(t *testing.T) {
	c, err := readComments(t.Context(), root+"proto")
	if err != nil {
		t.Fatal(err)
	}
	all := typesOf((*configv1.Config)(nil).ProtoReflect().Descriptor())
	titles := map[string]bool{}
	for _, m := range all.messages {
		if titles[title(m)] {
			t.Errorf("two types are called %s", title(m))
		}
		titles[title(m)] = true
		ours := m.ParentFile().Package() == "transom.config.v1"
		if ours && c.of(m) == "" {
			t.Errorf("%s has no comment", m.FullName())
		}
		for i := range m.Fields().Len() {
			if fd := m.Fields().Get(i); ours && c.of(fd) == "" {
				t.Errorf("%s has no comment", fd.FullName())
			}
		}
	}
}

// TestSchemaAgreesWithTheLoader gives both the same files.
func TestSchemaAgreesWithTheLoader(t *testing.T) {
	v := newValidator(t)
	defaults, err := config.Marshal(config.Defaults())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		text string
		ok   bool
	}{
		{string(defaults), true},
		{"drain: {timeout: 1m30s, delay: \"${DELAY}\"}", true},
		{"drain: {timeout: 90}", false},
		{"drain: {timeout: soon}", false},
		{"drain: 5s", false},
		{"rest: {profile: grpc-gateway, max_body_bytes: 4MiB, max_depth: 5}", true},
		{"rest: {profile: grpcgateway}", false},
		{"rest: {max_body_bytes: 4 parsecs}", false},
		{"rest: {max_depth: deep}", false},
		{"clusters: [{name: a, targets: [\"a:1\"], health_service: \"\", tls: {}}]", true},
		{"clusters: [{name: a, target: \"a:1\", targets: [\"a:1\"]}]", false},
		{"clusters: {name: a, targets: [\"a:1\"]}", false},
		{"schema: {skip_invalid: \"yes\"}", false},
		{"policies: [{selectors: [shop.*], policy: {deadline: {max: 5s}, limits: {rates: [{key: {principal: true}}]}}}]", true},
		{"policies: [{selectors: [shop.*], policy: {limits: {rates: [{key: {principal: true, global: true}}]}}}]", false},
	} {
		var value any
		if err := yaml.Unmarshal([]byte(tt.text), &value); err != nil {
			t.Fatal(err)
		}
		if err := v.check(v.schema, value, ""); (err == nil) != tt.ok {
			t.Errorf("schema says %v about\n%s", err, tt.text)
		}
		env := func(string) (string, bool) { return "5s", true }
		if _, err := config.Parse("t.yaml", []byte(tt.text), env); (err == nil) != tt.ok {
			t.Errorf("the loader says %v about\n%s", err, tt.text)
		}
	}
}

func TestSchemaTakesTheExample(t *testing.T) {
	v := newValidator(t)
	examples, err := filepath.Glob(root + "examples/*/*.yaml")
	if err != nil || len(examples) == 0 {
		t.Fatal("no example: ", err)
	}
	for _, name := range examples {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(text, []byte("config.schema.json")) {
			continue
		}
		var value any
		if err := yaml.Unmarshal(text, &value); err != nil {
			t.Fatal(err)
		}
		if err := v.check(v.schema, value, ""); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := config.Load(name, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// validator checks values by the part of JSON Schema that we write.
type validator struct {
	schema map[string]any
	defs   map[string]any
}

func newValidator(t *testing.T) *validator {
	t.Helper()
	text, err := os.ReadFile(root + "docs/config.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	v := new(validator)
	if err := json.Unmarshal(text, &v.schema); err != nil {
		t.Fatal(err)
	}
	v.defs = v.schema["$defs"].(map[string]any)
	return v
}

func (v *validator) check(s map[string]any, value any, path string) error {
	for _, keyword := range []func(map[string]any, any, string) error{v.refs, v.types, v.numbers, v.texts, v.arrays, v.objects} {
		if err := keyword(s, value, path); err != nil {
			return err
		}
	}
	return nil
}

func (v *validator) refs(s map[string]any, value any, path string) error {
	if ref, ok := s["$ref"].(string); ok {
		def, ok := v.defs[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
		if !ok {
			panic("no definition " + ref)
		}
		if err := v.check(def, value, path); err != nil {
			return err
		}
	}
	forms, ok := s["anyOf"].([]any)
	if !ok {
		return nil
	}
	var first error
	for _, form := range forms {
		err := v.check(form.(map[string]any), value, path)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

func (v *validator) types(s map[string]any, value any, path string) error {
	var allowed []any
	switch t := s["type"].(type) {
	case nil:
		return nil
	case string:
		allowed = []any{t}
	case []any:
		allowed = t
	}
	if got := typeOf(value); !slices.Contains(allowed, any(got)) && (got != "integer" || !slices.Contains(allowed, any("number"))) {
		return fmt.Errorf("%s is of type %s, not %v", path, got, allowed)
	}
	return nil
}

func typeOf(value any) string {
	switch value.(type) {
	case string:
		return "string"
	case bool:
		return "boolean"
	case int:
		return "integer"
	case float64:
		return "number"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	}
	return fmt.Sprintf("%T", value)
}

func (v *validator) numbers(s map[string]any, value any, path string) error {
	n, ok := value.(int)
	if !ok {
		return nil
	}
	least, most := math.Inf(-1), math.Inf(1)
	if m, ok := s["minimum"].(float64); ok {
		least = m
	}
	if m, ok := s["maximum"].(float64); ok {
		most = m
	}
	if float64(n) < least || float64(n) > most {
		return fmt.Errorf("%s: %d is out of range", path, n)
	}
	return nil
}

func (v *validator) texts(s map[string]any, value any, path string) error {
	if enum, ok := s["enum"].([]any); ok && !slices.Contains(enum, value) {
		return fmt.Errorf("%s: %v is not one of %v", path, value, enum)
	}
	if pattern, ok := s["pattern"].(string); ok {
		if text, isText := value.(string); isText && !regexp.MustCompile(pattern).MatchString(text) {
			return fmt.Errorf("%s: %q does not match %s", path, text, pattern)
		}
	}
	return nil
}

func (v *validator) arrays(s map[string]any, value any, path string) error {
	list, ok := value.([]any)
	items, has := s["items"].(map[string]any)
	if !ok || !has {
		return nil
	}
	if least, ok := s["minItems"].(float64); ok && float64(len(list)) < least {
		return fmt.Errorf("%s has too few elements", path)
	}
	for i, item := range list {
		if err := v.check(items, item, fmt.Sprintf("%s[%d]", path, i)); err != nil {
			return err
		}
	}
	return nil
}

func (v *validator) objects(s map[string]any, value any, path string) error {
	object, ok := value.(map[string]any)
	properties, has := s["properties"].(map[string]any)
	if !ok || !has {
		return nil
	}
	if most, ok := s["maxProperties"].(float64); ok && float64(len(object)) > most {
		return fmt.Errorf("%s has too many properties", path)
	}
	if required, ok := s["required"].([]any); ok {
		for _, name := range required {
			if _, ok := object[name.(string)]; !ok {
				return fmt.Errorf("%s.%s is missing", path, name)
			}
		}
	}
	for name, part := range object {
		property, ok := properties[name].(map[string]any)
		if !ok {
			return fmt.Errorf("%s.%s is unknown", path, name)
		}
		if err := v.check(property, part, path+"."+name); err != nil {
			return err
		}
	}
	return nil
}
