package oracle

import (
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// binding is one HTTP binding of a method of the shop.
type binding struct {
	method       protoreflect.MethodDescriptor
	httpMethod   string
	parts        []part // the template in pieces
	verb         string
	body         string
	responseBody string
}

// part is a literal, or a variable with the pattern of its segments.
type part struct {
	literal string
	field   string   // the variable's field path; "" for a literal
	pattern []string // "*", "**" or literals
}

// streams reports whether the binding's method is not unary.
func (b *binding) streams() bool { return b.method.IsStreamingClient() || b.method.IsStreamingServer() }

// bindings returns all bindings of a service, in order.
func bindings(service protoreflect.ServiceDescriptor) []*binding {
	var all []*binding
	for i := range service.Methods().Len() {
		method := service.Methods().Get(i)
		rule, ok := proto.GetExtension(method.Options(), annotations.E_Http).(*annotations.HttpRule)
		if !ok || rule == nil {
			continue
		}
		all = append(all, newBinding(method, rule))
		for _, more := range rule.GetAdditionalBindings() {
			all = append(all, newBinding(method, more))
		}
	}
	return all
}

func newBinding(method protoreflect.MethodDescriptor, rule *annotations.HttpRule) *binding {
	b := &binding{method: method, body: rule.GetBody(), responseBody: rule.GetResponseBody()}
	template := ""
	switch pattern := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		b.httpMethod, template = "GET", pattern.Get
	case *annotations.HttpRule_Put:
		b.httpMethod, template = "PUT", pattern.Put
	case *annotations.HttpRule_Post:
		b.httpMethod, template = "POST", pattern.Post
	case *annotations.HttpRule_Delete:
		b.httpMethod, template = "DELETE", pattern.Delete
	case *annotations.HttpRule_Patch:
		b.httpMethod, template = "PATCH", pattern.Patch
	}
	b.parts, b.verb = parts(template)
	return b
}

// parts takes a template to pieces. It reads only well-formed ones, which the
// generator has checked.
func parts(template string) (all []part, verb string) {
	rest := strings.TrimPrefix(template, "/")
	if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, '}') {
		rest, verb = rest[:i], rest[i+1:]
	}
	for rest != "" {
		if rest[0] != '{' {
			literal, more, _ := strings.Cut(rest, "/")
			all, rest = append(all, part{literal: literal}), more
			continue
		}
		inside, more, _ := strings.Cut(rest[1:], "}")
		field, pattern, ok := strings.Cut(inside, "=")
		if !ok {
			pattern = "*"
		}
		all = append(all, part{field: field, pattern: strings.Split(pattern, "/")})
		rest = strings.TrimPrefix(more, "/")
	}
	return all, verb
}

// fieldByPath returns the field of a path such as "order.customer.id".
func fieldByPath(message protoreflect.MessageDescriptor, path string) protoreflect.FieldDescriptor {
	var field protoreflect.FieldDescriptor
	for name := range strings.SplitSeq(path, ".") {
		field = message.Fields().ByName(protoreflect.Name(name))
		message = field.Message()
	}
	return field
}
