package reflectcodec

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/transomhq/transom/transcoder/codec"
)

func compile(t *testing.T, m proto.Message, field string, opts codec.Options) codec.Plan {
	t.Helper()
	root := codec.Root{Message: m.ProtoReflect().Descriptor()}
	if field != "" {
		root.Field = root.Message.Fields().ByName(protoreflect.Name(field))
	}
	p, err := New().Compile(root, opts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestReadErrors(t *testing.T) {
	file := &descriptorpb.FileDescriptorProto{}
	for _, tc := range []struct {
		field, text string
		kind        codec.Kind
		pointer     string
		line, col   int
	}{
		{"", `{"nam": "x"}`, codec.UnknownField, "/nam", 1, 2},
		{"", "{\n \"messageType\": [{}, {\"name\": 1}]}", codec.BadText, "/messageType/1/name", 2, 31},
		{"", `{"name": "a", "name": "b"}`, codec.BadText, "/name", 1, 15},
		{"", `{"messageType": [], "message_type": []}`, codec.BadText, "/message_type", 1, 21},
		{"", `{"name": "\ud800"}`, codec.BadText, "/name", 1, 11},
		{"", `{} {}`, codec.BadText, "", 1, 4},
		{"", ``, codec.BadText, "", 1, 1},
		{"", "{\"é\": 1, \"name\": 2}", codec.UnknownField, "/é", 1, 2},
		{"message_type", "[\n{\"é\": 1}]", codec.UnknownField, "/0/é", 2, 2},
		{"name", `"x"}, {"a": "b"`, codec.BadText, "", 1, 4},
		{"public_dependency", `[1e]`, codec.BadText, "/0", 1, 2},
		{"message_type", strings.Repeat(`[{"nestedType":`, 120) + `[]` + strings.Repeat(`}]`, 120), codec.TooLarge, "", 0, 0},
	} {
		_, err := compile(t, file, tc.field, codec.Options{}).AppendWire(nil, []byte(tc.text))
		var e *codec.Error
		if !errors.As(err, &e) {
			t.Errorf("%s: error %v", tc.text, err)
			continue
		}
		if e.Kind != tc.kind || e.Pointer != tc.pointer || e.Line != tc.line || e.Column != tc.col {
			t.Errorf("%.80s: %+v, want kind %d at %s %d:%d", tc.text, *e, tc.kind, tc.pointer, tc.line, tc.col)
		}
	}
}

func TestWrite(t *testing.T) {
	inner, _ := anypb.New(wrapperspb.Int64(7))
	value, _ := structpb.NewStruct(map[string]any{"a": []any{1.0, "x"}, "b": map[string]any{}})
	for _, tc := range []struct {
		name, field string
		message     proto.Message
		opts        codec.Options
		want        string
	}{
		{"plain", "", value, codec.Options{}, `{"a":[1,"x"],"b":{}}`},
		{"indented", "", value, codec.Options{Indent: 2}, "{\n  \"a\": [\n    1,\n    \"x\"\n  ],\n  \"b\": {}\n}"},
		{"any", "", inner, codec.Options{}, `{"@type":"type.googleapis.com/google.protobuf.Int64Value","value":"7"}`},
		{"bare", "", inner, codec.Options{Int64AsNumber: true}, `{"@type":"type.googleapis.com/google.protobuf.Int64Value","value":7}`},
		{"bare", "", &descriptorpb.UninterpretedOption{PositiveIntValue: proto.Uint64(9)}, codec.Options{Int64AsNumber: true}, `{"positiveIntValue":9}`},
		{"list", "dependency", &descriptorpb.FileDescriptorProto{Dependency: []string{"a"}}, codec.Options{}, `["a"]`},
		{"unset list", "dependency", &descriptorpb.FileDescriptorProto{}, codec.Options{}, `[]`},
		{"unset message", "options", &descriptorpb.FileDescriptorProto{}, codec.Options{}, `{}`},
		{"unset scalar", "name", &descriptorpb.FileDescriptorProto{}, codec.Options{}, `null`},
		{"scalar", "name", &descriptorpb.FileDescriptorProto{Name: proto.String("n")}, codec.Options{}, `"n"`},
	} {
		wire, _ := proto.Marshal(tc.message)
		p := compile(t, tc.message, tc.field, tc.opts)
		got, err := p.AppendJSON([]byte("x"), wire)
		if err != nil || string(got) != "x"+tc.want {
			t.Errorf("%s: %s, %v, want %s", tc.name, got, err, tc.want)
		}
		if _, err := p.AppendJSON(nil, []byte{0xff}); err == nil {
			t.Errorf("%s: truncated wire bytes were accepted", tc.name)
		}
		tc.opts.MaxOutput = 1
		_, err = compile(t, tc.message, tc.field, tc.opts).AppendJSON(nil, wire)
		var e *codec.Error
		if !errors.As(err, &e) || e.Kind != codec.TooLarge {
			t.Errorf("%s: %v, want too large", tc.name, err)
		}
	}
}

func TestFieldRootReads(t *testing.T) {
	m := &descriptorpb.FileDescriptorProto{}
	wire, err := compile(t, m, "dependency", codec.Options{}).AppendWire([]byte{}, []byte(`["a","b"]`))
	if err != nil || proto.Unmarshal(wire, m) != nil {
		t.Fatal(err)
	}
	if len(m.Dependency) != 2 {
		t.Errorf("got %s", protojson.Format(m))
	}
}
