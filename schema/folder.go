package schema

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/transomhq/transom/schema/builtin"
)

// Bounds of a folder: beyond, somebody named the wrong one ("/").
const (
	maxFolderFiles = 50_000
	maxFolderDepth = 64
	maxProtoBytes  = 32 << 20
)

// protoText is a .proto file that was read and not yet parsed.
type protoText struct {
	disk string // its name on disk
	rel  string // slash-separated, below the folder
	name string // its import path
	text []byte
}

// readFolder compiles the .proto files below source, or the one file that
// source is. names are the import paths of all of them, right or wrong.
func readFolder(source string) (files []*file, names []string, problems []Problem) {
	texts, err := findTexts(source)
	if err != nil {
		return nil, nil, []Problem{{source, plainError(err, source)}}
	}
	if len(texts) == 0 {
		return nil, nil, []Problem{{source, "no .proto files in this folder"}}
	}
	single := filepath.Ext(source) == ".proto" && texts[0].disk == source
	if !single {
		nameTexts(texts)
	}
	for _, t := range texts {
		names = append(names, t.name)
	}
	files, problems = compile(source, texts)
	for _, f := range files {
		f.imported = f.imported || single && f.proto.GetName() != texts[0].name
	}
	return files, names, problems
}

// findTexts reads the .proto files below source. Symlinks are followed, as
// Kubernetes mounts consist of them; entries that begin with a dot are not.
func findTexts(source string) ([]*protoText, error) {
	info, err := os.Stat(source)
	if err != nil {
		return nil, err
	}
	w := &folderWalk{}
	if info.IsDir() {
		err = w.dir(source, "", nil)
	} else {
		err = w.single(source)
	}
	return w.texts, err
}

// single reads one file and what it imports from beside it: from its folder,
// and from the folder in which its package begins.
func (w *folderWalk) single(source string) error {
	if err := w.file(source, filepath.Base(source)); err != nil {
		return err
	}
	first := w.texts[0]
	abs, err := filepath.Abs(source)
	if err != nil {
		return err
	}
	roots := []string{filepath.Dir(abs)}
	if m := packageClause().FindSubmatch(first.text); m != nil {
		dir := filepath.FromSlash(strings.ReplaceAll(string(m[1]), ".", "/"))
		if root, ok := strings.CutSuffix(roots[0], string(filepath.Separator)+dir); ok {
			roots = []string{root + string(filepath.Separator), roots[0]}
			first.name = path.Join(filepath.ToSlash(dir), first.rel)
		}
	}
	return w.imports(first, roots, map[string]bool{first.name: true})
}

// imports reads what t imports from below roots, and what that imports.
func (w *folderWalk) imports(t *protoText, roots []string, seen map[string]bool) error {
	for _, m := range importClause().FindAllSubmatch(t.text, -1) {
		imp := string(m[1])
		if seen[imp] || !fs.ValidPath(imp) {
			continue
		}
		seen[imp] = true
		for _, root := range roots {
			disk := filepath.Join(root, filepath.FromSlash(imp))
			if info, err := os.Stat(disk); err != nil || !info.Mode().IsRegular() {
				continue
			}
			if err := w.file(disk, imp); err != nil {
				return err
			}
			if err := w.imports(w.texts[len(w.texts)-1], roots, seen); err != nil {
				return err
			}
			break
		}
	}
	return nil
}

type folderWalk struct{ texts []*protoText }

// dir reads one folder; above holds the real paths of the folders around it,
// so that a symlink to one of them does not go round for ever.
func (w *folderWalk) dir(disk, rel string, above []string) error {
	target, err := filepath.EvalSymlinks(disk)
	if err != nil || slices.Contains(above, target) {
		return err
	}
	if len(above) > maxFolderDepth {
		return fmt.Errorf("%s: more than %d folders deep", disk, maxFolderDepth)
	}
	above = append(slices.Clip(above), target)
	entries, err := os.ReadDir(disk)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(disk, e.Name())
		if strings.HasPrefix(e.Name(), ".") || e.Name() == "node_modules" {
			continue
		}
		info, err := os.Stat(name)
		switch {
		case err != nil: // a dangling symlink, or gone since
			continue
		case info.IsDir():
			err = w.dir(name, path.Join(rel, e.Name()), above)
		case info.Mode().IsRegular() && filepath.Ext(name) == ".proto":
			err = w.file(name, path.Join(rel, e.Name()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *folderWalk) file(disk, rel string) error {
	if len(w.texts) >= maxFolderFiles {
		return fmt.Errorf("more than %d .proto files", maxFolderFiles)
	}
	text, err := os.ReadFile(disk)
	if err != nil {
		return err
	}
	if len(text) > maxProtoBytes {
		return &fs.PathError{Op: "read", Path: disk, Err: fmt.Errorf("larger than %d bytes", maxProtoBytes)}
	}
	w.texts = append(w.texts, &protoText{disk: disk, rel: rel, name: rel, text: text})
	return nil
}

// nameTexts finds out by which path each file is imported. That is its path
// below the folder, unless the folder holds import roots, as in a repository
// with proto/ and third_party/: a folder is one when an import, the file's
// package, or a built-in file of the same path says so.
func nameTexts(texts []*protoText) {
	r := rooter{
		imports: importClause(), pkg: packageClause(),
		paths: map[string]bool{}, byBase: map[string][]string{}, roots: map[string]bool{}, pinned: map[string]bool{},
	}
	for _, t := range texts {
		r.paths[t.rel] = true
		r.byBase[path.Base(t.rel)] = append(r.byBase[path.Base(t.rel)], t.rel)
	}
	for _, t := range texts {
		r.look(t)
	}
	for _, t := range texts {
		t.name = r.name(t.rel)
	}
}

type rooter struct {
	imports, pkg *regexp.Regexp

	paths  map[string]bool
	byBase map[string][]string
	roots  map[string]bool // folders that are import roots
	pinned map[string]bool // folders that imports spell out, so they are none
}

// look takes evidence from one file's text.
func (r *rooter) look(t *protoText) {
	for _, m := range r.imports.FindAllSubmatch(t.text, -1) {
		imp := string(m[1])
		if r.paths[imp] {
			for dir := path.Dir(imp); dir != "."; dir = path.Dir(dir) {
				r.pinned[dir] = true
			}
			continue
		}
		if root := r.nearest(imp, t.rel); root != "" {
			r.roots[root] = true
		}
	}
	if m := r.pkg.FindSubmatch(t.text); m != nil {
		dir := strings.ReplaceAll(string(m[1]), ".", "/")
		if root, ok := strings.CutSuffix(path.Dir(t.rel), "/"+dir); ok {
			r.roots[root] = true
		}
	}
	for p := t.rel; strings.Contains(p, "/"); {
		_, p, _ = strings.Cut(p, "/")
		if builtin.Find(p) != nil {
			r.roots[strings.TrimSuffix(t.rel, "/"+p)] = true
			return
		}
	}
}

// nearest returns the folder below which imp is found: of several, the one
// that shares most of its path with the importing file.
func (r *rooter) nearest(imp, importer string) string {
	best, most := "", -1
	for _, p := range r.byBase[path.Base(imp)] {
		root, ok := strings.CutSuffix(p, "/"+imp)
		if !ok {
			continue
		}
		n := 0
		for n < len(root) && n < len(importer) && root[n] == importer[n] {
			n++
		}
		if n > most {
			best, most = root, n
		}
	}
	return best
}

func (r *rooter) name(rel string) string {
	for dir := path.Dir(rel); dir != "."; dir = path.Dir(dir) { // the deepest root counts
		if r.roots[dir] && !r.pinned[dir] {
			return strings.TrimPrefix(rel, dir+"/")
		}
	}
	return rel
}

// importClause and packageClause find what they are named after in a text that
// was not parsed yet; inside comments, too, which does no harm.
func importClause() *regexp.Regexp {
	return regexp.MustCompile(`(?m)(?:^|;)\s*import\s+(?:public\s+|weak\s+|option\s+)?["']([^"'\n]+)["']`)
}

func packageClause() *regexp.Regexp {
	return regexp.MustCompile(`(?m)(?:^|;)\s*package\s+([\w.]+)\s*;`)
}
