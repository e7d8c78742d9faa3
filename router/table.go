package router

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/transomhq/transom/router/httprule"
	"github.com/transomhq/transom/rpc"
)

// Options are the choices of a table. The zero value is the strict one.
type Options struct {
	// SkipInvalid leaves bindings out that New would otherwise fail for, and
	// lists them in Skipped: bad templates, and the later one of two that clash.
	SkipInvalid bool
	// WrongMethod is the HTTP status for a path that is known for other HTTP
	// methods only; 0 means 405. Clients of grpc-gateway expect 501.
	WrongMethod int
}

// Table finds the binding that an HTTP method and path mean. It is immutable
// and safe for concurrent use.
type Table struct {
	trie        *trie
	methods     map[string]methodIndex // those that methodOf does not know
	names       []string               // by methodIndex
	verbColons  int                    // the most ":" that any verb contains
	wrongMethod int
	bindings    []*binding // served, in the order given
	served      []*rpc.Binding
	skipped     []Skipped
	warnings    []Warning
}

// binding is a served binding with what matching needs.
type binding struct {
	*rpc.Binding
	segments []segment
	deep     int    // index of "**" in segments, -1 without
	verb     string // canonical
	vars     []capture
	order    int // the place in the order of declaration
}

// segment is a segment of a template, its literal canonical.
type segment struct {
	kind httprule.Kind
	text string
}

// capture is what a variable captures: the segments of a path between start
// and end. A number x below zero stands for ^x segments before the path's end.
type capture struct{ start, end int16 }

// Skipped is a binding that is not served, and why.
type Skipped struct {
	Binding *rpc.Binding
	Err     error // *ConflictError or *BindingError
}

// String returns the reason, which names the binding and its origin.
func (s Skipped) String() string { return s.Err.Error() }

// BindingError says why a binding cannot be served.
type BindingError struct {
	Binding *rpc.Binding
	Err     error
}

// Error returns origin, HTTP method and reason.
func (e *BindingError) Error() string {
	return at(e.Binding) + e.Binding.HTTPMethod + " binding: " + e.Err.Error()
}

// Unwrap returns the reason, a *httprule.Error for a bad template.
func (e *BindingError) Unwrap() error { return e.Err }

// ConflictError says that two bindings match the same requests.
type ConflictError struct {
	First, Second *rpc.Binding // in the order of declaration
	Example       string       // a path that both match
}

// Error names both bindings, their origins and the example.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s%s clashes with %s: both match %s %s; change one of them",
		at(e.Second), show(e.Second), where(e.First), e.Second.HTTPMethod, e.Example)
}

func at(b *rpc.Binding) string {
	if b.Origin == "" {
		return ""
	}
	return b.Origin + ": "
}

// show returns a binding as HTTP method, template and gRPC method.
func show(b *rpc.Binding) string {
	text := b.HTTPMethod + " " + b.Template
	if b.Method != nil {
		text += " of " + strings.TrimPrefix(b.Method.Name, "/")
	}
	return text
}

// where returns a binding with its origin behind it.
func where(b *rpc.Binding) string {
	if b.Origin == "" {
		return show(b)
	}
	return show(b) + " (" + b.Origin + ")"
}

// New returns the table of bindings, whose order is that of declaration: it
// decides nothing but who is named first in errors, and who is skipped. The
// error joins every *ConflictError and *BindingError there is.
func New(bindings []*rpc.Binding, opts Options) (*Table, error) {
	t := &Table{
		methods:     map[string]methodIndex{},
		names:       commonMethods(),
		wrongMethod: opts.WrongMethod,
	}
	if t.wrongMethod == 0 {
		t.wrongMethod = http.StatusMethodNotAllowed
	}
	var errs []error
	top := &node{}
	for i, b := range bindings {
		err := t.add(top, b, i)
		switch {
		case err == nil:
		case opts.SkipInvalid:
			t.skipped = append(t.skipped, Skipped{b, err})
		default:
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	t.warnings = findOverlaps(t, top)
	t.trie = pack(top)
	return t, nil
}

// add compiles b, the binding declared at place order, into the trie below top.
func (t *Table) add(top *node, b *rpc.Binding, order int) error {
	if b.HTTPMethod == "" {
		return &BindingError{b, errors.New("the HTTP method is empty")}
	}
	template, err := httprule.Parse(b.Template)
	if err != nil {
		return &BindingError{b, err}
	}
	c := compile(b, template)
	c.order = order
	clash := top.insert(c.segments).add(t.intern(b.HTTPMethod), c)
	if clash != nil {
		return &ConflictError{First: clash.Binding, Second: b, Example: example(clash, c)}
	}
	t.verbColons = max(t.verbColons, strings.Count(c.verb, ":"))
	t.bindings = append(t.bindings, c)
	t.served = append(t.served, b)
	return nil
}

func compile(b *rpc.Binding, template *httprule.Template) *binding {
	c := &binding{Binding: b, deep: template.Deep(), verb: string(httprule.AppendCanonical(nil, template.Verb))}
	for _, s := range template.Segments {
		c.segments = append(c.segments, segment{s.Kind, s.Canonical()})
	}
	for _, v := range template.Variables {
		c.vars = append(c.vars, capture{c.position(v.Start), c.position(v.End)})
	}
	return c
}

// position returns the template's position i as a capture states it.
func (b *binding) position(i int) int16 {
	if b.deep >= 0 && i > b.deep {
		return ^int16(len(b.segments) - i)
	}
	return int16(i)
}

// Bindings returns the bindings that are served, in the order of declaration.
func (t *Table) Bindings() []*rpc.Binding { return t.served }

// Skipped returns the bindings that SkipInvalid left out.
func (t *Table) Skipped() []Skipped { return t.skipped }

// Warnings returns pairs of bindings whose requests grpc-gateway would give to
// the other one.
func (t *Table) Warnings() []Warning { return t.warnings }

// methodIndex is an HTTP method, as the trie knows it.
type methodIndex uint32

const (
	methodAny methodIndex = iota // "*"
	methodGet
	methodHead
	methodPost
	methodPut
	methodPatch
	methodDelete
	methodOptions
	methodCommon // how many there are

	methodUnknown methodIndex = 1<<32 - 1 // in no binding
)

func commonMethods() []string {
	return []string{"*", http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}
}

// methodOf returns the index of an HTTP method as a client sent it. Methods
// are case-sensitive (RFC 9110 section 9.1), and "*" is none.
func (t *Table) methodOf(name string) methodIndex {
	switch name {
	case http.MethodGet:
		return methodGet
	case http.MethodHead:
		return methodHead
	case http.MethodPost:
		return methodPost
	case http.MethodPut:
		return methodPut
	case http.MethodPatch:
		return methodPatch
	case http.MethodDelete:
		return methodDelete
	case http.MethodOptions:
		return methodOptions
	}
	if i, ok := t.methods[name]; ok {
		return i
	}
	return methodUnknown
}

// intern returns the index of a binding's HTTP method, made if need be.
func (t *Table) intern(name string) methodIndex {
	if name == "*" {
		return methodAny
	}
	if i := t.methodOf(name); i != methodUnknown {
		return i
	}
	i := methodIndex(len(t.names))
	t.names = append(t.names, name)
	t.methods[name] = i
	return i
}
