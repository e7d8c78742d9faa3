package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The life of a key and a revocation, from the command line.
func TestKeysAndRevoke(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "transom.yaml")
	err := os.WriteFile(conf, []byte(`
schema: {sources: [.]}
clusters: [{name: a, targets: ["localhost:1"]}]
authn: {store: {file: authn.db}}
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	do := func(args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if code := run(t.Context(), append(args, "-c", conf), nil, &out, &errs); code != 0 {
			return strings.TrimSpace(errs.String())
		}
		return strings.TrimSpace(out.String())
	}
	text := do("keys", "create", "--consumer", "acme", "--scope", "read", "--expires", "90d")
	prefix, _, ok := strings.Cut(strings.TrimPrefix(text, "tk_"), "_")
	if !ok || len(prefix) != 8 {
		t.Fatalf("got %s", text)
	}
	if next := do("keys", "rotate", prefix, "--overlap", "1h"); !strings.HasPrefix(next, "tk_") || next == text {
		t.Errorf("got %s", next)
	}
	if list := do("keys", "list"); strings.Count(list, "acme") != 2 || strings.Count(list, "active") != 2 || strings.Contains(list, text[12:]) {
		t.Errorf("got %s", list)
	}
	if got, want := do("keys", "revoke", prefix), "key "+prefix+" is revoked"; got != want {
		t.Errorf("got %s", got)
	}
	if got, want := do("keys", "revoke", "nobody"), "transom: key nobody: there is no such record"; got != want {
		t.Errorf("got %s", got)
	}
	if got := do("keys", "list", "--json"); !strings.Contains(got, `"revoked"`) || strings.Contains(got, "sha256") {
		t.Errorf("got %s", got)
	}
	if got := do("revoke", "--subject", "ann", "--reason", "gone"); got != "" {
		t.Errorf("got %s", got)
	}
	if got := do("revoke", "--list"); !strings.Contains(got, "subject ann") || !strings.Contains(got, "gone") {
		t.Errorf("got %s", got)
	}
	if got := do("revoke"); !strings.Contains(got, "at least one of the flags") {
		t.Errorf("got %s", got)
	}
}

func TestParseWhen(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for in, want := range map[string]string{
		"90d": "2026-04-01T00:00:00Z", "12h": "2026-01-01T12:00:00Z", "2027-01-31T01:00:00+01:00": "2027-01-31T00:00:00Z",
		"-1h": "", "d": "", "": "", "99999999999d": "", "tomorrow": "",
	} {
		at, err := parseWhen(in, now)
		if got := at.Format(time.RFC3339); (err == nil) != (want != "") || want != "" && got != want {
			t.Errorf("%q: %s, %v", in, got, err)
		}
	}
}
