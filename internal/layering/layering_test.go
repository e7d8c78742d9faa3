package layering

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/transomhq/transom"

type pkg struct {
	ImportPath string
	Name       string
	Dir        string
	GoFiles    []string
	Imports    []string
}

func (p pkg) path() string { return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/") }

func (p pkg) generated() bool {
	return strings.HasPrefix(p.path(), "gen/") || strings.HasPrefix(p.path(), "internal/oracle/gen/")
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Name,Dir,GoFiles,Imports", module+"/...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal("go list: ", err)
	}
	var all []pkg
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// fits reports whether a pattern names path.
func fits(pattern, path string) bool {
	if pattern == "..." {
		return true
	}
	prefix, tree := strings.CutSuffix(pattern, "/...")
	want, have := strings.Split(prefix, "/"), strings.Split(path, "/")
	if len(have) < len(want) || len(have) > len(want) && !tree {
		return false
	}
	for i, part := range want {
		if part != "*" && part != have[i] {
			return false
		}
	}
	return true
}

// own reports whether imported is path's child: transcoder/rest/x is
// transcoder/rest's, and its siblings may use it as well.
func own(r rule, path, imported string) bool {
	depth := len(strings.Split(strings.TrimSuffix(r.pattern, "/..."), "/"))
	root := strings.Join(strings.Split(path, "/")[:depth], "/")
	return imported == root || strings.HasPrefix(imported, root+"/")
}

func TestRoomsDoNotKnowEachOther(t *testing.T) {
	used := make([]bool, len(rules))
	for _, p := range packages(t) {
		path := p.path()
		i := slices.IndexFunc(rules, func(r rule) bool { return fits(r.pattern, path) })
		if i < 0 {
			t.Errorf("%s has no rule: say in internal/layering/rules_test.go what it may import, and why", path)
			continue
		}
		used[i] = true
		for _, imported := range p.Imports {
			imported, house := strings.CutPrefix(imported, module+"/")
			if !house || own(rules[i], path, imported) {
				continue
			}
			if !slices.ContainsFunc(rules[i].may, func(m string) bool { return fits(m, imported) }) {
				t.Errorf("%s imports %s, and may not: %s", path, imported, rules[i].reason)
			}
		}
	}
	for i, r := range rules {
		if !used[i] {
			t.Errorf("the rule for %s names no package: remove it, or put right what it was about", r.pattern)
		}
	}
}

func TestNamesSaySomething(t *testing.T) {
	for _, p := range packages(t) {
		for part := range strings.SplitSeq(p.path(), "/") {
			if slices.Contains(banned, part) {
				t.Errorf("%s: %q says nothing about what lives there", p.path(), part)
			}
		}
	}
}

func TestRoomsIntroduceThemselves(t *testing.T) {
	for _, p := range packages(t) {
		if p.generated() || p.Name == "main" || p.path() == "proto" || strings.HasPrefix(p.path(), "examples/") {
			continue
		}
		if len(p.GoFiles) > 0 && !slices.Contains(p.GoFiles, "doc.go") {
			t.Errorf("%s has no doc.go: its place on the way of a request, and what it must not do", p.path())
		}
	}
}

func TestFilesStayShort(t *testing.T) {
	const most = 500
	for _, p := range packages(t) {
		if p.generated() {
			continue
		}
		for _, name := range p.GoFiles {
			if strings.HasSuffix(name, ".pb.go") {
				continue
			}
			text, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(text, []byte("\n")); n > most {
				t.Errorf("%s/%s has %d lines, more than %d: it is about more than one thing", p.path(), name, n, most)
			}
		}
	}
}
