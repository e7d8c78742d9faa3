package schema

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/ast"
	"github.com/bufbuild/protocompile/linker"
	"github.com/bufbuild/protocompile/parser"
	"github.com/bufbuild/protocompile/reporter"
	"google.golang.org/protobuf/reflect/protodesc"

	"github.com/transomhq/transom/schema/builtin"
)

// compile turns texts into files with source info. Files that are wrong, and
// those that import them, are missing from the result; problems say why.
func compile(source string, texts []*protoText) ([]*file, []Problem) {
	c := &compilation{source: source, trees: map[string]*ast.FileNode{}, texts: map[string]*protoText{}}
	for _, t := range texts {
		c.parse(t)
	}
	c.dropBroken()
	names := make([]string, 0, len(c.trees))
	for name := range c.trees {
		names = append(names, name)
	}
	slices.Sort(names)
	comp := protocompile.Compiler{
		Resolver:       protocompile.ResolverFunc(c.resolve),
		Reporter:       c.reporter(),
		SourceInfoMode: protocompile.SourceInfoStandard | protocompile.SourceInfoExtraOptionLocations,
	}
	compiled, err := comp.Compile(context.Background(), names...)
	if err != nil && len(c.problems) == 0 {
		c.problems = append(c.problems, Problem{source, plainError(err, "")})
	}
	return c.collect(compiled), c.problems
}

// compilation is the state of one run of the compiler.
type compilation struct {
	source   string
	texts    map[string]*protoText
	trees    map[string]*ast.FileNode // by import path; without files that are wrong
	broken   map[string]bool          // files that do not parse or lack an import
	override bool                     // the folder brings copies of built-in files
	problems []Problem
}

// reporter collects every mistake, with its position, and goes on.
func (c *compilation) reporter() reporter.Reporter {
	return reporter.NewReporter(func(err reporter.ErrorWithPos) error {
		pos := err.GetPosition()
		origin := pos.Filename
		if pos.Line > 0 {
			origin = fmt.Sprintf("%s:%d:%d", pos.Filename, pos.Line, pos.Col)
		}
		text := strings.ReplaceAll(plainError(err.Unwrap(), ""), "$end", "end of file")
		if strings.HasPrefix(text, "edition value ") {
			text += "; an image of it, made with buf or protoc, can be read"
		}
		c.problems = append(c.problems, Problem{origin, text})
		return nil
	}, nil)
}

// parse reads one file's syntax.
func (c *compilation) parse(t *protoText) {
	if other := c.texts[t.name]; other != nil {
		if !bytes.Equal(other.text, t.text) {
			c.problems = append(c.problems, Problem{t.rel, fmt.Sprintf(
				"both this file and %s in %s are imported as %q, and they differ: keep one", other.rel, c.source, t.name)})
		}
		return
	}
	c.texts[t.name] = t
	c.override = c.override || builtin.Find(t.name) != nil
	tree, err := c.parseSafely(t)
	if err != nil {
		if !errors.Is(err, reporter.ErrInvalidSource) {
			c.problems = append(c.problems, Problem{t.name, plainError(err, "")})
		}
		c.markBroken(t.name)
		return
	}
	c.trees[t.name] = tree
}

func (c *compilation) parseSafely(t *protoText) (tree *ast.FileNode, err error) {
	defer recoverAs(&err)
	return parser.Parse(t.name, bytes.NewReader(t.text), reporter.NewHandler(c.reporter()))
}

func (c *compilation) markBroken(name string) {
	if c.broken == nil {
		c.broken = map[string]bool{}
	}
	c.broken[name] = true
	delete(c.trees, name)
}

// dropBroken drops files with imports that nobody has, saying so, and then all
// files that import what is dropped, of which it says nothing: once those are
// mended, these are right.
func (c *compilation) dropBroken() {
	for name, tree := range c.trees {
		for _, imp := range importsOf(tree) {
			path := imp.Name.AsString()
			if c.texts[path] == nil && builtin.Find(path) == nil && !isStandard(path) {
				pos := tree.NodeInfo(imp.Name).Start()
				c.problems = append(c.problems, Problem{fmt.Sprintf("%s:%d:%d", name, pos.Line, pos.Col),
					fmt.Sprintf("import %q: no such file in %s, and not one of the built-in imports", path, c.source)})
				c.markBroken(name)
			}
		}
	}
	for again := true; again; {
		again = false
		for name, tree := range c.trees {
			if slices.ContainsFunc(importsOf(tree), func(imp *ast.ImportNode) bool { return c.broken[imp.Name.AsString()] }) {
				c.markBroken(name)
				again = true
			}
		}
	}
}

func importsOf(tree *ast.FileNode) []*ast.ImportNode {
	var imports []*ast.ImportNode
	for _, decl := range tree.Decls {
		if imp, ok := decl.(*ast.ImportNode); ok {
			imports = append(imports, imp)
		}
	}
	return imports
}

// isStandard reports whether the compiler itself brings path: the features of
// other languages, which no Go module links.
func isStandard(path string) bool {
	if !strings.HasPrefix(path, "google/protobuf/") {
		return false
	}
	_, err := standard().FindFileByPath(path)
	return err == nil
}

func standard() protocompile.Resolver {
	return protocompile.WithStandardImports(protocompile.ResolverFunc(func(string) (protocompile.SearchResult, error) {
		return protocompile.SearchResult{}, fs.ErrNotExist
	}))
}

// resolve finds an import: in the folder first, then among the built-in files.
func (c *compilation) resolve(path string) (protocompile.SearchResult, error) {
	if tree := c.trees[path]; tree != nil {
		return protocompile.SearchResult{AST: tree}, nil
	}
	fd := builtin.Find(path)
	switch {
	case fd == nil:
		return standard().FindFileByPath(path)
	case c.override: // link anew, as the folder may bring a part of what fd imports
		return protocompile.SearchResult{Proto: protodesc.ToFileDescriptorProto(fd)}, nil
	}
	return protocompile.SearchResult{Desc: fd}, nil
}

// collect takes the files that compiled, and what the compiler brought itself.
func (c *compilation) collect(compiled linker.Files) []*file {
	var files []*file
	for _, f := range compiled {
		result, ok := f.(linker.Result)
		if !ok {
			continue
		}
		read, err := retypeFile(result.FileDescriptorProto(), c.source)
		if err != nil {
			c.problems = append(c.problems, Problem{f.Path(), plainError(err, "")})
			continue
		}
		files = append(files, read)
	}
	return append(files, c.standardFiles(files)...)
}

// standardFiles returns the imports of files that only the compiler has.
func (c *compilation) standardFiles(files []*file) []*file {
	var out []*file
	seen := map[string]bool{}
	for _, f := range files {
		for _, dep := range f.proto.GetDependency() {
			if seen[dep] || c.texts[dep] != nil || builtin.Find(dep) != nil {
				continue
			}
			seen[dep] = true
			if found, err := standard().FindFileByPath(dep); err == nil && found.Desc != nil {
				if read, err := retypeFile(protodesc.ToFileDescriptorProto(found.Desc), c.source); err == nil {
					read.imported = true
					out = append(out, read)
				}
			}
		}
	}
	return out
}
