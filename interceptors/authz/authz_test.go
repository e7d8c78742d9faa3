package authz_test

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
	"github.com/transomhq/transom/interceptors/authz"
	"github.com/transomhq/transom/rpc"
)

var sources = map[string]string{
	"part.proto": `syntax = "proto3"; package t; message Part { string sku = 1; repeated int64 sizes = 2; }`,
	"t.proto": `
syntax = "proto3";
package t;
import "part.proto";
service S {
  rpc Put(Item) returns (Item);
  rpc Talk(stream Item) returns (stream Item);
}
message Item { string owner = 1; Part part = 2; map<string, string> labels = 3; }
`}

func compile(t testing.TB) map[string]*rpc.Method {
	t.Helper()
	c := protocompile.Compiler{Resolver: &protocompile.SourceResolver{Accessor: protocompile.SourceAccessorFromMap(sources)}}
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

func policy(t testing.TB, text string) *policyv1.Authz {
	t.Helper()
	p := new(policyv1.Authz)
	if err := prototext.Unmarshal([]byte(text), p); err != nil {
		t.Fatal(err)
	}
	return p
}

func guard(t testing.TB, m *rpc.Method, text string) *authz.Guard {
	t.Helper()
	g, err := authz.New(authz.Options{Methods: []authz.Method{{Desc: m.Desc, Policy: policy(t, text), Origin: "t.yaml:1:2"}}})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func ann() *rpc.Principal {
	return &rpc.Principal{
		Subject: "ann", Issuer: "https://issuer", Scopes: []string{"read", "write"}, Roles: []string{"clerk"}, Method: "jwt",
		Claims: map[string]any{"tenant": "acme", "level": float64(3), "groups": []any{"a", "b"}},
	}
}

func contextOf(t testing.TB, who *rpc.Principal, ip string) context.Context {
	call := rpc.NewCall(nil)
	if who != nil {
		call.SetPrincipal(who)
	}
	if ip != "" {
		call.Client = netip.MustParseAddr(ip)
	}
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("x-tenant", "acme", "x-tenant", "other"))
	return rpc.NewContext(ctx, call)
}

func TestUnary(t *testing.T) {
	methods := compile(t)
	put := methods["Put"]
	for _, tt := range []struct {
		policy, request string
		who             *rpc.Principal
		ip              string
		reason, text    string // "" passes
	}{
		{`scopes: "read" scopes: "write"`, "", ann(), "", "", ""},
		{`scopes: "read" scopes: "admin"`, "", ann(), "", "MISSING_SCOPE", "the call needs the scopes read, admin"},
		{`any_scope: "admin" any_scope: "read"`, "", ann(), "", "", ""},
		{`any_scope: "admin" any_scope: "root"`, "", ann(), "", "MISSING_SCOPE", "the call needs one of the scopes admin, root"},
		{`scopes: "read"`, "", nil, "", "MISSING_CREDENTIAL", "the call needs a credential"},
		{`roles: "clerk"`, "", ann(), "", "", ""},
		{`roles: "boss"`, "", ann(), "", "MISSING_ROLE", "the call needs the role boss"},
		{`any_role: "boss" any_role: "clerk"`, "", ann(), "", "", ""},
		{`any_role: "boss"`, "", nil, "", "MISSING_CREDENTIAL", "the call needs a credential"},
		{`scopes: "read" roles: "boss"`, "", ann(), "", "MISSING_ROLE", "the call needs the role boss"},
		{`deny: true`, "", ann(), "", "DENIED", "nobody may call this method"},
		{`allow_ips: "10.0.0.0/8" allow_ips: "2001:db8::/32"`, "", nil, "10.1.2.3", "", ""},
		{`allow_ips: "10.0.0.0/8"`, "", nil, "::ffff:10.1.2.3", "", ""},
		{`allow_ips: "2001:db8::/32"`, "", nil, "2001:db8::7", "", ""},
		{`allow_ips: "10.0.0.0/8"`, "", ann(), "11.1.2.3", "ADDRESS_DENIED", "calls from this address are not allowed"},
		{`allow_ips: "10.0.0.0/8"`, "", ann(), "", "ADDRESS_DENIED", "calls from this address are not allowed"},
		{`allow_ips: "10.0.0.0/8" deny_ips: "10.0.0.1"`, "", nil, "10.0.0.1", "ADDRESS_DENIED", "calls from this address are not allowed"},
		{`deny_ips: "10.0.0.1"`, "", nil, "10.0.0.2", "", ""},
		{`rules { cel: "principal.claims.tenant == metadata['x-tenant'][0]" }`, "", ann(), "", "", ""},
		{`rules { cel: "principal.claims.tenant == metadata['x-tenant'][1]" message: "not your tenant" }`, "", ann(), "", "DENIED_BY_RULE", "not your tenant"},
		{`rules { cel: "principal.claims.tenant == 'acme'" }`, "", nil, "", "DENIED_BY_RULE", "denied by policy"},
		{`rules { cel: "has(principal.claims.tenant) || !principal.authenticated" }`, "", nil, "", "", ""},
		{`rules { cel: "principal.claims.level >= 3 && 'b' in principal.claims.groups" }`, "", ann(), "", "", ""},
		{`rules { cel: "'read' in principal.scopes && principal.issuer.startsWith('https://')" }`, "", ann(), "", "", ""},
		{`rules { cel: "sets.contains(principal.scopes, ['read', 'write'])" }`, "", ann(), "", "", ""},
		{`rules { cel: "cidr('10.0.0.0/8').containsIP(client.ip)" }`, "", nil, "10.1.1.1", "", ""},
		{`rules { cel: "method == '/t.S/Put' && now > timestamp('2020-01-01T00:00:00Z')" }`, "", nil, "", "", ""},
		{`rules { cel: "request.owner == principal.subject" }`, `owner: "ann"`, ann(), "", "", ""},
		{`rules { cel: "request.owner == principal.subject" message: "not yours" }`, `owner: "bob"`, ann(), "", "DENIED_BY_RULE", "not yours"},
		{`rules { cel: "request.part.sku.startsWith('A') && request.part.sizes.all(s, s < 10)" }`, `part { sku: "A1" sizes: 3 sizes: 9 }`, nil, "", "", ""},
		{`rules { cel: "request.part.sizes.all(s, s < 10)" }`, `part { sizes: 30 }`, nil, "", "DENIED_BY_RULE", "denied by policy"},
		{`rules { cel: "!has(request.part) && request.labels['a'] == 'b'" }`, `labels { key: "a" value: "b" }`, nil, "", "", ""},
		{`rules { cel: "request.labels['missing'] == 'b'" }`, ``, nil, "", "DENIED_BY_RULE", "denied by policy"},
		{`rules { cel: "request.part.sizes.all(a, request.part.sizes.all(b, a * b >= 0))" }`, `part { sizes: [` + strings.Repeat("1,", 999) + `1] }`, nil, "", "DENIED_BY_RULE", "denied by policy"},
		{``, "", nil, "", "", ""},
	} {
		g := guard(t, put, tt.policy)
		called := false
		_, err := g.Unary()(contextOf(t, tt.who, tt.ip), message(t, put.Desc.Input(), tt.request), &grpc.UnaryServerInfo{FullMethod: put.Name},
			func(context.Context, any) (any, error) { called = true; return nil, nil })
		if called != (tt.reason == "") || called != (err == nil) {
			t.Errorf("%s: got %v, want %s", tt.policy, err, tt.reason)
			continue
		}
		if err == nil {
			continue
		}
		st := rpc.StatusOf(err)
		want := codes.PermissionDenied
		if tt.reason == "MISSING_CREDENTIAL" {
			want = codes.Unauthenticated
		}
		info, ok := st.Details()[0].(*errdetails.ErrorInfo)
		if !ok || info.GetReason() != tt.reason || st.Message() != tt.text || st.Code() != want {
			t.Errorf("%s: got %v %v, want %s: %s", tt.policy, st, st.Details(), tt.reason, tt.text)
		}
	}
}

// unread is a body that must stay unread.
type unread struct{ t *testing.T }

func (u unread) Load(*rpc.Message) error { u.t.Error("the body was read"); return io.EOF }

func TestRefusesBeforeTheBodyIsRead(t *testing.T) {
	put := compile(t)["Put"]
	for _, text := range []string{`scopes: "admin" rules { cel: "request.owner == ''" }`, `rules { cel: "false" } rules { cel: "request.owner == ''" }`} {
		g := guard(t, put, text)
		_, err := g.Unary()(contextOf(t, ann(), ""), rpc.NewLazyMessage(put.Desc.Input(), unread{t}), &grpc.UnaryServerInfo{FullMethod: put.Name}, nil)
		if err == nil {
			t.Errorf("%s passed", text)
		}
	}
	g := guard(t, put, `scopes: "read" rules { cel: "principal.subject == 'ann'" }`)
	if _, err := g.Unary()(contextOf(t, ann(), ""), rpc.NewLazyMessage(put.Desc.Input(), unread{t}), &grpc.UnaryServerInfo{FullMethod: put.Name},
		func(context.Context, any) (any, error) { return nil, nil }); err != nil {
		t.Error(err)
	}
}

func TestMistakesAreLoadErrors(t *testing.T) {
	put := compile(t)["Put"]
	for text, want := range map[string]string{
		`rules { cel: "request.owner == 1" }`:         "t.yaml:1:2: authz of t.S.Put: rules[0]: cel: ERROR",
		`rules { cel: "request.nothing" }`:            "undefined field 'nothing'",
		`rules { cel: "request.part.nothing == ''" }`: "undefined field 'nothing'",
		`rules { cel: "principal.subjct == ''" }`:     "undeclared reference",
		`rules { cel: "request.owner" }`:              "the expression is of type string, want bool",
		`rules { cel: "" }`:                           "rules[0]: cel",
		`allow_ips: "10.0.0.0/40"`:                    `allow_ips[0]: want an address or a network such as "10.0.0.0/8", not "10.0.0.0/40"`,
		`external: "opa"`:                             `there is no authorizer "opa": none is configured`,
		`scopes: ""`:                                  "a scope or role is empty",
	} {
		_, err := authz.New(authz.Options{Methods: []authz.Method{{Desc: put.Desc, Policy: policy(t, text), Origin: "t.yaml:1:2"}}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

func TestDenyByDefault(t *testing.T) {
	put := compile(t)["Put"]
	for _, tt := range []struct {
		m    authz.Method
		pass bool
	}{
		{authz.Method{Desc: put.Desc}, false},
		{authz.Method{Desc: put.Desc, Public: true}, true},
		{authz.Method{Desc: put.Desc, Policy: &policyv1.Authz{}}, true},
	} {
		g, err := authz.New(authz.Options{Methods: []authz.Method{tt.m}, DenyByDefault: true})
		if err != nil {
			t.Fatal(err)
		}
		_, err = g.Unary()(contextOf(t, ann(), ""), nil, &grpc.UnaryServerInfo{FullMethod: put.Name}, func(context.Context, any) (any, error) { return nil, nil })
		if (err == nil) != tt.pass {
			t.Errorf("%+v: %v", tt.m, err)
		}
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

func TestStreams(t *testing.T) {
	talk := compile(t)["Talk"]
	in := talk.Desc.Input()
	for _, tt := range []struct {
		policy string
		owners []string
		passed int
		opened bool // the handler ran
		code   codes.Code
	}{
		{`scopes: "read"`, []string{"x", "y"}, 2, true, codes.OK},
		{`scopes: "admin"`, []string{"x"}, 0, false, codes.PermissionDenied},
		{`rules { cel: "request.owner == principal.subject" }`, []string{"ann", "ann"}, 2, true, codes.OK},
		{`rules { cel: "request.owner == principal.subject" }`, []string{"bob", "ann"}, 0, false, codes.PermissionDenied},
		{`rules { cel: "request.owner == principal.subject" }`, []string{"ann", "ann", "bob", "ann"}, 2, true, codes.PermissionDenied},
		{`rules { cel: "request.owner == principal.subject" }`, nil, 0, false, codes.PermissionDenied},
		{`rules { cel: "request.owner != 'bob'" }`, nil, 0, true, codes.OK},
	} {
		f := &feed{ctx: contextOf(t, ann(), "")}
		for _, owner := range tt.owners {
			f.msgs = append(f.msgs, message(t, in, `owner: "`+owner+`"`))
		}
		passed, opened := 0, false
		err := guard(t, talk, tt.policy).Stream()(nil, f, &grpc.StreamServerInfo{FullMethod: talk.Name}, func(_ any, ss grpc.ServerStream) error {
			opened = true
			for {
				msg := rpc.NewMessage(in)
				if err := ss.RecvMsg(msg); errors.Is(err, io.EOF) {
					return nil
				} else if err != nil {
					return io.ErrUnexpectedEOF
				}
				if msg.Len() == 0 {
					t.Error("an empty message was handed on")
				}
				passed++
			}
		})
		if passed != tt.passed || opened != tt.opened || rpc.StatusOf(err).Code() != tt.code {
			t.Errorf("%s %v: %d passed, opened: %v, %v", tt.policy, tt.owners, passed, opened, err)
		}
	}
}

func benchmark(b *testing.B, text string) {
	put := compile(b)["Put"]
	unary, info := guard(b, put, text).Unary(), &grpc.UnaryServerInfo{FullMethod: put.Name}
	req := message(b, put.Desc.Input(), `owner: "ann" part { sku: "A" }`)
	ctx := contextOf(b, ann(), "10.1.2.3")
	next := func(context.Context, any) (any, error) { return nil, nil }
	b.ReportAllocs()
	for b.Loop() {
		if _, err := unary(ctx, req, info, next); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkScopes(b *testing.B) { benchmark(b, `scopes: "read" any_role: "clerk"`) }
func BenchmarkAddresses(b *testing.B) {
	benchmark(b, `allow_ips: "10.0.0.0/8" deny_ips: "10.9.0.0/16"`)
}
func BenchmarkRule(b *testing.B) { benchmark(b, `rules { cel: "principal.claims.tenant == 'acme'" }`) }
func BenchmarkRuleOnRequest(b *testing.B) {
	benchmark(b, `rules { cel: "request.owner == principal.subject" }`)
}
