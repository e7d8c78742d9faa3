package config

import (
	"errors"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
)

// FuzzParse reads any text: it never panics, each mistake has a place, and
// what is read is read back from what is written.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "---\n", "a: b", "- a", "{", "listeners: [{address: ':1', tls: {}}]\n", "rest: {profile: envoy}",
		"clusters:\n  - &a {name: x, targets: [\"${A:-b}:1\"]}\n  - *a\n", "clusters: &a [*a]", "<<: {}", "? [a]\n: b\n",
		"policies: [{selectors: ['*'], policy: {limits: {rates: [{key: {principal: true}, requests: 5, per: 1s}]}}}]",
		"drain: {timeout: 1m30s, delay: $${A}}", "schema: !x {sources: !!str a}", "{\"schema\": {\"skipInvalid\": true}}",
		"rest: {max_body_bytes: 4MiB, max_depth: -1, system_query: [\"\\x00\", \"\\u2028\", '${', \"\\t\"]}",
		"policies: [{policy: {version: {sunset_at: 2026-10-01}}}]", "edge: ~\nadmin:\n", "a: 1\n---\nb: 2\n", "%YAML 1.1\n---\n",
	} {
		f.Add(seed)
	}
	env := func(name string) (string, bool) { return name, name != "NOT_SET" }
	f.Fuzz(func(t *testing.T, text string) {
		file, err := Parse("f.yaml", []byte(text), env)
		if err != nil {
			var all Mistakes
			if !errors.As(err, &all) {
				t.Fatalf("not Mistakes: %v", err)
			}
			for _, m := range all {
				if m.Position.File != "f.yaml" || m.Position.Line < 1 || m.Position.Column < 1 || m.Text == "" || !utf8.ValidString(m.Error()) {
					t.Errorf("mistake %#v", m)
				}
			}
			return
		}
		Complete(file.Config)
		written, err := Marshal(file.Config)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("again.yaml", written, nil)
		if err != nil {
			t.Fatalf("%v in\n%s", err, written)
		}
		if !proto.Equal(again.Config, file.Config) {
			t.Errorf("read back\n%v\nwas\n%v\nfrom\n%s", again.Config, file.Config, written)
		}
	})
}

// FuzzExpand: escape makes any text mean itself, and a text without variables
// stays as it is.
func FuzzExpand(f *testing.F) {
	for _, seed := range []string{"", "$", "${A}", "$${A}", "$$${A}", "${A:-b}", "${", "a$", "${A:-${B}}", "${1}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := expand(escape(text), nil)
		if err != nil || got != text {
			t.Errorf("%q escaped is %q: %q, %v", text, escape(text), got, err)
		}
		if _, err := expand(text, nil); err != nil && err.Error() == "" {
			t.Error("an error without a text")
		}
	})
}
