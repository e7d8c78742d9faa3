package config_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/transomhq/transom/config"
)

var update = flag.Bool("update", false, "rewrite the expected texts in testdata")

// TestMistakes loads the transom.yaml of each archive, beside its other files,
// and compares every mistake with the archive's "mistakes". Variables are
// lines of "env".
func TestMistakes(t *testing.T) {
	archives, err := filepath.Glob("testdata/mistakes/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatal("no archives: ", err)
	}
	for _, name := range archives {
		name, err := filepath.Abs(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := mistakesOf(t, a)
			i := slices.IndexFunc(a.Files, func(f txtar.File) bool { return f.Name == "mistakes" })
			if i < 0 {
				t.Fatal("no file mistakes in the archive")
			}
			if got == string(a.Files[i].Data) {
				return
			}
			if !*update {
				t.Fatalf("mistakes:\n%s\nwant:\n%s", got, a.Files[i].Data)
			}
			a.Files[i].Data = []byte(got)
			if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func mistakesOf(t *testing.T, a *txtar.Archive) string {
	t.Helper()
	t.Chdir(t.TempDir())
	env := map[string]string{}
	path := ""
	for _, f := range a.Files {
		switch f.Name {
		case "mistakes":
		case "env":
			for line := range strings.Lines(string(f.Data)) {
				k, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
				env[k] = v
			}
		default:
			if err := os.WriteFile(f.Name, f.Data, 0o644); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(f.Name, "transom.") {
				path = f.Name
			}
		}
	}
	_, err := config.Load(path, lookup(env))
	if err == nil {
		return ""
	}
	var all config.Mistakes
	if !errors.As(err, &all) {
		t.Fatal("not Mistakes: ", err)
	}
	for _, m := range all {
		if m.Position.File != path || m.Position.Line < 0 {
			t.Errorf("mistake without a position: %v", m)
		}
	}
	wd, err2 := os.Getwd()
	if err2 != nil {
		t.Fatal(err2)
	}
	return strings.ReplaceAll(err.Error(), wd, "/etc/transom") + "\n"
}

func lookup(env map[string]string) config.Env {
	return func(name string) (string, bool) {
		v, ok := env[name]
		return v, ok
	}
}
