package rest

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/codec"
)

// plan is everything that is known of a binding before any call.
type plan struct {
	binding *rpc.Binding
	set     *settings
	input   protoreflect.MessageDescriptor
	guard   *guard // nil when the path binds nothing
	// required says that there are required fields (proto2) in the request.
	required bool
	body     bodyPlan
	out      answerPlan
	mask     *maskPlan   // nil when no mask is filled in
	stream   *streamPlan // nil of a unary method
}

// bodyPlan is which part of the request message the body fills, and how.
type bodyPlan struct {
	kind   bodyKind
	fields []protoreflect.FieldDescriptor // to the field that is filled; empty: the whole message
	text   codec.Plan
	// message is the type that the body is, nil where it is not one message.
	message  protoreflect.MessageDescriptor
	httpBody bool
}

type bodyKind int

const (
	noBody bodyKind = iota
	wholeBody
	fieldBody
)

// answerPlan is which part of the response message the response is.
type answerPlan struct {
	fields   []protoreflect.FieldDescriptor
	text     codec.Plan
	message  protoreflect.MessageDescriptor // as in bodyPlan
	httpBody bool
}

// compiler builds plans. Bindings of one method, and messages that many
// methods share, are compiled once.
type compiler struct {
	opts     *Options
	system   map[string]bool
	settings map[*rpc.Method]*settings
	texts    map[textKey]codec.Plan
}

type textKey struct {
	message, field protoreflect.FullName
	opts           codec.Options
}

func newCompiler(opts *Options) *compiler {
	c := &compiler{opts: opts, system: map[string]bool{"$alt": true, "$fields": true}, settings: map[*rpc.Method]*settings{}, texts: map[textKey]codec.Plan{}}
	for _, name := range opts.SystemQuery {
		c.system[name] = true
	}
	return c
}

func newPlans(bindings []*rpc.Binding, opts *Options) ([]*plan, error) {
	c := newCompiler(opts)
	plans := make([]*plan, len(bindings))
	var errs []error
	for _, b := range bindings {
		if b.ID < 0 || b.ID >= len(plans) || plans[b.ID] != nil {
			return nil, fmt.Errorf("binding %s %s: its ID %d is not dense", b.HTTPMethod, b.Template, b.ID)
		}
		p, err := c.plan(b)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %s %s: %w", b.Origin, b.HTTPMethod, b.Template, err))
			continue
		}
		plans[b.ID] = p
	}
	return plans, errors.Join(errs...)
}

func (c *compiler) plan(b *rpc.Binding) (*plan, error) {
	set := c.settings[b.Method]
	if set == nil {
		set = newSettings(c.opts, c.system, b.Method)
		c.settings[b.Method] = set
	}
	p := &plan{binding: b, set: set, input: b.Method.Desc.Input()}
	p.required = hasRequired(p.input, map[protoreflect.FullName]bool{})
	for i, v := range b.Variables {
		if err := checkVariable(v, set.lax); err != nil {
			return nil, err
		}
		p.guard = p.guard.add(v.Fields, i)
	}
	if err := c.planBody(p); err != nil {
		return nil, err
	}
	if err := c.planAnswer(p); err != nil {
		return nil, err
	}
	if err := c.planStream(p); err != nil {
		return nil, err
	}
	if b.HTTPMethod == http.MethodPatch {
		p.mask = newMaskPlan(p)
	}
	return p, nil
}

func checkVariable(v rpc.Variable, lax bool) error {
	if len(v.Fields) == 0 {
		return fmt.Errorf("path variable %q names no field", v.Path)
	}
	leaf := v.Fields[len(v.Fields)-1]
	switch {
	case leaf.IsMap(), leaf.IsList() && (!lax || leaf.Message() != nil):
		return fmt.Errorf("path variable %q: a repeated or map field cannot be bound by the path", v.Path)
	case leaf.Message() != nil && !isTextual(leaf.Message()):
		return fmt.Errorf("path variable %q: a message field cannot be bound by the path", v.Path)
	}
	return nil
}

const httpBodyName = "google.api.HttpBody"

func (c *compiler) planBody(p *plan) error {
	b := &p.body
	switch p.binding.Body {
	case "":
		return nil
	case "*":
		b.kind, b.message = wholeBody, p.input
	default:
		b.kind = fieldBody
		var err error
		if b.fields, err = resolve(p.input, p.binding.Body); err != nil {
			return fmt.Errorf("body: %w", err)
		}
		b.message = singular(b.fields)
	}
	b.httpBody = b.message != nil && b.message.FullName() == httpBodyName
	var err error
	opts := p.set.codec
	opts.AllowPartial = p.required // path and query add to the body
	b.text, err = c.text(p.input, b.fields, opts)
	return err
}

func (c *compiler) planAnswer(p *plan) error {
	out := &p.out
	out.message = p.binding.Method.Desc.Output()
	if p.binding.ResponseBody != "" && p.binding.ResponseBody != "*" {
		var err error
		if out.fields, err = resolve(out.message, p.binding.ResponseBody); err != nil {
			return fmt.Errorf("response_body: %w", err)
		}
		out.message = singular(out.fields)
	}
	out.httpBody = out.message != nil && out.message.FullName() == httpBodyName
	var err error
	out.text, err = c.text(p.binding.Method.Desc.Output(), out.fields, p.set.codec)
	return err
}

// text returns the codec's plan for the last of fields, or for message when there is none.
func (c *compiler) text(message protoreflect.MessageDescriptor, fields []protoreflect.FieldDescriptor, opts codec.Options) (codec.Plan, error) {
	root := codec.Root{Message: message}
	key := textKey{message: message.FullName(), opts: opts}
	if n := len(fields); n > 0 {
		root = codec.Root{Message: fields[n-1].ContainingMessage(), Field: fields[n-1]}
		key.message, key.field = root.Message.FullName(), root.Field.FullName()
	}
	key.opts.Resolver = nil // the same for all, and perhaps not comparable
	if p, ok := c.texts[key]; ok {
		return p, nil
	}
	p, err := c.opts.Codec.Compile(root, opts)
	if err == nil {
		c.texts[key] = p
	}
	return p, err
}

// resolve returns the fields along a dotted path from md; all but the last are
// singular messages.
func resolve(md protoreflect.MessageDescriptor, path string) ([]protoreflect.FieldDescriptor, error) {
	var fields []protoreflect.FieldDescriptor
	for name := range strings.SplitSeq(path, ".") {
		if md == nil {
			return nil, fmt.Errorf("%q: %s is not a message", path, fields[len(fields)-1].Name())
		}
		fd := fieldByName(md, name)
		if fd == nil {
			return nil, fmt.Errorf("%q: %s has no field %q", path, md.FullName(), name)
		}
		fields = append(fields, fd)
		md = singular(fields)
	}
	return fields, nil
}

// singular returns the message type of the last of fields, nil where it is
// not one message.
func singular(fields []protoreflect.FieldDescriptor) protoreflect.MessageDescriptor {
	fd := fields[len(fields)-1]
	if fd.IsList() || fd.IsMap() {
		return nil
	}
	return fd.Message()
}

// fieldByName finds a field by either of its names. A JSON name wins over
// another field's proto name, as in ProtoJSON.
func fieldByName(md protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	fields := md.Fields()
	if fd := fields.ByJSONName(name); fd != nil {
		return fd
	}
	return fields.ByName(protoreflect.Name(name))
}

// pathOf spells fields as a field path: "sub.name".
func pathOf(fields []protoreflect.FieldDescriptor) string {
	if len(fields) == 1 {
		return string(fields[0].Name())
	}
	names := make([]string, len(fields))
	for i, fd := range fields {
		names[i] = string(fd.Name())
	}
	return strings.Join(names, ".")
}
