package validate_test

import (
	"context"
	"io"
	"strings"
	"testing"

	validatepb "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"github.com/bufbuild/protocompile"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
	"github.com/transomhq/transom/interceptors/validate"
	"github.com/transomhq/transom/rpc"
)

const schema = `
syntax = "proto3";
package t;
import "buf/validate/validate.proto";
service S {
  rpc Put(Item) returns (Plain);
  rpc Bare(Plain) returns (Plain);
  rpc Many(stream Item) returns (Plain);
  rpc Nested(Outer) returns (Plain);
}
message Plain { string anything = 1; Plain more = 2; }
message Outer { map<string, Item> items = 1; Outer self = 2; }
message Item {
  string name = 1 [(buf.validate.field).string = {min_len: 2, max_len: 9}];
  int32 size = 2 [(buf.validate.field).int32.gte = 0];
  repeated string tags = 3 [(buf.validate.field).repeated.items.string.pattern = "^[a-z]+$"];
  int32 least = 4;
  int32 most = 5;
  option (buf.validate.message).cel = {
    id: "range", message: "least is more than most", expression: "this.least <= this.most"
  };
}
`

// compile returns the methods of the schema, by name.
func compile(t testing.TB, text string) map[string]*rpc.Method {
	t.Helper()
	c := protocompile.Compiler{Resolver: protocompile.WithStandardImports(protocompile.CompositeResolver{
		&protocompile.SourceResolver{Accessor: protocompile.SourceAccessorFromMap(map[string]string{"t.proto": text})},
		protocompile.ResolverFunc(func(path string) (protocompile.SearchResult, error) {
			fd, err := protoregistry.GlobalFiles.FindFileByPath(path)
			return protocompile.SearchResult{Desc: fd}, err
		}),
	})}
	files, err := c.Compile(context.Background(), "t.proto")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*rpc.Method{}
	methods := files[0].Services().Get(0).Methods()
	for i := range methods.Len() {
		out[string(methods.Get(i).Name())] = rpc.NewMethod(methods.Get(i))
	}
	return out
}

func message(t testing.TB, md protoreflect.MessageDescriptor, text string) *rpc.Message {
	t.Helper()
	d := dynamicpb.NewMessage(md)
	if err := prototext.Unmarshal([]byte(text), d); err != nil {
		t.Fatal(err)
	}
	b, err := proto.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	m := rpc.NewMessage(md)
	m.SetBytes(b)
	return m
}

func checker(t testing.TB, methods map[string]*rpc.Method, mode policyv1.Validation_Mode) *validate.Checker {
	t.Helper()
	var opts validate.Options
	for _, m := range methods {
		opts.Methods = append(opts.Methods, validate.Method{Desc: m.Desc, Mode: mode})
	}
	c, err := validate.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestUnary(t *testing.T) {
	methods := compile(t, schema)
	c := checker(t, methods, policyv1.Validation_MODE_UNSPECIFIED)
	for _, tt := range []struct{ method, in, want, field, reason string }{
		{"Put", `name: "ok"`, "", "", ""},
		{"Put", `name: "x"`, "invalid request: name: must be at least 2 characters", "name", "STRING_MIN_LEN"},
		{"Put", `name: "ok" size: -1`, "invalid request: size: must be greater than or equal to 0", "size", "INT32_GTE"},
		{"Put", `name: "ok" tags: "a" tags: "B"`, "invalid request: tags[1]: does not match regex pattern `^[a-z]+$`", "tags[1]", "STRING_PATTERN"},
		{"Put", `name: "ok" least: 2 most: 1`, "invalid request: least is more than most", "", "RANGE"},
		{"Put", `name: "x" size: -1 tags: "B"`, "(and 2 more)", "name", "STRING_MIN_LEN"},
		{"Nested", `items { key: "k" value { name: "x" } }`, `invalid request: items["k"].name: must be at least 2 characters`, `items["k"].name`, "STRING_MIN_LEN"},
		{"Nested", `self { self { items { key: "k" value { name: "x" } } } }`, `self.self.items["k"].name`, `self.self.items["k"].name`, "STRING_MIN_LEN"},
	} {
		m := methods[tt.method]
		called := false
		_, err := c.Unary()(t.Context(), message(t, m.Desc.Input(), tt.in), &grpc.UnaryServerInfo{FullMethod: m.Name},
			func(context.Context, any) (any, error) { called = true; return nil, nil })
		if (err == nil) != (tt.want == "") || called != (err == nil) {
			t.Errorf("%s: got %v, upstream was asked: %v", tt.in, err, called)
			continue
		}
		if err == nil {
			continue
		}
		st := rpc.StatusOf(err)
		if st.Code() != codes.InvalidArgument || !strings.Contains(st.Message(), tt.want) {
			t.Errorf("%s: got %v, want %s", tt.in, st, tt.want)
		}
		bad, ok := st.Details()[0].(*errdetails.BadRequest)
		if !ok || bad.GetFieldViolations()[0].GetField() != tt.field || bad.GetFieldViolations()[0].GetReason() != tt.reason {
			t.Errorf("%s: details are %v", tt.in, st.Details())
		}
		if _, ok := st.Details()[1].(*validatepb.Violations); !ok {
			t.Errorf("%s: details are %v", tt.in, st.Details())
		}
	}
}

func TestAppliesWhereRulesExist(t *testing.T) {
	methods := compile(t, schema)
	c := checker(t, methods, policyv1.Validation_MODE_UNSPECIFIED)
	for name, want := range map[string]bool{"Put": true, "Many": true, "Nested": true, "Bare": false} {
		if got := c.Applies(methods[name].Name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if checker(t, methods, policyv1.Validation_MODE_OFF).Applies(methods["Put"].Name) {
		t.Error("off is not off")
	}
}

// Details stay small enough for a header, whatever a client sends.
func TestDetailsAreBounded(t *testing.T) {
	methods := compile(t, schema)
	c := checker(t, methods, policyv1.Validation_MODE_ENFORCE)
	for _, in := range []string{
		`name: "ok" ` + strings.Repeat(`tags: "B" `, 10_000),
		`items { key: "` + strings.Repeat("ü", 50_000) + `" value {} }`,
	} {
		m := methods["Put"]
		if strings.HasPrefix(in, "items") {
			m = methods["Nested"]
		}
		_, err := c.Unary()(t.Context(), message(t, m.Desc.Input(), in), &grpc.UnaryServerInfo{FullMethod: m.Name}, nil)
		if size := proto.Size(rpc.StatusOf(err).Proto()); size == 0 || size > 8<<10 {
			t.Errorf("the status has %d bytes", size)
		}
	}
}

func TestReportLetsPass(t *testing.T) {
	methods := compile(t, schema)
	c := checker(t, methods, policyv1.Validation_MODE_REPORT)
	call := rpc.NewCall(nil)
	_, err := c.Unary()(rpc.NewContext(t.Context(), call), message(t, methods["Put"].Desc.Input(), ``),
		&grpc.UnaryServerInfo{FullMethod: methods["Put"].Name}, func(context.Context, any) (any, error) { return nil, nil })
	if err != nil || len(call.Outcome().Attrs) != 1 || !strings.Contains(call.Outcome().Attrs[0].Value.String(), "name: must be") {
		t.Errorf("got %v, %v", err, call.Outcome().Attrs)
	}
}

func TestRulesThatCannotHoldAreLoadErrors(t *testing.T) {
	methods := compile(t, strings.ReplaceAll(schema, "this.least <= this.most", "this.nothing == 1"))
	var opts validate.Options
	for _, m := range methods {
		opts.Methods = append(opts.Methods, validate.Method{Desc: m.Desc})
	}
	_, err := validate.New(opts)
	if err == nil || !strings.Contains(err.Error(), "t.proto: validation rules of t.Item") || !strings.Contains(err.Error(), "undefined field 'nothing'") {
		t.Errorf("got %v", err)
	}
}

// feed is a client that sends messages.
type feed struct {
	grpc.ServerStream
	ctx  context.Context
	msgs []*rpc.Message
}

func (f *feed) Context() context.Context { return f.ctx }

func (f *feed) RecvMsg(m any) error {
	if len(f.msgs) == 0 {
		return io.EOF
	}
	b, err := f.msgs[0].Bytes()
	m.(*rpc.Message).SetBytes(b)
	f.msgs = f.msgs[1:]
	return err
}

func TestEveryMessageOfAStream(t *testing.T) {
	methods := compile(t, schema)
	m := methods["Many"]
	c := checker(t, methods, policyv1.Validation_MODE_UNSPECIFIED)
	in := m.Desc.Input()
	f := &feed{ctx: t.Context(), msgs: []*rpc.Message{message(t, in, `name: "one"`), message(t, in, `name: "two"`), message(t, in, `name: "3"`), message(t, in, `name: "four"`)}}
	passed := 0
	err := c.Stream()(nil, f, &grpc.StreamServerInfo{FullMethod: m.Name}, func(_ any, ss grpc.ServerStream) error {
		for {
			msg := rpc.NewMessage(in)
			if err := ss.RecvMsg(msg); err != nil {
				return io.ErrUnexpectedEOF // what a handler makes of it
			}
			passed++
		}
	})
	if passed != 2 || rpc.StatusOf(err).Code() != codes.InvalidArgument {
		t.Errorf("%d passed, then %v", passed, err)
	}
}

func BenchmarkUnary(b *testing.B) {
	methods := compile(b, schema)
	c := checker(b, methods, policyv1.Validation_MODE_UNSPECIFIED)
	unary, info := c.Unary(), &grpc.UnaryServerInfo{FullMethod: methods["Put"].Name}
	wire, err := message(b, methods["Put"].Desc.Input(), `name: "hello" size: 3 tags: "a" tags: "b"`).Bytes()
	if err != nil {
		b.Fatal(err)
	}
	next := func(context.Context, any) (any, error) { return nil, nil }
	ctx := context.Background()
	for b.Loop() {
		m := rpc.NewMessage(methods["Put"].Desc.Input())
		m.SetBytes(wire)
		if _, err := unary(ctx, m, info, next); err != nil {
			b.Fatal(err)
		}
	}
}
