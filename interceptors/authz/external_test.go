package authz_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"go.uber.org/goleak"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
	"github.com/transomhq/transom/interceptors/authz"
	"github.com/transomhq/transom/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// judge is an authorizer.
type judge struct {
	authv3.UnimplementedAuthorizationServer
	decide func(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error)
}

func (j *judge) Check(ctx context.Context, r *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return j.decide(ctx, r)
}

// serve starts an authorizer and returns a connection to it.
func serve(t *testing.T, j *judge) *grpc.ClientConn {
	srv := grpc.NewServer()
	authv3.RegisterAuthorizationServer(srv, j)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); srv.Stop(); <-done })
	return conn
}

func external(t *testing.T, m *rpc.Method, e *authz.External) *authz.Guard {
	t.Helper()
	g, err := authz.New(authz.Options{
		Methods:  []authz.Method{{Desc: m.Desc, Policy: &policyv1.Authz{External: "opa"}}},
		External: map[string]*authz.External{"opa": e},
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func header(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: name, Value: value}}
}

func TestExternalAllowsAndChangesHeaders(t *testing.T) {
	put := compile(t)["Put"]
	var got *authv3.AttributeContext
	conn := serve(t, &judge{decide: func(_ context.Context, r *authv3.CheckRequest) (*authv3.CheckResponse, error) {
		got = r.GetAttributes()
		return &authv3.CheckResponse{HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
			Headers:         []*corev3.HeaderValueOption{header("X-User", "ann"), header("grpc-timeout", "1S"), header("bad", "a\nb")},
			HeadersToRemove: []string{"X-Tenant"},
		}}}, nil
	}})
	g := external(t, put, &authz.External{Conn: conn, MaxMessageBytes: 100, Timeout: time.Minute})
	ctx := contextOf(t, ann(), "10.0.0.9")
	md, _ := metadata.FromIncomingContext(ctx)
	md.Set("x-user", "forged")
	_, err := g.Unary()(metadata.NewIncomingContext(ctx, md), message(t, put.Desc.Input(), `owner: "x"`), &grpc.UnaryServerInfo{FullMethod: put.Name},
		func(ctx context.Context, _ any) (any, error) {
			in, _ := metadata.FromIncomingContext(ctx)
			out, _ := metadata.FromOutgoingContext(ctx)
			if u := in["x-user"]; len(u) != 1 || u[0] != "ann" || out["x-user"][0] != "ann" || in["x-tenant"] != nil || out["grpc-timeout"] != nil || out["bad"] != nil {
				t.Errorf("in %v, out %v", in, out)
			}
			return nil, nil
		})
	if err != nil {
		t.Fatal(err)
	}
	http := got.GetRequest().GetHttp()
	if http.GetPath() != "/t.S/Put" || http.GetMethod() != "POST" || http.GetHeaders()["x-tenant"] != "acme,other" || http.GetHeaders()[":path"] != "/t.S/Put" ||
		string(http.GetRawBody()) != "\x00\x00\x00\x00\x03\x0a\x01x" || got.GetSource().GetPrincipal() != "ann" ||
		got.GetSource().GetAddress().GetSocketAddress().GetAddress() != "10.0.0.9" ||
		got.GetMetadataContext().GetFilterMetadata()["transom.principal"].GetFields()["claims"].GetStructValue().GetFields()["tenant"].GetStringValue() != "acme" {
		t.Errorf("asked about %v", got)
	}
}

func TestExternalDenies(t *testing.T) {
	put := compile(t)["Put"]
	for _, tt := range []struct {
		answer *authv3.CheckResponse
		code   codes.Code
		http   int
		text   string
	}{
		{&authv3.CheckResponse{Status: &statuspb.Status{Code: 7}}, codes.PermissionDenied, 0, "denied by policy"},
		{&authv3.CheckResponse{Status: &statuspb.Status{Code: 16}}, codes.Unauthenticated, 0, "denied by policy"},
		{&authv3.CheckResponse{Status: &statuspb.Status{Code: 0}, HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{}}}, codes.PermissionDenied, 0, "denied by policy"},
		{&authv3.CheckResponse{Status: &statuspb.Status{Code: 7}, HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
			Status: &typev3.HttpStatus{Code: 401}, Body: "log in first\n", Headers: []*corev3.HeaderValueOption{header("www-authenticate", "Bearer"), header("content-type", "text/html")},
		}}}, codes.Unauthenticated, 401, "log in first"},
	} {
		conn := serve(t, &judge{decide: func(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) { return tt.answer, nil }})
		g := external(t, put, &authz.External{Conn: conn, Timeout: time.Minute})
		_, err := g.Unary()(contextOf(t, ann(), ""), rpc.NewLazyMessage(put.Desc.Input(), unread{t}), &grpc.UnaryServerInfo{FullMethod: put.Name}, nil)
		var e *rpc.Error
		if !errors.As(err, &e) || e.Code != tt.code || e.HTTPStatus != tt.http || e.Message != tt.text {
			t.Errorf("%v: got %v", tt.answer, err)
		}
		if tt.http == 401 && (len(e.Header) != 2 || e.Header[0] != "Www-Authenticate") {
			t.Errorf("header %v", e.Header)
		}
	}
}

func TestExternalThatDoesNotAnswer(t *testing.T) {
	put, talk := compile(t)["Put"], compile(t)["Talk"]
	conn := serve(t, &judge{decide: func(ctx context.Context, _ *authv3.CheckRequest) (*authv3.CheckResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	next := func(context.Context, any) (any, error) { return nil, nil }
	closed := external(t, put, &authz.External{Conn: conn, Timeout: 10 * time.Millisecond})
	if _, err := closed.Unary()(contextOf(t, ann(), ""), nil, &grpc.UnaryServerInfo{FullMethod: put.Name}, next); rpc.StatusOf(err).Code() != codes.Unavailable {
		t.Errorf("closed: %v", err)
	}
	open := external(t, put, &authz.External{Conn: conn, Timeout: 10 * time.Millisecond, FailOpen: true})
	if _, err := open.Unary()(contextOf(t, ann(), ""), nil, &grpc.UnaryServerInfo{FullMethod: put.Name}, next); err != nil {
		t.Errorf("open: %v", err)
	}
	stream := external(t, talk, &authz.External{Conn: conn, Timeout: 10 * time.Millisecond})
	if err := stream.Stream()(nil, &feed{ctx: contextOf(t, ann(), "")}, &grpc.StreamServerInfo{FullMethod: talk.Name}, nil); rpc.StatusOf(err).Code() != codes.Unavailable {
		t.Errorf("stream: %v", err)
	}
	ctx, cancel := context.WithCancel(contextOf(t, ann(), ""))
	cancel()
	if _, err := open.Unary()(ctx, nil, &grpc.UnaryServerInfo{FullMethod: put.Name}, next); rpc.StatusOf(err).Code() != codes.Canceled {
		t.Errorf("canceled: %v", err)
	}
}
