package fieldrules_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

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
	"github.com/transomhq/transom/interceptors/fieldrules"
	"github.com/transomhq/transom/rpc"
)

const schema = `
edition = "2023";
package t;
import "google/protobuf/any.proto";
import "google/protobuf/field_mask.proto";
import "transom/policy/v1/policy.proto";
service S {
  rpc Get(Plain) returns (User);
  rpc Update(UpdateUser) returns (User);
  rpc Watch(stream UpdateUser) returns (stream User);
  rpc Plainly(Plain) returns (Plain);
}
message Plain { string id = 1; }
message UpdateUser { User user = 1; google.protobuf.FieldMask update_mask = 2; google.protobuf.Any extra = 3; }
message User {
  string name = 1;
  string email = 2 [(transom.policy.v1.field) = {read_scopes: ["pii", "admin"], write_scopes: "pii.write"}];
  repeated int32 marks = 3 [(transom.policy.v1.field).read_scopes = "marks"];
  User friend = 4;
  repeated User friends = 5;
  map<string, User> named = 6;
  User grouped = 7 [features.message_encoding = DELIMITED];
  google.protobuf.Any any = 8;
  Address address = 9;
}
message Address { string home_city = 1 [(transom.policy.v1.field).write_scopes = "city.write"]; string zip = 2; }
`

type testTypes struct{ *dynamicpb.Types }

func (t testTypes) RangeExtensionsByMessage(protoreflect.FullName, func(protoreflect.ExtensionType) bool) {
}

func compile(t testing.TB) (map[string]*rpc.Method, testTypes) {
	t.Helper()
	c := protocompile.Compiler{Resolver: protocompile.WithStandardImports(protocompile.CompositeResolver{
		&protocompile.SourceResolver{Accessor: protocompile.SourceAccessorFromMap(map[string]string{"t.proto": schema})},
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
	var registry protoregistry.Files
	if err := registry.RegisterFile(files[0]); err != nil {
		t.Fatal(err)
	}
	if !fieldrules.Declared(&registry) {
		t.Error("no guarded field was found")
	}
	return out, testTypes{dynamicpb.NewTypes(&registry)}
}

func message(t testing.TB, types testTypes, md protoreflect.MessageDescriptor, text string) *rpc.Message {
	t.Helper()
	d := dynamicpb.NewMessage(md)
	if err := (prototext.UnmarshalOptions{Resolver: types}).Unmarshal([]byte(text), d); err != nil {
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

func guard(methods map[string]*rpc.Method, types testTypes) *fieldrules.Guard {
	opts := fieldrules.Options{Types: types}
	for _, m := range methods {
		opts.Methods = append(opts.Methods, m.Desc)
	}
	return fieldrules.New(opts)
}

func contextOf(t testing.TB, scopes ...string) context.Context {
	call := rpc.NewCall(nil)
	call.SetPrincipal(&rpc.Principal{Subject: "ann", Scopes: scopes})
	return rpc.NewContext(t.Context(), call)
}

func TestResponsesAreRedacted(t *testing.T) {
	methods, types := compile(t)
	g, get := guard(methods, types), methods["Get"]
	for _, tt := range []struct {
		scopes   []string
		in, want string
	}{
		{nil, `name: "n" email: "e" marks: [1, 2]`, `name: "n"`},
		{[]string{"pii"}, `name: "n" email: "e" marks: [1, 2]`, `name: "n" email: "e"`},
		{[]string{"admin", "marks"}, `name: "n" email: "e" marks: [1, 2]`, `name: "n" email: "e" marks: [1, 2]`},
		{nil, `friend { email: "e" friend { email: "e" name: "deep" } }`, `friend { friend { name: "deep" } }`},
		{nil, `friends { email: "e" } friends { name: "b" marks: 1 }`, `friends {} friends { name: "b" }`},
		{nil, `named { key: "k" value { email: "e" name: "v" } }`, `named { key: "k" value { name: "v" } }`},
		{nil, `grouped { email: "e" name: "g" }`, `grouped { name: "g" }`},
		{nil, `any { [type.googleapis.com/t.User] { email: "e" name: "a" } }`, `any { [type.googleapis.com/t.User] { name: "a" } }`},
		{nil, `any { [type.googleapis.com/t.Plain] { id: "a" } }`, `any { [type.googleapis.com/t.Plain] { id: "a" } }`},
		{nil, `address { home_city: "c" }`, `address { home_city: "c" }`},
	} {
		resp, err := g.Unary()(contextOf(t, tt.scopes...), message(t, types, get.Desc.Input(), ""), &grpc.UnaryServerInfo{FullMethod: get.Name},
			func(context.Context, any) (any, error) { return message(t, types, get.Desc.Output(), tt.in), nil })
		if err != nil {
			t.Fatal(err)
		}
		view, err := resp.(*rpc.Message).View()
		want := message(t, types, get.Desc.Output(), tt.want)
		wanted, _ := want.View()
		if err != nil || !proto.Equal(view.Interface(), wanted.Interface()) {
			t.Errorf("%v %s: got %v, %v", tt.scopes, tt.in, view, err)
		}
	}
}

func TestWritesAreRefused(t *testing.T) {
	methods, types := compile(t)
	g, update := guard(methods, types), methods["Update"]
	for _, tt := range []struct {
		scopes    []string
		in, field string
	}{
		{nil, `user { name: "n" marks: 1 }`, ""},
		{nil, `user { email: "e" }`, "user.email"},
		{[]string{"pii.write"}, `user { email: "e" }`, ""},
		{[]string{"pii"}, `user { email: "e" }`, "user.email"},
		{nil, `user { friends { named { key: "k" value { email: "e" } } } }`, "user.friends.named.value.email"},
		{nil, `user { grouped { email: "e" } }`, "user.grouped.email"},
		{nil, `extra { [type.googleapis.com/t.User] { email: "e" } }`, "extra.value.email"},
		{nil, `update_mask { paths: "name" }`, ""},
		{nil, `update_mask { paths: "name" paths: "email" }`, "user.email"},
		{nil, `update_mask { paths: "*" }`, "user.email"},
		{nil, `update_mask { paths: "address" }`, "user.address.home_city"},
		{nil, `update_mask { paths: "address.homeCity" }`, "user.address.home_city"},
		{nil, `update_mask { paths: "address.zip" }`, ""},
		{nil, `update_mask { paths: "friend.friend.email" }`, "user.friend.friend.email"},
		{[]string{"pii.write", "city.write"}, `user { email: "e" } update_mask { paths: "*" }`, ""},
	} {
		called := false
		_, err := g.Unary()(contextOf(t, tt.scopes...), message(t, types, update.Desc.Input(), tt.in), &grpc.UnaryServerInfo{FullMethod: update.Name},
			func(context.Context, any) (any, error) {
				called = true
				return message(t, types, update.Desc.Output(), ""), nil
			})
		if called != (tt.field == "") {
			t.Errorf("%v %s: %v", tt.scopes, tt.in, err)
			continue
		}
		if err == nil {
			continue
		}
		st := rpc.StatusOf(err)
		info, ok := st.Details()[0].(*errdetails.ErrorInfo)
		if !ok || st.Code() != codes.PermissionDenied || info.GetMetadata()["field"] != tt.field || info.GetReason() != "FIELD_NOT_WRITABLE" {
			t.Errorf("%v %s: got %v %v", tt.scopes, tt.in, st, st.Details())
		}
	}
}

func TestAppliesWhereFieldsAreGuarded(t *testing.T) {
	methods, types := compile(t)
	g := guard(methods, types)
	for name, want := range map[string]bool{"Get": true, "Update": true, "Watch": true, "Plainly": false} {
		if g.Applies(methods[name].Name) != want {
			t.Errorf("%s: want %v", name, want)
		}
	}
}

// talk is a client that sends messages and keeps what it gets.
type talk struct {
	grpc.ServerStream
	ctx  context.Context
	msgs []*rpc.Message
	got  []string
}

func (f *talk) Context() context.Context { return f.ctx }

func (f *talk) RecvMsg(m any) error {
	if len(f.msgs) == 0 {
		return io.EOF
	}
	b, err := f.msgs[0].Bytes()
	m.(*rpc.Message).SetBytes(b)
	f.msgs = f.msgs[1:]
	return err
}

func (f *talk) SendMsg(m any) error {
	b, err := m.(*rpc.Message).Bytes()
	f.got = append(f.got, string(b))
	return err
}

func TestEveryMessageOfAStream(t *testing.T) {
	methods, types := compile(t)
	watch := methods["Watch"]
	in := watch.Desc.Input()
	f := &talk{ctx: contextOf(t), msgs: []*rpc.Message{message(t, types, in, `user { name: "a" }`), message(t, types, in, `user { email: "b" }`)}}
	err := guard(methods, types).Stream()(nil, f, &grpc.StreamServerInfo{FullMethod: watch.Name}, func(_ any, ss grpc.ServerStream) error {
		for {
			if err := ss.RecvMsg(rpc.NewMessage(in)); err != nil {
				return io.ErrUnexpectedEOF
			}
			if err := ss.SendMsg(message(t, types, watch.Desc.Output(), `name: "x" email: "secret"`)); err != nil {
				return err
			}
		}
	})
	if rpc.StatusOf(err).Code() != codes.PermissionDenied || len(f.got) != 1 || strings.Contains(f.got[0], "secret") || !strings.Contains(f.got[0], "x") {
		t.Errorf("got %q, %v", f.got, err)
	}
}

// In a service of its own, messages are generated types; policyv1.Policy has
// no guarded field and passes as it is.
func TestOtherMessagesPass(t *testing.T) {
	methods, types := compile(t)
	g := guard(methods, types)
	resp, err := g.Unary()(t.Context(), &policyv1.Policy{}, &grpc.UnaryServerInfo{FullMethod: "/other/Method"},
		func(context.Context, any) (any, error) { return &policyv1.Policy{}, nil })
	if _, ok := resp.(*policyv1.Policy); !ok || err != nil {
		t.Errorf("got %v, %v", resp, err)
	}
}

// What is left of any message is one in which no guarded field is set, and
// looking at it again changes nothing.
func FuzzRedact(f *testing.F) {
	methods, types := compile(f)
	get := methods["Get"]
	for _, text := range []string{`name: "n" email: "e" marks: [1, 2]`, `grouped { email: "e" }`, `named { key: "k" value { email: "e" } }`,
		`any { [type.googleapis.com/t.User] { email: "e" name: "a" } }`} {
		b, err := message(f, types, get.Desc.Output(), text).Bytes()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	unary, info := guard(methods, types).Unary(), &grpc.UnaryServerInfo{FullMethod: get.Name}
	f.Fuzz(func(t *testing.T, wire []byte) {
		redact := func(wire []byte) ([]byte, *rpc.Message, error) {
			resp, err := unary(contextOf(t), rpc.NewMessage(get.Desc.Input()), info, func(context.Context, any) (any, error) {
				m := rpc.NewMessage(get.Desc.Output())
				m.SetBytes(bytes.Clone(wire))
				return m, nil
			})
			if err != nil {
				return nil, nil, err
			}
			b, err := resp.(*rpc.Message).Bytes()
			return b, resp.(*rpc.Message), err
		}
		less, m, err := redact(wire)
		if err != nil {
			return
		}
		if view, err := m.View(); err == nil {
			fields := get.Desc.Output().Fields()
			if view.Has(fields.ByName("email")) || view.Has(fields.ByName("marks")) {
				t.Errorf("%x keeps a guarded field: %v", wire, view)
			}
		}
		if again, _, err := redact(less); err != nil || !bytes.Equal(again, less) {
			t.Errorf("%x became %x and then %x, %v", wire, less, again, err)
		}
	})
}

func BenchmarkStrip(b *testing.B) {
	methods, types := compile(b)
	get := methods["Get"]
	unary, info := guard(methods, types).Unary(), &grpc.UnaryServerInfo{FullMethod: get.Name}
	wire, err := message(b, types, get.Desc.Output(), `name: "n" email: "e" marks: [1, 2] friends { name: "f" } friends { email: "e" }`).Bytes()
	if err != nil {
		b.Fatal(err)
	}
	req, ctx := rpc.NewMessage(get.Desc.Input()), contextOf(b)
	next := func(context.Context, any) (any, error) {
		m := rpc.NewMessage(get.Desc.Output())
		m.SetBytes(wire)
		return m, nil
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := unary(ctx, req, info, next); err != nil {
			b.Fatal(err)
		}
	}
}
