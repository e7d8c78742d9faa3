package schema

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/transomhq/transom/router/httprule"
	"github.com/transomhq/transom/rpc"
)

// ChangeKind says what kind of thing a change broke.
type ChangeKind string

// The kinds of breaking changes.
const (
	ServiceRemoved   ChangeKind = "service removed"
	MethodRemoved    ChangeKind = "method removed"
	MethodChanged    ChangeKind = "method changed" // its streaming kind or message types
	BindingRemoved   ChangeKind = "binding removed"
	BindingChanged   ChangeKind = "binding changed" // its template, body or response_body
	FieldRemoved     ChangeKind = "field removed"
	FieldChanged     ChangeKind = "field changed" // its type, cardinality or names
	EnumValueRemoved ChangeKind = "enum value removed"
	EnumValueRenamed ChangeKind = "enum value renamed"
)

// Change is one difference between two snapshots that breaks some client.
type Change struct {
	Kind ChangeKind
	// Subject is the full name of the service, method, field or enum value.
	Subject string
	// Text says what changed, as a phrase that names the subject.
	Text string
}

// String returns the text.
func (c Change) String() string { return c.Text }

// Breaking returns what clients of old find missing or different now, on
// any door: methods, bindings, and the messages that methods reach. The order
// is that of old's declarations.
func Breaking(old, now *Snapshot) []Change {
	c := &comparison{seen: map[[2]protoreflect.FullName]bool{}}
	removed := map[string]bool{}
	for _, m := range old.Methods {
		if after := now.Method(m.Name); after != nil {
			c.method(m, after)
			continue
		}
		service := m.Service()
		if !hasService(now, service) {
			if !removed[service] {
				removed[service] = true
				c.add(ServiceRemoved, service, "service %s is no longer served", service)
			}
			continue
		}
		c.add(MethodRemoved, m.Selector(), "method %s is no longer served", m.Selector())
	}
	return c.changes
}

func hasService(s *Snapshot, name string) bool {
	for _, sd := range s.Services {
		if string(sd.FullName()) == name {
			return true
		}
	}
	return false
}

type comparison struct {
	changes []Change
	seen    map[[2]protoreflect.FullName]bool // pairs of messages and enums
}

func (c *comparison) add(kind ChangeKind, subject, format string, args ...any) {
	c.changes = append(c.changes, Change{kind, subject, fmt.Sprintf(format, args...)})
}

func (c *comparison) method(old, now *rpc.Method) {
	name := old.Selector()
	if a, b := streaming(old), streaming(now); a != b {
		c.add(MethodChanged, name, "method %s changed from %s to %s", name, a, b)
	}
	c.types(name, "request", old.Desc.Input(), now.Desc.Input())
	c.types(name, "response", old.Desc.Output(), now.Desc.Output())
	c.bindings(old, now)
}

func streaming(m *rpc.Method) string {
	switch {
	case m.ClientStreams && m.ServerStreams:
		return "bidirectional streaming"
	case m.ClientStreams:
		return "client streaming"
	case m.ServerStreams:
		return "server streaming"
	}
	return "unary"
}

func (c *comparison) types(method, what string, old, now protoreflect.MessageDescriptor) {
	if old.FullName() != now.FullName() {
		c.add(MethodChanged, method, "method %s changed its %s from %s to %s", method, what, old.FullName(), now.FullName())
	}
	c.messages(old, now)
}

// bindings pairs bindings by HTTP method and template, whatever their order
// and the names of their variables.
func (c *comparison) bindings(old, now *rpc.Method) {
	left := map[string]*rpc.Binding{}
	for _, b := range now.Bindings {
		left[routeOf(b)] = b
	}
	var missing []*rpc.Binding
	for _, b := range old.Bindings {
		n := left[routeOf(b)]
		if n == nil {
			missing = append(missing, b)
			continue
		}
		delete(left, routeOf(b))
		c.binding(b, n)
	}
	for _, b := range missing {
		name := old.Selector()
		if n := onlyOther(left, b.HTTPMethod); n != nil && len(missing) == 1 && !b.Implicit {
			c.add(BindingChanged, name, "method %s moved from %s %s to %s %s", name, b.HTTPMethod, b.Template, n.HTTPMethod, n.Template)
			continue
		}
		c.add(BindingRemoved, name, "method %s is no longer at %s %s", name, b.HTTPMethod, b.Template)
	}
}

// onlyOther returns the one new binding of that HTTP method, if it is one.
func onlyOther(left map[string]*rpc.Binding, method string) *rpc.Binding {
	var found *rpc.Binding
	for _, b := range left {
		if b.HTTPMethod != method {
			continue
		}
		if found != nil {
			return nil
		}
		found = b
	}
	return found
}

// binding compares two bindings of the same route.
func (c *comparison) binding(old, now *rpc.Binding) {
	name, route := old.Method.Selector(), old.HTTPMethod+" "+old.Template
	if old.Template != now.Template && variablesOf(old) != variablesOf(now) {
		c.add(BindingChanged, name, "method %s at %s binds other fields: %s", name, route, now.Template)
	}
	if old.Body != now.Body {
		c.add(BindingChanged, name, "method %s at %s changed its body from %q to %q", name, route, old.Body, now.Body)
	}
	if old.ResponseBody != now.ResponseBody {
		c.add(BindingChanged, name, "method %s at %s changed its response_body from %q to %q", name, route, old.ResponseBody, now.ResponseBody)
	}
}

// routeOf is what a client sees of a binding: the HTTP method, and the template
// without the names of its variables.
func routeOf(b *rpc.Binding) string {
	t, err := httprule.Parse(b.Template)
	if err != nil {
		return b.HTTPMethod + " " + b.Template
	}
	t.Variables = nil
	return b.HTTPMethod + " " + t.String()
}

func variablesOf(b *rpc.Binding) string {
	var paths []string
	for _, v := range b.Variables {
		paths = append(paths, v.Path)
	}
	return strings.Join(paths, ",")
}

// messages compares two messages and all that they reach, each pair once.
func (c *comparison) messages(old, now protoreflect.MessageDescriptor) {
	if !c.first(old.FullName(), now.FullName()) {
		return
	}
	for i := range old.Fields().Len() {
		f := old.Fields().Get(i)
		n := now.Fields().ByNumber(f.Number())
		if n == nil {
			c.add(FieldRemoved, string(f.FullName()), "field %s (%d) is gone", f.FullName(), f.Number())
			continue
		}
		c.field(f, n)
	}
	for i := range now.Fields().Len() {
		n := now.Fields().Get(i)
		if n.Cardinality() == protoreflect.Required && old.Fields().ByNumber(n.Number()) == nil {
			c.add(FieldChanged, string(n.FullName()), "field %s is new and required", n.FullName())
		}
	}
}

func (c *comparison) first(old, now protoreflect.FullName) bool {
	pair := [2]protoreflect.FullName{old, now}
	seen := c.seen[pair]
	c.seen[pair] = true
	return !seen
}

func (c *comparison) field(old, now protoreflect.FieldDescriptor) {
	name := string(old.FullName())
	if a, b := typeOf(old), typeOf(now); a != b {
		c.add(FieldChanged, name, "field %s changed its type from %s to %s", name, a, b)
		return
	}
	if a, b := cardinality(old), cardinality(now); a != b {
		c.add(FieldChanged, name, "field %s changed from %s to %s", name, a, b)
	}
	if old.Name() != now.Name() {
		c.add(FieldChanged, name, "field %s (%d) changed its name to %s", name, old.Number(), now.Name())
	}
	if old.JSONName() != now.JSONName() {
		c.add(FieldChanged, name, "field %s changed its JSON name from %q to %q", name, old.JSONName(), now.JSONName())
	}
	if a, b := oneofOf(old), oneofOf(now); a != b {
		c.add(FieldChanged, name, "field %s moved from %s to %s", name, a, b)
	}
	switch {
	case old.IsMap():
		c.field(old.MapValue(), now.MapValue())
	case old.Message() != nil:
		c.messages(old.Message(), now.Message())
	case old.Enum() != nil:
		c.enum(old.Enum(), now.Enum())
	}
}

// typeOf names a field's type as a .proto file does.
func typeOf(f protoreflect.FieldDescriptor) string {
	switch {
	case f.IsMap():
		return fmt.Sprintf("map<%s, %s>", typeOf(f.MapKey()), typeOf(f.MapValue()))
	case f.Kind() == protoreflect.GroupKind:
		return "group " + string(f.Message().FullName())
	case f.Message() != nil:
		return string(f.Message().FullName())
	case f.Enum() != nil:
		return string(f.Enum().FullName())
	}
	return f.Kind().String()
}

func cardinality(f protoreflect.FieldDescriptor) string {
	switch {
	case f.IsList():
		return "repeated"
	case f.Cardinality() == protoreflect.Required:
		return "required"
	}
	return "single"
}

func oneofOf(f protoreflect.FieldDescriptor) string {
	if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
		return "oneof " + string(o.Name())
	}
	return "no oneof"
}

func (c *comparison) enum(old, now protoreflect.EnumDescriptor) {
	if !c.first(old.FullName(), now.FullName()) {
		return
	}
	for i := range old.Values().Len() {
		v := old.Values().Get(i)
		if now.Values().ByName(v.Name()) != nil && now.Values().ByName(v.Name()).Number() == v.Number() {
			continue
		}
		name := string(v.FullName())
		if n := now.Values().ByNumber(v.Number()); n != nil {
			c.add(EnumValueRenamed, name, "enum value %s (%d) of %s is now %s", v.Name(), v.Number(), old.FullName(), n.Name())
			continue
		}
		c.add(EnumValueRemoved, name, "enum value %s (%d) of %s is gone", v.Name(), v.Number(), old.FullName())
	}
}
