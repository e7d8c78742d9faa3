package rpc

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Method is one RPC of the schema. It is immutable once its snapshot serves.
type Method struct {
	// Name is the full method name as grpc-go writes it: "/pkg.Service/Method".
	Name string
	// Desc describes the method, its request and its response.
	Desc protoreflect.MethodDescriptor
	// ClientStreams and ServerStreams say which sides send many messages.
	ClientStreams, ServerStreams bool
	// Bindings are the method's HTTP bindings in the order of declaration.
	Bindings []*Binding
}

// NewMethod returns the method that desc describes, without bindings.
func NewMethod(desc protoreflect.MethodDescriptor) *Method {
	return &Method{
		Name:          "/" + string(desc.Parent().FullName()) + "/" + string(desc.Name()),
		Desc:          desc,
		ClientStreams: desc.IsStreamingClient(),
		ServerStreams: desc.IsStreamingServer(),
	}
}

// Unary reports whether the method takes one message and answers one.
func (m *Method) Unary() bool { return !m.ClientStreams && !m.ServerStreams }

// Service returns the full name of the method's service: "pkg.Service".
func (m *Method) Service() string {
	name := strings.TrimPrefix(m.Name, "/")
	return name[:strings.LastIndexByte(name, '/')]
}

// Selector returns the method's name as selectors spell it, as in
// google.api.HttpRule.selector: "pkg.Service.Method".
func (m *Method) Selector() string { return string(m.Desc.FullName()) }

// Binding is one HTTP binding of a method: one google.api.HttpRule without its
// additional bindings. It is immutable once its snapshot serves.
type Binding struct {
	// ID is the binding's index in its snapshot, dense from 0. Doors keep what
	// they compile for a binding in a slice by ID.
	ID int
	// Method is the RPC that the binding reaches.
	Method *Method
	// HTTPMethod is the upper-case HTTP method, or "*" for any
	// (custom {kind: "*"}).
	HTTPMethod string
	// Template is the path template as declared, "/v1/{name=shelves/*}:archive".
	Template string
	// Variables are the template's variables in the order of the template.
	Variables []Variable
	// Body is "" (no body), "*" (the whole message) or the field that the body fills.
	Body string
	// ResponseBody is "" (the whole message) or the field that is the answer.
	ResponseBody string
	// Implicit marks the POST /pkg.Service/Method binding of a method that
	// declares none.
	Implicit bool
	// Origin is where the binding was declared, "shop.proto:41:5", for errors.
	Origin string
}

// Variable is one variable of a binding's template.
type Variable struct {
	// Path is the field path as the template spells it: "sub.name".
	Path string
	// Fields are the descriptors along Path, outermost first. All but the last
	// are singular messages; the last is a singular scalar or enum, or a
	// message whose JSON form is a string (a wrapper, Timestamp ...).
	Fields []protoreflect.FieldDescriptor
	// Multi says that the variable may span several segments ("{x=a/*}", "**"),
	// which decides how it is unescaped.
	Multi bool
}

// Match is what the router found for one request. The caller owns it and may
// reuse it: Reset keeps the memory.
type Match struct {
	// Binding is the binding that the path and HTTP method mean.
	Binding *Binding
	// Values are the raw values of Binding.Variables, in their order, still
	// percent-encoded as they stood in the path.
	Values []string
}

// Reset empties m and keeps its memory.
func (m *Match) Reset() {
	clear(m.Values)
	m.Binding, m.Values = nil, m.Values[:0]
}
