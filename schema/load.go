package schema

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/schema/builtin"
	"github.com/transomhq/transom/schema/watch"
)

// Load reads all sources once. Its error is Problems: all that is wrong.
func Load(ctx context.Context, opts Options) (*Snapshot, error) { return NewLoader(opts).Load(ctx) }

// Loader loads the same sources again and again. It remembers what servers
// said, so that a server that is away for a while keeps its methods. It is
// safe for concurrent use.
type Loader struct {
	opts Options

	mu         sync.Mutex
	remembered map[string]*reflected // by source; nil: tried in vain
	since      watch.State           // of the files when they were last read
}

// NewLoader returns a loader that has read nothing yet.
func NewLoader(opts Options) *Loader {
	return &Loader{opts: opts, remembered: map[string]*reflected{}}
}

// Next returns a loader with other options and l's memory of servers.
func (l *Loader) Next(opts Options) *Loader {
	next := NewLoader(opts)
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.Copy(next.remembered, l.remembered)
	return next
}

// Load reads all sources. Its error is Problems. With SkipInvalid it fails only
// when a source or rules file cannot be read at all, or nothing is left.
//
// A server that cannot be reached is answered for from memory, and otherwise
// left out with a warning and named in Snapshot.Pending, as long as another
// source gives something.
func (l *Loader) Load(ctx context.Context) (*Snapshot, error) {
	state := watch.Take(l.paths(), isSchemaFile)
	l.mu.Lock()
	l.since = state
	l.mu.Unlock()

	b := &build{opts: &l.opts}
	l.read(ctx, b)
	rules, problems := readRules(l.opts.Rules)
	b.fatal = append(b.fatal, problems...)
	selected, problems := newSelection(&l.opts)
	b.fatal = append(b.fatal, problems...)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := b.snapshot(rules, selected)
	if len(b.fatal) > 0 {
		return nil, Problems(sorted(b.fatal))
	}
	return s, nil
}

// build is one load on its way.
type build struct {
	opts     *Options
	files    []*file
	names    []string // of files, also of those that could not be compiled
	pending  []string
	fatal    []Problem
	warnings []Problem
}

// invalid reports problems of parts that can be left out.
func (b *build) invalid(problems []Problem) {
	if b.opts.SkipInvalid {
		for _, p := range problems {
			b.warnings = append(b.warnings, Problem{p.Origin, "left out: " + p.Text})
		}
		return
	}
	b.fatal = append(b.fatal, problems...)
}

// read reads the files of all sources, in their order.
func (l *Loader) read(ctx context.Context, b *build) {
	if len(l.opts.Sources) == 0 && len(l.opts.Files) == 0 {
		b.fatal = append(b.fatal, Problem{"schema", "no source: name an image, a folder of .proto files, or a server (grpc://host:port)"})
		return
	}
	servers := l.askServers(ctx)
	var unreachable []Problem
	for _, source := range l.opts.Sources {
		if kindOf(source) != reflectionSource {
			b.take(b.readFiles(source))
			continue
		}
		answer := servers[source]
		if answer.err != nil {
			unreachable = append(unreachable, Problem{source, plainError(answer.err, "")})
		}
		if answer.reflected == nil {
			b.pending = append(b.pending, source)
			continue
		}
		for _, text := range answer.untold {
			b.warnings = append(b.warnings, Problem{source, "left out: " + text})
		}
		b.take(answer.decode(source))
	}
	b.linked(l.opts.Files)
	if len(b.files) == 0 {
		b.fatal = append(b.fatal, unreachable...)
		return
	}
	b.warnings = append(b.warnings, unreachable...)
}

// readFiles reads a source that is a folder or an image.
func (b *build) readFiles(source string) ([]*file, []Problem) {
	if kindOf(source) == imageSource {
		return readImage(source)
	}
	files, names, problems := readFolder(source)
	b.names = append(b.names, names...)
	return files, problems
}

// take adds what a source gave. A source that gives nothing is an error.
func (b *build) take(files []*file, problems []Problem) {
	b.files = append(b.files, files...)
	if len(files) == 0 {
		b.fatal = append(b.fatal, problems...)
		return
	}
	b.invalid(problems)
}

// linked adds descriptors that are linked into the program, and their imports.
func (b *build) linked(fds []protoreflect.FileDescriptor) {
	seen := map[string]bool{}
	var add func(fd protoreflect.FileDescriptor, imported bool)
	add = func(fd protoreflect.FileDescriptor, imported bool) {
		if seen[fd.Path()] || fd.IsPlaceholder() || imported && builtin.Find(fd.Path()) != nil {
			return
		}
		seen[fd.Path()] = true
		if f, err := retypeFile(protodesc.ToFileDescriptorProto(fd), "the program"); err == nil {
			f.imported = imported
			b.files = append(b.files, f)
		}
		for i := range fd.Imports().Len() {
			add(fd.Imports().Get(i).FileDescriptor, true)
		}
	}
	for _, fd := range fds {
		add(fd, false)
	}
}

// answer is what is known of a server: what it says, or what it said when it
// could be reached, with the error of now.
type answer struct {
	*reflected
	err error
}

// askServers asks all reflection sources at the same time.
func (l *Loader) askServers(ctx context.Context) map[string]answer {
	answers := map[string]answer{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, source := range l.opts.Sources {
		if kindOf(source) != reflectionSource {
			continue
		}
		wg.Go(func() {
			r, err := askServer(ctx, source, &l.opts)
			r = l.remember(source, r, err)
			mu.Lock()
			defer mu.Unlock()
			answers[source] = answer{r, err}
		})
	}
	wg.Wait()
	return answers
}

// remember keeps what a server said, and returns what is known of it.
func (l *Loader) remember(source string, r *reflected, err error) *reflected {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		r = l.remembered[source]
	}
	l.remembered[source] = r
	return r
}

// snapshot merges, links and binds what was read.
func (b *build) snapshot(rules *ruleSet, selected *selection) *Snapshot {
	set, problems, warnings := merge(b.files)
	b.fatal = append(b.fatal, problems...) // which of two is right, nobody can tell
	b.warnings = append(b.warnings, warnings...)
	places := make(map[string]*origins, len(set))
	for path, f := range set {
		places[path] = takeOrigins(f.proto)
	}
	l := link(set)
	b.invalid(l.problems)
	if b.opts.SkipInvalid {
		names := slices.Concat(b.names, slices.Sorted(maps.Keys(set)))
		b.warnings = append(b.warnings, consequences(names, func(path string) bool { return l.done[path] }, b.warnings)...)
	}

	binder := &binder{opts: b.opts, rules: rules, used: map[int]bool{}, origins: places}
	s := &Snapshot{Files: l.registry, Types: newTypes(l.registry), Pending: b.pending, FullyDecodeReserved: rules.decodeReserved}
	for _, fd := range l.linked {
		f := set[fd.Path()]
		imported := f == nil || f.imported || builtin.Find(fd.Path()) != nil
		s.Services = append(s.Services, bindServices(fd, imported, selected, binder)...)
	}
	s.Methods, s.Bindings = binder.methods, binder.bindings
	b.invalid(binder.problems)
	b.warnings = append(b.warnings, binder.warnings...)
	b.warnings = append(b.warnings, binder.unusedRules()...)
	b.warnings = append(b.warnings, selected.unmatched(l.registry)...)
	s.methods = make(map[string]*rpc.Method, len(s.Methods))
	for _, m := range s.Methods {
		s.methods[m.Name] = m
	}
	s.Warnings = sorted(b.warnings)
	if len(b.fatal) == 0 {
		s.ID = s.identify(set)
	}
	return s
}

// bindServices binds the selected methods of a file and returns its services
// that have any.
func bindServices(fd protoreflect.FileDescriptor, imported bool, selected *selection, b *binder) []protoreflect.ServiceDescriptor {
	var out []protoreflect.ServiceDescriptor
	for i := range fd.Services().Len() {
		sd := fd.Services().Get(i)
		if own(string(sd.FullName())) {
			continue
		}
		mustBeNamed := imported || sd.ParentFile().Package() == "grpc.channelz.v1"
		before := len(b.methods)
		b.service(sd, func(md protoreflect.MethodDescriptor) bool { return selected.method(md, mustBeNamed) })
		if len(b.methods) > before {
			out = append(out, sd)
		}
	}
	return out
}

// unusedRules returns a warning for each rule that no method has, because
// there is no such method or because a later rule matches it.
func (b *binder) unusedRules() []Problem {
	var out []Problem
	for i, r := range b.rules.rules {
		if b.used[i] {
			continue
		}
		text := fmt.Sprintf("selector %q has no effect: it names no method, or a later rule is for the same ones", joinSelectors(r.selectors))
		out = append(out, Problem{r.origin, text})
	}
	return out
}

func joinSelectors(sels []rpc.Selector) string {
	text := ""
	for i, s := range slices.All(sels) {
		if i > 0 {
			text += ", "
		}
		text += string(s)
	}
	return text
}
