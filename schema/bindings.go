package schema

import (
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/transomhq/transom/router/httprule"
	"github.com/transomhq/transom/rpc"
)

// binder makes methods and their bindings of linked services.
type binder struct {
	opts     *Options
	rules    *ruleSet
	used     map[int]bool // rules that a method has
	origins  map[string]*origins
	methods  []*rpc.Method
	bindings []*rpc.Binding
	problems []Problem
	warnings []Problem
}

// service adds the methods of sd that are selected.
func (b *binder) service(sd protoreflect.ServiceDescriptor, selected func(protoreflect.MethodDescriptor) bool) {
	for i := range sd.Methods().Len() {
		md := sd.Methods().Get(i)
		ruleIndex := b.rules.find(string(md.FullName()))
		if ruleIndex >= 0 {
			b.used[ruleIndex] = true
		}
		if !selected(md) {
			continue
		}
		m := rpc.NewMethod(md)
		b.methods = append(b.methods, m)
		if ruleIndex >= 0 {
			b.fromConfig(m, &b.rules.rules[ruleIndex])
		} else {
			b.fromOption(m)
		}
	}
}

// fromConfig binds m as a service-config rule says, which takes the place of
// the method's own option.
func (b *binder) fromConfig(m *rpc.Method, r *rule) {
	declared := b.bind(m, r.http, r.origin)
	for i, more := range r.http.GetAdditionalBindings() {
		declared = b.bind(m, more, r.more[i]) || declared
	}
	if !declared {
		b.implicit(m)
	}
}

// fromOption binds m as its google.api.http option says.
func (b *binder) fromOption(m *rpc.Method) {
	o := b.origins[m.Desc.ParentFile().Path()]
	if !proto.HasExtension(m.Desc.Options(), annotations.E_Http) {
		b.implicit(m)
		return
	}
	http, ok := proto.GetExtension(m.Desc.Options(), annotations.E_Http).(*annotations.HttpRule)
	if !ok {
		b.implicit(m)
		return
	}
	origin := o.method(m.Desc, true)
	if http.GetSelector() != "" && http.GetSelector() != m.Selector() {
		b.warn(m, origin, "the option's selector %q is ignored: an option is for its own method", http.GetSelector())
	}
	declared := b.bind(m, http, origin)
	for i, more := range http.GetAdditionalBindings() {
		origin := o.additional(m.Desc, i)
		if len(more.GetAdditionalBindings()) > 0 {
			b.wrong(m, origin, "additional_bindings inside additional_bindings: list them side by side")
		}
		declared = b.bind(m, more, origin) || declared
	}
	if !declared {
		b.warn(m, origin, "the google.api.http option names no HTTP method, so it binds nothing")
		b.implicit(m)
	}
}

// implicit binds m to POST /pkg.Service/Method, unless that is off.
func (b *binder) implicit(m *rpc.Method) {
	if b.opts.NoImplicit {
		return
	}
	b.add(m, &rpc.Binding{
		Method: m, HTTPMethod: "POST", Template: m.Name, Body: "*", Implicit: true,
		Origin: b.origins[m.Desc.ParentFile().Path()].method(m.Desc, false),
	})
}

func (b *binder) add(m *rpc.Method, binding *rpc.Binding) {
	binding.ID = len(b.bindings)
	b.bindings = append(b.bindings, binding)
	m.Bindings = append(m.Bindings, binding)
}

func (b *binder) wrong(m *rpc.Method, origin, format string, args ...any) {
	b.problems = append(b.problems, Problem{origin, about(m, origin) + fmt.Sprintf(format, args...)})
}

func (b *binder) warn(m *rpc.Method, origin, format string, args ...any) {
	b.warnings = append(b.warnings, Problem{origin, about(m, origin) + fmt.Sprintf(format, args...)})
}

// about names the method, unless its origin has done so.
func about(m *rpc.Method, origin string) string {
	if strings.HasSuffix(origin, ": "+m.Selector()) {
		return ""
	}
	return m.Selector() + ": "
}

// bind adds the binding that one rule declares, without its additional ones.
// It reports whether the rule declares one at all, be it right or wrong.
func (b *binder) bind(m *rpc.Method, r *annotations.HttpRule, origin string) bool {
	if r.GetPattern() == nil {
		return false
	}
	before := len(b.problems)
	binding := &rpc.Binding{Method: m, Origin: origin, Body: r.GetBody(), ResponseBody: r.GetResponseBody()}
	binding.HTTPMethod, binding.Template = pattern(r)
	if !isToken(binding.HTTPMethod) {
		b.wrong(m, origin, "custom kind %q is no HTTP method: write a name such as HEAD, or * for any", r.GetCustom().GetKind())
	}
	binding.Variables = b.variables(m, binding)
	b.body(binding, "body", binding.Body, m.Desc.Input())
	b.body(binding, "response_body", binding.ResponseBody, m.Desc.Output())
	if len(b.problems) == before {
		b.add(m, binding)
	}
	return true
}

// pattern returns the HTTP method and the template of a rule.
func pattern(r *annotations.HttpRule) (method, template string) {
	switch p := r.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		return "GET", p.Get
	case *annotations.HttpRule_Put:
		return "PUT", p.Put
	case *annotations.HttpRule_Post:
		return "POST", p.Post
	case *annotations.HttpRule_Delete:
		return "DELETE", p.Delete
	case *annotations.HttpRule_Patch:
		return "PATCH", p.Patch
	case *annotations.HttpRule_Custom:
		return strings.ToUpper(p.Custom.GetKind()), p.Custom.GetPath()
	}
	return "", ""
}

// isToken reports whether s is an HTTP method (RFC 9110 section 5.6.2).
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

// body checks what body or response_body names.
func (b *binder) body(binding *rpc.Binding, what, path string, md protoreflect.MessageDescriptor) {
	m := binding.Method
	if path == "" || path == "*" && what == "body" {
		return
	}
	if path == "*" {
		b.wrong(m, binding.Origin, `response_body "*": leave it out to answer with the whole message, or name a field of %s`, md.FullName())
		return
	}
	parts := strings.Split(path, ".")
	if len(parts) > 1 && !b.opts.NestedBody {
		b.wrong(m, binding.Origin, "%s %q names a nested field: name a field of %s itself", what, path, md.FullName())
		return
	}
	for i, part := range parts {
		fd := md.Fields().ByName(protoreflect.Name(part))
		if fd == nil {
			b.wrong(m, binding.Origin, "%s %q: %s", what, path, noField(md, part))
			return
		}
		if i == len(parts)-1 {
			return
		}
		if fd.Message() == nil || fd.Cardinality() == protoreflect.Repeated {
			b.wrong(m, binding.Origin, "%s %q: %s", what, path, notWalkable(fd))
			return
		}
		md = fd.Message()
	}
}

// variables resolves the variables of a binding's template.
func (b *binder) variables(m *rpc.Method, binding *rpc.Binding) []rpc.Variable {
	template, err := httprule.Parse(binding.Template)
	if err != nil {
		b.wrong(m, binding.Origin, "%s", err)
		return nil
	}
	var out []rpc.Variable
	for _, v := range template.Variables {
		fields, reason := b.resolve(m.Desc.Input(), v.Path)
		if reason != "" {
			b.wrong(m, binding.Origin, "path template %q, variable %q: %s", binding.Template, v.Path, reason)
			continue
		}
		out = append(out, rpc.Variable{Path: v.Path, Fields: fields, Multi: v.Multi})
	}
	return out
}

// resolve walks a field path from md; reason says why it may not be a path variable.
func (b *binder) resolve(md protoreflect.MessageDescriptor, path string) (fields []protoreflect.FieldDescriptor, reason string) {
	parts := strings.Split(path, ".")
	for i, part := range parts {
		fd := md.Fields().ByName(protoreflect.Name(part))
		if fd == nil {
			return nil, noField(md, part)
		}
		fields = append(fields, fd)
		if i == len(parts)-1 {
			return fields, b.notVariable(fd)
		}
		if fd.Message() == nil || fd.Cardinality() == protoreflect.Repeated {
			return nil, notWalkable(fd)
		}
		md = fd.Message()
	}
	return fields, ""
}

// notVariable says why a field cannot be a path variable, "" if it can.
func (b *binder) notVariable(fd protoreflect.FieldDescriptor) string {
	switch {
	case fd.IsMap():
		return fmt.Sprintf("field %q of %s is a map; a path variable is a single value", fd.Name(), fd.Parent().FullName())
	case fd.IsList() && (!b.opts.RepeatedPathVariables || fd.Message() != nil):
		return fmt.Sprintf("field %q of %s is repeated; a path variable is a single value", fd.Name(), fd.Parent().FullName())
	case fd.Message() != nil && !hasTextForm(fd.Message().FullName()):
		return fmt.Sprintf("field %q of %s is a message, %s; name one of its fields, %q",
			fd.Name(), fd.Parent().FullName(), fd.Message().FullName(), string(fd.Name())+"."+firstField(fd.Message()))
	}
	return ""
}

func firstField(md protoreflect.MessageDescriptor) string {
	if md.Fields().Len() == 0 {
		return "..."
	}
	return string(md.Fields().Get(0).Name())
}

// hasTextForm reports whether a message's JSON form is a single text, number or
// boolean, so that a path segment can be one.
func hasTextForm(name protoreflect.FullName) bool {
	switch name {
	case "google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.FieldMask",
		"google.protobuf.DoubleValue", "google.protobuf.FloatValue", "google.protobuf.Int64Value",
		"google.protobuf.UInt64Value", "google.protobuf.Int32Value", "google.protobuf.UInt32Value",
		"google.protobuf.BoolValue", "google.protobuf.StringValue", "google.protobuf.BytesValue":
		return true
	}
	return false
}

func notWalkable(fd protoreflect.FieldDescriptor) string {
	kind := "is a " + fd.Kind().String()
	if fd.IsMap() {
		kind = "is a map"
	} else if fd.IsList() {
		kind = "is repeated"
	}
	return fmt.Sprintf("field %q of %s %s and has no fields to name", fd.Name(), fd.Parent().FullName(), kind)
}

// noField says that md lacks a field, and which one may be meant.
func noField(md protoreflect.MessageDescriptor, name string) string {
	text := fmt.Sprintf("%s has no field %q", md.FullName(), name)
	if fd := md.Fields().ByJSONName(name); fd != nil {
		return fmt.Sprintf("%s; write the proto name %q", text, fd.Name())
	}
	var names []string
	for i := range md.Fields().Len() {
		names = append(names, string(md.Fields().Get(i).Name()))
	}
	if near := nearest(name, names); near != "" {
		return fmt.Sprintf("%s; did you mean %q?", text, near)
	}
	return text
}

// nearest returns the name that a typing error of at most two letters away is from, "" if none.
func nearest(name string, names []string) string {
	best, least := "", 3
	for _, n := range names {
		if len(name) <= 256 && len(n) <= 256 {
			if d := distance(name, n); d < least && d < len(name) {
				best, least = n, d
			}
		}
	}
	return best
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
