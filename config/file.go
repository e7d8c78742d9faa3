package config

import (
	"fmt"
	"strings"

	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
)

// File is a configuration together with where each part of it was written.
type File struct {
	// Config is the configuration.
	Config *configv1.Config

	name     string
	places   map[string]Position // by path
	bad      map[string]bool     // paths that a mistake was made about already
	mistakes Mistakes
}

func newFile(name string) *File {
	return &File{
		Config: new(configv1.Config),
		name:   name,
		places: map[string]Position{},
		bad:    map[string]bool{},
	}
}

// Position returns where the part at path ("policies[3].policy.deadline") was
// written, or the nearest part around it that was written at all; the zero
// Position for a configuration without a file.
func (f *File) Position(path string) Position {
	for path != "" {
		if p, ok := f.places[path]; ok {
			return p
		}
		path = parent(path)
	}
	return f.top()
}

// top is the place of what was not written.
func (f *File) top() Position {
	if f.name == "" {
		return Position{}
	}
	return Position{File: f.name, Line: 1, Column: 1}
}

// parent returns the path around path: "a.b[2]" is in "a.b", that in "a".
func parent(path string) string {
	return path[:max(strings.LastIndexAny(path, ".["), 0)]
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func element(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// wrong notes a mistake about path. A second one about the same part, or about
// a part of one that could not be read, would only follow from the first.
func (f *File) wrong(path, format string, args ...any) {
	f.wrongAt(f.Position(path), path, format, args...)
}

func (f *File) wrongAt(pos Position, path, format string, args ...any) {
	if f.isBad(path) {
		return
	}
	f.bad[path] = true
	f.note(pos, path, format, args...)
}

// note notes a mistake that leaves the value at path, if any, as it is.
func (f *File) note(pos Position, path, format string, args ...any) {
	f.mistakes = append(f.mistakes, Mistake{Position: pos, Path: path, Text: fmt.Sprintf(format, args...)})
}

// forget forgets where path and its parts were written, and what was wrong
// with them: a flag says something else.
func (f *File) forget(path string) {
	for p := range f.places {
		if within(p, path) {
			delete(f.places, p)
		}
	}
	for p := range f.bad {
		if within(p, path) {
			delete(f.bad, p)
		}
	}
}

// within reports whether p is path or a part of it.
func within(p, path string) bool {
	rest, ok := strings.CutPrefix(p, path)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// isBad reports whether a mistake was made about path, or about what it is in.
func (f *File) isBad(path string) bool {
	for ; path != ""; path = parent(path) {
		if f.bad[path] {
			return true
		}
	}
	return false
}

// hasBad reports whether a mistake was made about path or anything in it.
func (f *File) hasBad(path string) bool {
	for p := range f.bad {
		if within(p, path) {
			return true
		}
	}
	return f.isBad(path)
}
