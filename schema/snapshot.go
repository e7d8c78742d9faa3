package schema

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/transomhq/transom/rpc"
)

// Snapshot is all that was loaded, linked and checked. It is immutable.
type Snapshot struct {
	// ID changes when anything of the contents does, comments included.
	ID string
	// Files are the descriptors of all sources and of what they import, with
	// comments where the source had them.
	Files *protoregistry.Files
	// Types finds message and extension types for JSON.
	Types *Types
	// Services are the services that are served, in the order of their files.
	Services []protoreflect.ServiceDescriptor
	// Methods are the methods that are served, in the order of declaration.
	Methods []*rpc.Method
	// Bindings are the bindings of all methods; a binding's ID is its index.
	// Two of them may still clash: the router decides that.
	Bindings []*rpc.Binding
	// FullyDecodeReserved is fully_decode_reserved_expansion of the rules files.
	FullyDecodeReserved bool
	// Warnings are what was left out, overridden or doubtful.
	Warnings []Problem
	// Pending are the reflection sources that were never reached yet.
	Pending []string

	methods map[string]*rpc.Method
}

// Method returns the method of that full name, "/pkg.Service/Method", nil if
// it is not served.
func (s *Snapshot) Method(fullName string) *rpc.Method { return s.methods[fullName] }

// Advice returns what is right but perhaps not meant, for a check before
// serving: streaming methods without an HTTP binding of their own, GET and
// DELETE with a body.
func (s *Snapshot) Advice() []Problem {
	var out []Problem
	for _, m := range s.Methods {
		if !m.Unary() && (len(m.Bindings) == 0 || m.Bindings[0].Implicit) {
			origin := m.Desc.ParentFile().Path() + ": " + m.Selector()
			if len(m.Bindings) > 0 {
				origin = m.Bindings[0].Origin
			}
			out = append(out, Problem{origin, about(m, origin) + "a streaming method without an HTTP binding"})
		}
		for _, b := range m.Bindings {
			if b.Body != "" && (b.HTTPMethod == "GET" || b.HTTPMethod == "DELETE") {
				out = append(out, Problem{b.Origin, about(m, b.Origin) + b.HTTPMethod + " with a body, which clients and proxies may drop"})
			}
		}
	}
	return sorted(out)
}

// identify hashes the files and what was made of them.
func (s *Snapshot) identify(files map[string]*file) string {
	h := sha256.New()
	opts := proto.MarshalOptions{Deterministic: true, AllowPartial: true}
	var buf []byte
	for _, path := range slices.Sorted(maps.Keys(files)) {
		buf, _ = opts.MarshalAppend(buf[:0], files[path].proto) // it was linked, so it can be written
		fmt.Fprintf(h, "%d %s\n", len(buf), path)
		h.Write(buf)
	}
	for _, m := range s.Methods {
		fmt.Fprintln(h, m.Name)
	}
	for _, b := range s.Bindings {
		fmt.Fprintf(h, "%s %s %q %q %q %s\n", b.Method.Name, b.HTTPMethod, b.Template, b.Body, b.ResponseBody, b.Origin)
	}
	fmt.Fprintln(h, s.FullyDecodeReserved)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// selection decides which services and methods are served.
type selection struct {
	include, exclude []rpc.Selector
}

func newSelection(opts *Options) (*selection, []Problem) {
	s := &selection{}
	var problems []Problem
	parse := func(what string, texts []string) (out []rpc.Selector) {
		for _, text := range texts {
			sel, err := rpc.ParseSelector(text)
			if err != nil {
				problems = append(problems, Problem{what, err.Error()})
				continue
			}
			out = append(out, sel)
		}
		return out
	}
	s.include = parse("include", opts.Include)
	s.exclude = parse("exclude", opts.Exclude)
	return s, problems
}

// own reports whether the gateway answers a service itself, from the snapshot.
func own(service string) bool {
	return service == "grpc.health.v1.Health" || strings.HasPrefix(service, "grpc.reflection.")
}

// method reports whether a method is served. An import's methods must be named.
func (s *selection) method(md protoreflect.MethodDescriptor, imported bool) bool {
	name := string(md.FullName())
	matches := func(sel rpc.Selector) bool { return sel.Matches(name) }
	if slices.ContainsFunc(s.exclude, matches) {
		return false
	}
	if len(s.include) == 0 {
		return !imported
	}
	return slices.ContainsFunc(s.include, func(sel rpc.Selector) bool {
		return sel.Matches(name) && (!imported || sel != "*")
	})
}

// unmatched returns a warning for each Include that names nothing.
func (s *selection) unmatched(files *protoregistry.Files) []Problem {
	var out []Problem
	for _, sel := range s.include {
		if !names(files, sel) {
			out = append(out, Problem{"include", fmt.Sprintf("selector %q names no method of any source", sel)})
		}
	}
	return out
}

func names(files *protoregistry.Files, sel rpc.Selector) bool {
	found := false
	files.RangeFiles(func(fd protoreflect.FileDescriptor) bool {
		for i := range fd.Services().Len() {
			methods := fd.Services().Get(i).Methods()
			for j := range methods.Len() {
				if sel.Matches(string(methods.Get(j).FullName())) {
					found = true
				}
			}
		}
		return !found
	})
	return found
}
