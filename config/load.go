package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
)

// Env finds environment variables; os.LookupEnv is one. Nil finds none.
type Env func(name string) (value string, ok bool)

// Source says where a configuration comes from. It can be loaded again and
// again; the same Source gives the same configuration until a file changes.
type Source struct {
	// Path is the file, YAML or JSON. Empty: no file, the Overrides say everything.
	Path string
	// Env resolves ${NAME} and secrets; nil has no variables.
	Env Env
	// Overrides are what flags say; they win over the file.
	Overrides Overrides
}

// maxFileBytes bounds a configuration file.
const maxFileBytes = 8 << 20

// Load reads, completes and checks the configuration. The error is Mistakes,
// or says why the file cannot be read.
func (s Source) Load() (*File, error) {
	if s.Path == "" {
		return s.finish(newFile(""))
	}
	in, err := os.Open(s.Path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	defer in.Close()
	text, err := io.ReadAll(io.LimitReader(in, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if len(text) > maxFileBytes {
		return nil, fmt.Errorf("configuration: %s is larger than %d MiB", s.Path, maxFileBytes>>20)
	}
	f := parse(s.Path, text, s.Env)
	f.resolvePaths(filepath.Dir(s.Path))
	return s.finish(f)
}

func (s Source) finish(f *File) (*File, error) {
	s.Overrides.apply(f)
	Complete(f.Config)
	f.readSecrets(s.Env)
	f.check()
	if err := f.mistakes.inOrder(); err != nil {
		return nil, err
	}
	return f, nil
}

// Load reads, completes and checks the configuration file at path. The error
// is Mistakes, or says why the file cannot be read.
func Load(path string, env Env) (*configv1.Config, error) {
	f, err := Source{Path: path, Env: env}.Load()
	if err != nil {
		return nil, err
	}
	return f.Config, nil
}

// Parse reads a configuration from text, without completing it or checking
// what it means: relative paths stay, and no file is opened. The error is
// Mistakes, whose positions carry name.
func Parse(name string, text []byte, env Env) (*File, error) {
	f := parse(name, text, env)
	if err := f.mistakes.inOrder(); err != nil {
		return nil, err
	}
	return f, nil
}

func parse(name string, text []byte, env Env) *File {
	f := newFile(name)
	root := f.parseYAML(text)
	if root == nil {
		return f
	}
	d := &decoder{file: f, env: env, budget: maxNodes}
	d.message(root, f.Config.ProtoReflect(), "")
	return f
}

// parseYAML returns the root of the file's one document, nil for an empty file
// or one that is not YAML.
func (f *File) parseYAML(text []byte) *yaml.Node {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	doc, err := nextDocument(dec)
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		f.notYAML(err, text)
		return nil
	}
	if second, err := nextDocument(dec); err == nil {
		f.note(f.at(second), "", "a second document: a configuration is one document")
	} else if !errors.Is(err, io.EOF) {
		f.notYAML(err, text)
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) == 0 {
		return nil
	}
	return doc.Content[0]
}

// nextDocument decodes a document. The parser panics on some malformed input;
// that is an error like any other here.
func nextDocument(dec *yaml.Decoder) (node *yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("yaml: the text is malformed")
		}
	}()
	node = new(yaml.Node)
	return node, dec.Decode(node)
}

// yamlLine finds the line in the parser's error texts. It counts some lines from
// 0: those of errors that come from the grammar, not from the characters.
func yamlLine(text string) (line int, rest string) {
	line, rest = 0, strings.TrimPrefix(text, "yaml: ")
	if number, after, ok := strings.Cut(strings.TrimPrefix(rest, "line "), ": "); ok {
		if n, err := strconv.Atoi(number); err == nil {
			line, rest = n, after
		}
	}
	for _, grammar := range []string{"did not find expected", "found undefined tag", "found duplicate %", "found incompatible"} {
		if strings.HasPrefix(rest, grammar) {
			line++
		}
	}
	return max(line, 1), rest
}

func (f *File) notYAML(err error, source []byte) {
	line, text := yamlLine(err.Error())
	if strings.HasPrefix(text, "did not find expected ','") && bytes.Contains(source, []byte("${")) {
		text += ` (inside [...] and {...}, variables are quoted: "${NAME}")`
	}
	f.wrongAt(Position{File: f.name, Line: line, Column: 1}, "", "not valid YAML: %s", text)
}

func (f *File) at(n *yaml.Node) Position {
	return Position{File: f.name, Line: max(n.Line, 1), Column: max(n.Column, 1)}
}
