package watch

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t *testing.T, name, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(name), 0o755))
	must(t, os.WriteFile(name, []byte(text), 0o644))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run watches until the test ends. What changed does is sent after it.
func run(t *testing.T, paths []string, opts Options) <-chan State {
	t.Helper()
	if opts.Settle == 0 {
		opts.Settle = 10 * time.Millisecond
	}
	if opts.Poll == 0 {
		opts.Poll = -1 // the system must tell it
	}
	if opts.Since == "" {
		opts.Since = Take(paths, opts.Match)
	}
	ctx, cancel := context.WithCancel(context.Background())
	changes := make(chan State, 100)
	done := make(chan error)
	go func() { done <- Run(ctx, paths, opts, func() { changes <- Take(paths, opts.Match) }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return changes
}

// wait waits until a change was told that shows the files as they are now.
func wait(t *testing.T, changes <-chan State, paths []string, match func(string) bool) {
	t.Helper()
	for {
		select {
		case got := <-changes:
			if got == Take(paths, match) {
				return
			}
		case <-time.After(30 * time.Second):
			t.Fatal("no change was told")
		}
	}
}

// TestRun makes change after change, each of which must be told.
func TestRun(t *testing.T) {
	type step struct {
		name string
		do   func(t *testing.T, dir string)
	}
	for name, test := range map[string]struct {
		paths []string
		match func(string) bool
		setup func(t *testing.T, dir string)
		steps []step
	}{
		"a file": {[]string{"etc/config.yaml"}, nil, func(t *testing.T, dir string) { write(t, dir+"/etc/config.yaml", "1") }, []step{
			{"written over", func(t *testing.T, dir string) { write(t, dir+"/etc/config.yaml", "22") }},
			{"replaced by an editor", func(t *testing.T, dir string) {
				write(t, dir+"/etc/config.yaml~", "333")
				must(t, os.Rename(dir+"/etc/config.yaml~", dir+"/etc/config.yaml"))
			}},
			{"written again after that", func(t *testing.T, dir string) { write(t, dir+"/etc/config.yaml", "4444") }},
			{"removed", func(t *testing.T, dir string) { must(t, os.Remove(dir+"/etc/config.yaml")) }},
			{"back", func(t *testing.T, dir string) { write(t, dir+"/etc/config.yaml", "55555") }},
			{"with its folder gone", func(t *testing.T, dir string) { must(t, os.RemoveAll(dir+"/etc")) }},
			{"with its folder back", func(t *testing.T, dir string) { write(t, dir+"/etc/config.yaml", "666666") }},
		}},
		"a folder": {[]string{"protos"}, func(n string) bool { return strings.HasSuffix(n, ".proto") }, func(t *testing.T, dir string) { write(t, dir+"/protos/a.proto", "1") }, []step{
			{"a new file", func(t *testing.T, dir string) { write(t, dir+"/protos/b.proto", "1") }},
			{"a new folder", func(t *testing.T, dir string) { write(t, dir+"/protos/sub/deep/c.proto", "1") }},
			{"a file in the new folder", func(t *testing.T, dir string) { write(t, dir+"/protos/sub/deep/c.proto", "22") }},
			{"a renamed folder", func(t *testing.T, dir string) { must(t, os.Rename(dir+"/protos/sub", dir+"/protos/sub2")) }},
			{"a file in the renamed folder", func(t *testing.T, dir string) { write(t, dir+"/protos/sub2/deep/c.proto", "333") }},
			{"the folder replaced", func(t *testing.T, dir string) {
				write(t, dir+"/next/z.proto", "1")
				must(t, os.Rename(dir+"/protos", dir+"/last"))
				must(t, os.Rename(dir+"/next", dir+"/protos"))
			}},
			{"a file in the replaced folder", func(t *testing.T, dir string) { write(t, dir+"/protos/z.proto", "22") }},
		}},
		"a Kubernetes volume": {[]string{"vol", "vol/config.yaml"}, nil, func(t *testing.T, dir string) {
			write(t, dir+"/vol/..1/config.yaml", "same")
			write(t, dir+"/vol/..1/sub/a.proto", "same")
			must(t, os.Symlink("..1", dir+"/vol/..data"))
			must(t, os.Symlink("..data/config.yaml", dir+"/vol/config.yaml"))
			must(t, os.Symlink("..data/sub", dir+"/vol/sub"))
		}, []step{{"swapped", swap("2")}, {"swapped again", swap("3")}}},
		"one file of a volume": {[]string{"vol/config.yaml"}, nil, func(t *testing.T, dir string) {
			write(t, dir+"/vol/..1/config.yaml", "same")
			must(t, os.Symlink("..1", dir+"/vol/..data"))
			must(t, os.Symlink("..data/config.yaml", dir+"/vol/config.yaml"))
		}, []step{{"swapped", swap("2")}, {"swapped again", swap("3")}}},
		"a symlink to elsewhere": {[]string{"etc/config.yaml"}, nil, func(t *testing.T, dir string) {
			write(t, dir+"/shared/config.yaml", "1")
			must(t, os.MkdirAll(dir+"/etc", 0o755))
			must(t, os.Symlink("../shared/config.yaml", dir+"/etc/config.yaml"))
		}, []step{
			{"its target written", func(t *testing.T, dir string) { write(t, dir+"/shared/config.yaml", "22") }},
			{"its target replaced", func(t *testing.T, dir string) {
				write(t, dir+"/shared/x", "333")
				must(t, os.Rename(dir+"/shared/x", dir+"/shared/config.yaml"))
			}},
		}},
		"what comes later": {[]string{"not/yet/here.yaml"}, nil, func(*testing.T, string) {}, []step{
			{"made", func(t *testing.T, dir string) { write(t, dir+"/not/yet/here.yaml", "1") }},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			test.setup(t, dir)
			var paths []string
			for _, p := range test.paths {
				paths = append(paths, filepath.Join(dir, p))
			}
			changes := run(t, paths, Options{Match: test.match})
			for _, s := range test.steps {
				t.Log(s.name)
				s.do(t, dir)
				wait(t, changes, paths, test.match)
			}
		})
	}
}

// swap does what kubelet does to a volume: a new folder, and a symlink renamed over "..data".
func swap(version string) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		write(t, dir+"/vol/.."+version+"/config.yaml", "same")
		write(t, dir+"/vol/.."+version+"/sub/a.proto", "same")
		old, err := os.Readlink(dir + "/vol/..data")
		must(t, err)
		must(t, os.Symlink(".."+version, dir+"/vol/..data_tmp"))
		must(t, os.Rename(dir+"/vol/..data_tmp", dir+"/vol/..data"))
		must(t, os.RemoveAll(dir+"/vol/"+old))
	}
}

func TestUnrelatedChangesAreNotTold(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/protos/a.proto", "1")
	paths := []string{dir + "/protos"}
	match := func(n string) bool { return strings.HasSuffix(n, ".proto") }
	changes := run(t, paths, Options{Match: match})
	write(t, dir+"/protos/notes.txt", "1")
	write(t, dir+"/protos/.hidden.proto", "1")
	write(t, dir+"/other.proto", "1")
	must(t, os.Chmod(dir+"/protos/a.proto", 0o600))
	before := Take(paths, match)
	write(t, dir+"/protos/a.proto", "22")
	wait(t, changes, paths, match)
	for len(changes) > 0 {
		if s := <-changes; s == before {
			t.Error("a change was told and there was none")
		}
	}
}

func TestSince(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/a", "1")
	since := Take([]string{dir}, nil)
	write(t, dir+"/a", "22")
	wait(t, run(t, []string{dir}, Options{Since: since}), []string{dir}, nil)
}

func TestPoll(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/a", "1")
	changes := run(t, []string{dir}, Options{Poll: 10 * time.Millisecond, Settle: time.Hour})
	write(t, dir+"/a", "22")
	wait(t, changes, []string{dir}, nil)
}

func TestRunEndsAtOnce(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Run(ctx, []string{t.TempDir()}, Options{}, func() { t.Error("changed") }); err != nil {
		t.Error(err)
	}
}
