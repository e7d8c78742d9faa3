package watch

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Bounds of what is looked at below one path.
const (
	maxEntries = 200_000
	maxDepth   = 64
)

// State is how files were at one time: their names, where symlinks led, sizes
// and times of change. Two equal states mean that nothing has changed.
type State string

// Take returns the state of paths, which are files and folders that need not
// exist. Of the files below folders, those count whose name match accepts; nil
// accepts all. Entries below a folder that begin with a dot do not count.
func Take(paths []string, match func(name string) bool) State {
	s, _ := look(paths, match)
	return s
}

// look returns the state of paths and the folders to watch for its changes.
func look(paths []string, match func(name string) bool) (State, []string) {
	h := sha256.New()
	l := &looker{sum: h, match: match, dirs: map[string]bool{}}
	for _, p := range paths {
		p = filepath.Clean(p)
		fmt.Fprintf(h, "%q\n", p)
		l.around(p)
		l.entry(p, nil, true)
	}
	dirs := make([]string, 0, len(l.dirs))
	for d := range l.dirs {
		dirs = append(dirs, d)
	}
	return State(h.Sum(nil)), dirs
}

type looker struct {
	sum   io.Writer
	match func(string) bool
	dirs  map[string]bool
	seen  int
}

// around watches the folder in which p is, and those in which the symlinks on
// the way to it are: a volume is swapped there.
func (l *looker) around(p string) {
	for range 40 { // the kernel's limit of symlinks in a row
		dir := filepath.Dir(p)
		for !isDir(dir) && dir != filepath.Dir(dir) {
			dir = filepath.Dir(dir) // wait for the folder to come
		}
		l.dirs[dir] = true
		if target, err := filepath.EvalSymlinks(dir); err == nil {
			l.dirs[target] = true
		}
		l.linkedParts(p)
		to, err := os.Readlink(p)
		if err != nil {
			return
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(dir, to)
		}
		p = to
	}
}

// linkedParts watches the folders of those parts of p that are symlinks, as
// "..data" is in "volume/..data/config.yaml".
func (l *looker) linkedParts(p string) {
	for dir := filepath.Dir(p); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if info, err := os.Lstat(dir); err == nil && info.Mode()&os.ModeSymlink != 0 {
			l.dirs[filepath.Dir(dir)] = true
		}
	}
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// entry adds one file, or a folder with all that is in it. above are the real
// paths of the folders around it.
func (l *looker) entry(name string, above []string, named bool) {
	if l.seen++; l.seen > maxEntries || len(above) > maxDepth {
		return
	}
	info, err := os.Stat(name)
	if err != nil {
		return
	}
	target, err := filepath.EvalSymlinks(name)
	if err != nil {
		return
	}
	if !info.IsDir() {
		if named || l.match == nil || l.match(name) {
			fmt.Fprintf(l.sum, "%q %q %d %d\n", name, target, info.Size(), info.ModTime().UnixNano())
		}
		return
	}
	for _, a := range above {
		if a == target { // a symlink to a folder around it
			return
		}
	}
	l.dirs[name] = true
	fmt.Fprintf(l.sum, "%q/\n", name)
	entries, _ := os.ReadDir(name) // what cannot be read does not count
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			l.entry(filepath.Join(name, e.Name()), append(above[:len(above):len(above)], target), false)
		}
	}
}
