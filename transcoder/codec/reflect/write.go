package reflectcodec

import (
	"encoding/json"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/transomhq/transom/transcoder/codec"
)

// AppendJSON decodes wire, prints it with protojson and lays the text out
// anew: protojson's own white space is random by design.
func (p *plan) AppendJSON(dst, wire []byte) (out []byte, err error) {
	defer recovered(dst, &out, &err, codec.BadWire)
	m := p.message()
	opts := proto.UnmarshalOptions{
		AllowPartial:   p.root.Field != nil,
		Resolver:       p.opts.Resolver,
		RecursionLimit: 3*p.opts.MaxDepth + 1, // a Value costs the wire two or three
	}
	if err := opts.Unmarshal(wire, m); err != nil {
		return dst, badWire(err)
	}
	if err := p.checkDepth(m.ProtoReflect(), p.opts.MaxDepth); err != nil {
		return dst, err
	}
	text, to, err := p.print(m.ProtoReflect())
	if err != nil {
		return dst, badWire(err)
	}
	l := layout{out: dst, text: text, indent: p.opts.Indent, bareInt64: p.opts.Int64AsNumber, resolver: p.opts.Resolver}
	l.value(to)
	if p.opts.MaxOutput > 0 && len(l.out)-len(dst) > p.opts.MaxOutput {
		return dst, tooLarge(p.opts.MaxOutput)
	}
	return l.out, nil
}

// recovered makes an error of a panic: protobuf-go has one for a proto2 map
// entry without its key in a dynamic message.
func recovered(dst []byte, out *[]byte, err *error, kind codec.Kind) {
	if r := recover(); r != nil {
		*out, *err = dst, &codec.Error{Kind: kind, Reason: "the message cannot be converted by reflection"}
	}
}

func badWire(err error) error {
	return &codec.Error{Kind: codec.BadWire, Reason: withoutPrefix(err)}
}

func (p *plan) marshalOptions() protojson.MarshalOptions {
	return protojson.MarshalOptions{
		AllowPartial:    p.root.Field != nil,
		UseProtoNames:   p.opts.UseProtoNames,
		UseEnumNumbers:  p.opts.UseEnumNumbers,
		EmitUnpopulated: p.opts.EmitUnpopulated,
		Resolver:        p.opts.Resolver,
	}
}

// print returns the root's text and what it is the text of.
func (p *plan) print(m protoreflect.Message) ([]byte, target, error) {
	f := p.root.Field
	if f == nil {
		text, err := p.marshalOptions().Marshal(m.Interface())
		return text, target{message: m.Descriptor()}, err
	}
	if !m.Has(f) {
		return p.printUnset(f)
	}
	if err := checkField(m, f); err != nil {
		return nil, target{}, err
	}
	alone := p.typ.New()
	alone.Set(f, m.Get(f))
	text, err := p.member(alone, f, p.marshalOptions())
	return text, targetOf(f), err
}

// printUnset is the text of a field without a value: an empty list or map, the
// default of a field without presence, an empty message; null for the others.
func (p *plan) printUnset(f protoreflect.FieldDescriptor) ([]byte, target, error) {
	switch {
	case f.IsList():
		return []byte("[]"), target{}, nil
	case f.IsMap():
		return []byte("{}"), target{}, nil
	case f.Message() != nil && !hasOwnForm(f.Message()):
		empty := p.typ.New().NewField(f).Message()
		text, err := p.marshalOptions().Marshal(empty.Interface())
		return text, targetOf(f), err
	case f.HasPresence():
		return []byte("null"), target{}, nil
	}
	opts := p.marshalOptions()
	opts.EmitDefaultValues = true
	text, err := p.member(p.typ.New(), f, opts)
	return text, targetOf(f), err
}

// member prints m and returns the text of one field.
func (p *plan) member(m protoreflect.Message, f protoreflect.FieldDescriptor, opts protojson.MarshalOptions) ([]byte, error) {
	text, err := opts.Marshal(m.Interface())
	if err != nil {
		return nil, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, err
	}
	name := f.JSONName()
	if p.opts.UseProtoNames {
		name = f.TextName()
	}
	return members[name], nil
}

// checkDepth counts messages as protojson does when it reads.
func (p *plan) checkDepth(m protoreflect.Message, left int) error {
	if left <= 0 {
		return &codec.Error{Kind: codec.TooLarge, Reason: "nested too deep"}
	}
	name := m.Descriptor().FullName()
	if name == "google.protobuf.Any" {
		return p.checkAnyDepth(m, left)
	}
	next := left - 1
	if name == "google.protobuf.Value" {
		next = left // a Struct or ListValue in a Value does not count by itself
	}
	var err error
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap() && f.MapValue().Message() != nil:
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				err = p.checkDepth(v.Message(), next)
				return err == nil
			})
		case f.IsList() && f.Message() != nil:
			for i := 0; i < v.List().Len() && err == nil; i++ {
				err = p.checkDepth(v.List().Get(i).Message(), next)
			}
		case !f.IsMap() && !f.IsList() && f.Message() != nil:
			err = p.checkDepth(v.Message(), next)
		}
		return err == nil
	})
	return err
}

func (p *plan) checkAnyDepth(m protoreflect.Message, left int) error {
	fields := m.Descriptor().Fields()
	url := m.Get(fields.ByNumber(1)).String()
	typ, err := p.opts.Resolver.FindMessageByURL(url)
	if err != nil {
		return nil //nolint:nilerr // protojson says so
	}
	inner := typ.New()
	opts := proto.UnmarshalOptions{AllowPartial: true, Resolver: p.opts.Resolver, RecursionLimit: 3*left + 1}
	if opts.Unmarshal(m.Get(fields.ByNumber(2)).Bytes(), inner.Interface()) != nil {
		return nil //nolint:nilerr // protojson says so
	}
	if hasOwnForm(inner.Descriptor()) && inner.Descriptor().FullName() != "google.protobuf.Any" {
		left++ // read without counting
	}
	return p.checkDepth(inner, left-1)
}

// hasOwnForm reports whether a type's JSON is not an object of its fields.
func hasOwnForm(m protoreflect.MessageDescriptor) bool {
	switch m.FullName() {
	case "google.protobuf.Any", "google.protobuf.Timestamp", "google.protobuf.Duration",
		"google.protobuf.BoolValue", "google.protobuf.StringValue", "google.protobuf.BytesValue",
		"google.protobuf.Int32Value", "google.protobuf.Int64Value",
		"google.protobuf.UInt32Value", "google.protobuf.UInt64Value",
		"google.protobuf.FloatValue", "google.protobuf.DoubleValue",
		"google.protobuf.Struct", "google.protobuf.ListValue", "google.protobuf.Value",
		"google.protobuf.FieldMask":
		return true
	}
	return false
}
