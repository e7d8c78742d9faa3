package config

import (
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
)

// TestSecret reads a secret in each form, alone: no field of the configuration
// need be one.
func TestSecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	for name, text := range map[string]string{file: "from a file\r\n", file + ".empty": "\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := func(name string) (string, bool) { return "from the environment", name == "TOKEN" }
	for _, tt := range []struct{ yaml, value, masked, mistake string }{
		{yaml: "hunter2", value: "hunter2", masked: "value: '********'\n"},
		{yaml: "${TOKEN}", value: "from the environment", masked: "value: '********'\n"},
		{yaml: "{value: hunter2}", value: "hunter2", masked: "value: '********'\n"},
		{yaml: "{env: TOKEN}", value: "from the environment", masked: "env: TOKEN\n"},
		{yaml: "{file: " + file + "}", value: "from a file", masked: "file: " + file + "\n"},
		{yaml: "{env: NOPE}", mistake: "t.yaml:1:7: env: environment variable NOPE is not set"},
		{yaml: "{file: nope}", mistake: "t.yaml:1:8: file: open nope: no such file or directory"},
		{yaml: "{file: " + file + ".empty}", mistake: "t.yaml:1:8: file: " + file + ".empty is empty"},
		{yaml: "{env: TOKEN, value: hunter2}", mistake: "t.yaml:1:1: want one of value, file and env, not 2 of them"},
		{yaml: "{}", mistake: "t.yaml:1:1: want one of value, file and env, not 0 of them"},
		{yaml: "[hunter2]", mistake: "t.yaml:1:1: want a mapping of fields, not a list"},
	} {
		f, secret := newFile("t.yaml"), new(configv1.Secret)
		d := &decoder{file: f, env: env, budget: maxNodes}
		d.message(f.parseYAML([]byte(tt.yaml)), secret.ProtoReflect(), "")
		if len(f.mistakes) == 0 {
			f.readSecretsOf(secret.ProtoReflect(), env)
		}
		if err := f.mistakes.inOrder(); tt.mistake != "" || err != nil {
			if err == nil || err.Error() != tt.mistake {
				t.Errorf("%s: mistake %v, want %s", tt.yaml, err, tt.mistake)
			}
			continue
		}
		if secret.GetValue() != tt.value {
			t.Errorf("%s: value %q, want %q", tt.yaml, secret.GetValue(), tt.value)
		}
		shown := proto.CloneOf(secret)
		mask(shown.ProtoReflect())
		text, err := marshal(shown.ProtoReflect())
		if err != nil || string(text) != tt.masked {
			t.Errorf("%s is shown as %q (%v), want %q", tt.yaml, text, err, tt.masked)
		}
	}
}
