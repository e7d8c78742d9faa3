package ratelimit_test

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/reflect/protoreflect"

	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
	"github.com/transomhq/transom/interceptors/ratelimit"
	"github.com/transomhq/transom/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func limits(t testing.TB, text string) *policyv1.Limits {
	t.Helper()
	var l policyv1.Limits
	if err := prototext.Unmarshal([]byte(text), &l); err != nil {
		t.Fatal(err)
	}
	return &l
}

func testService() protoreflect.ServiceDescriptor {
	return testpb.File_grpc_testing_test_proto.Services().ByName("TestService")
}

// method is an RPC of grpc-go's interop test service under limits.
func method(t testing.TB, name protoreflect.Name, text string) ratelimit.Method {
	return ratelimit.Method{Desc: testService().Methods().ByName(name), Limits: limits(t, text), Origin: "test"}
}

const unary = "/grpc.testing.TestService/UnaryCall"

// call runs one unary call through a limiter as somebody.
func call(l *ratelimit.Limiter, p *rpc.Principal, from string, md ...string) error {
	return callWith(l, p, from, &testpb.SimpleRequest{}, md...)
}

func callWith(l *ratelimit.Limiter, p *rpc.Principal, from string, req *testpb.SimpleRequest, md ...string) error {
	c := rpc.NewCall(nil)
	if from != "" {
		c.Client = netip.MustParseAddr(from)
	}
	c.Update(func(o *rpc.Outcome) { o.Principal = p })
	ctx := metadata.NewIncomingContext(rpc.NewContext(context.Background(), c), metadata.Pairs(md...))
	_, err := l.Unary()(ctx, req, &grpc.UnaryServerInfo{FullMethod: unary}, func(context.Context, any) (any, error) { return nil, nil })
	return err
}

func build(t testing.TB, opts ratelimit.Options) *ratelimit.Limiter {
	t.Helper()
	l, err := ratelimit.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// who says who calls: two calls of the same key are one too many, and two of
// different keys are not.
type who struct {
	principal *rpc.Principal
	from      string
	md        []string
}

func TestKeys(t *testing.T) {
	ann := &rpc.Principal{Issuer: "idp", Subject: "ann", CredentialID: "k1", Consumer: "acme", Claims: map[string]any{"tenant": "t1", "org": map[string]any{"id": 7.0}}}
	ann2 := &rpc.Principal{Issuer: "idp", Subject: "ann", CredentialID: "k2", Consumer: "acme", Claims: map[string]any{"tenant": "t2", "org": map[string]any{"id": 7.0}}}
	bob := &rpc.Principal{Issuer: "idp", Subject: "bob", CredentialID: "k3", Consumer: "acme", Claims: map[string]any{"tenant": "t1"}}
	long := strings.Repeat("x", 5000)
	for _, tt := range []struct {
		name, key string
		a, b      who
		same      bool
	}{
		{"a principal by two credentials", "principal: true", who{ann, "1.1.1.1", nil}, who{ann2, "2.2.2.2", nil}, true},
		{"two principals", "principal: true", who{ann, "1.1.1.1", nil}, who{bob, "1.1.1.1", nil}, false},
		{"no principal: the address", "principal: true", who{nil, "1.1.1.1", nil}, who{nil, "1.1.1.1", nil}, true},
		{"no principal: two addresses", "principal: true", who{nil, "1.1.1.1", nil}, who{nil, "1.1.1.2", nil}, false},
		{"issuers that share a name", "principal: true", who{&rpc.Principal{Issuer: "a|b", Subject: "c"}, "", nil}, who{&rpc.Principal{Issuer: "a", Subject: "b|c"}, "", nil}, false},
		{"two credentials", "credential: true", who{ann, "1.1.1.1", nil}, who{ann2, "1.1.1.1", nil}, false},
		{"one consumer", "consumer: true", who{ann, "1.1.1.1", nil}, who{bob, "2.2.2.2", nil}, true},
		{"IPv6 of one network", "client_ip: true", who{nil, "2001:db8::1", nil}, who{nil, "2001:db8::ffff:1", nil}, true},
		{"IPv6 of two networks", "client_ip: true", who{nil, "2001:db8:0:1::1", nil}, who{nil, "2001:db8:0:2::1", nil}, false},
		{"IPv4 in IPv6", "client_ip: true", who{nil, "::ffff:1.1.1.1", nil}, who{nil, "1.1.1.1", nil}, true},
		{"metadata", `metadata: "X-Tenant"`, who{nil, "1.1.1.1", []string{"x-tenant", "a"}}, who{nil, "2.2.2.2", []string{"x-tenant", "a"}}, true},
		{"other metadata", `metadata: "x-tenant"`, who{nil, "1.1.1.1", []string{"x-tenant", "a"}}, who{nil, "1.1.1.1", []string{"x-tenant", "b"}}, false},
		{"metadata that looks like an address", `metadata: "x-tenant"`, who{nil, "1.1.1.1", nil}, who{nil, "2.2.2.2", []string{"x-tenant", "1.1.1.1"}}, false},
		{"long metadata", `metadata: "x-tenant"`, who{nil, "1.1.1.1", []string{"x-tenant", long + "a"}}, who{nil, "1.1.1.1", []string{"x-tenant", long + "b"}}, false},
		{"a claim", `claim: "tenant"`, who{ann, "1.1.1.1", nil}, who{bob, "2.2.2.2", nil}, true},
		{"a claim in a claim", `claim: "org.id"`, who{ann, "1.1.1.1", nil}, who{ann2, "2.2.2.2", nil}, true},
		{"a claim that is none", `claim: "org"`, who{ann, "1.1.1.1", nil}, who{ann2, "2.2.2.2", nil}, false},
		{"everybody", "global: true", who{ann, "1.1.1.1", nil}, who{nil, "2.2.2.2", nil}, true},
		{"CEL", `cel: "principal.claims.tenant + '/' + metadata['x-app'][0]"`, who{ann, "1.1.1.1", []string{"x-app", "a"}}, who{bob, "2.2.2.2", []string{"x-app", "a"}}, true},
		{"CEL that fails", `cel: "principal.claims.tenant"`, who{nil, "1.1.1.1", nil}, who{nil, "2.2.2.2", nil}, false},
		{"no key: the principal", "", who{ann, "1.1.1.1", nil}, who{ann2, "2.2.2.2", nil}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := "rates {requests: 1 per {seconds: 3600} "
			if tt.key != "" {
				text += "key {" + tt.key + "}"
			}
			l := build(t, ratelimit.Options{Methods: []ratelimit.Method{method(t, "UnaryCall", text+"}")}})
			if err := call(l, tt.a.principal, tt.a.from, tt.a.md...); err != nil {
				t.Fatal(err)
			}
			err := call(l, tt.b.principal, tt.b.from, tt.b.md...)
			if refused := status.Code(err) == codes.ResourceExhausted; refused != tt.same {
				t.Errorf("the second call: %v", err)
			}
		})
	}
}

func TestCELLooksAtTheRequest(t *testing.T) {
	l := build(t, ratelimit.Options{Methods: []ratelimit.Method{method(t, "UnaryCall",
		`rates {requests: 1 per {seconds: 3600} key {cel: "request.response_size > 100 ? 'large' : 'small'"}}`)}})
	for i, tt := range []struct {
		size int32
		want codes.Code
	}{{200, codes.OK}, {50, codes.OK}, {300, codes.ResourceExhausted}, {1, codes.ResourceExhausted}} {
		err := callWith(l, nil, "1.1.1.1", &testpb.SimpleRequest{ResponseSize: tt.size})
		if status.Code(err) != tt.want {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

func TestPlans(t *testing.T) {
	l := build(t, ratelimit.Options{
		Methods: []ratelimit.Method{method(t, "UnaryCall", "rates {bucket: 'own' requests: 3 per {seconds: 3600} key {global: true}}")},
		Plans: []ratelimit.Plan{
			{Name: "free", Limits: []ratelimit.PlanLimits{{Selectors: []rpc.Selector{"*"}, Limits: limits(t, "quotas {limit: 1 period: PERIOD_DAY}")}}},
			{Name: "gold", Consumers: []string{"acme"}, Credentials: []string{"vip"}},
		},
		DefaultPlan: "free",
	})
	free := &rpc.Principal{Subject: "f", Consumer: "other"}
	for i, tt := range []struct {
		p    *rpc.Principal
		want string // a part of the refusal
	}{
		{free, ""},
		{free, `quota "free-quota" of 1 per day is used up: try again in`},
		{&rpc.Principal{Subject: "a", Consumer: "acme"}, ""},
		{&rpc.Principal{Subject: "b", Consumer: "other", CredentialID: "vip"}, ""},
		{&rpc.Principal{Subject: "a", Consumer: "acme"}, `rate "own" of 3 per 1h is used up`}, // the method's own holds for all
	} {
		err := call(l, tt.p, "1.1.1.1")
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("call %d: %v, want %q", i, err, tt.want)
		}
	}
}

func TestMistakesAreReportedTogether(t *testing.T) {
	_, err := ratelimit.New(ratelimit.Options{
		Methods: []ratelimit.Method{
			method(t, "UnaryCall", `
				rates {requests: 1 per {seconds: 1} bucket: "a"}
				rates {requests: 2 per {seconds: 1} bucket: "a"}
				rates {requests: 0 per {seconds: 1}}
				rates {requests: 1}
				rates {requests: 1 per {seconds: 1} burst: 0}
				rates {requests: 1 per {seconds: 1} excess: EXCESS_DROP}
				rates {requests: 1 per {seconds: 1} key {request_field: "nope"}}
				rates {requests: 1 per {seconds: 1} key {request_field: "payload"}}
				rates {requests: 1 per {seconds: 1} key {cel: "request.nope"}}
				rates {requests: 1 per {seconds: 1} key {cel: "request.response_size"}}
				rates {requests: 1 per {seconds: 1} cost_field: "payload.body"}
				quotas {limit: 1}
				quotas {limit: 1 period: PERIOD_DAY bucket: "x\"y"}
				concurrency {limit: 0}`),
			method(t, "EmptyCall", `rates {requests: 5 per {seconds: 1} bucket: "a"}`),
		},
		Plans: []ratelimit.Plan{
			{Name: "p", Consumers: []string{"acme"}, Origin: "f:1:1"}, {Name: "p", Consumers: []string{"acme"}, Origin: "f:2:1"},
		},
		DefaultPlan: "q",
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		`f:2:1: plan "p" exists already`, `f:2:1: consumer "acme" belongs to plan "p" already`, `there is no plan "q"`,
		`test: limits of grpc.testing.TestService.UnaryCall: rates[1]: bucket: "a" is named twice: a call would be counted twice`,
		"rates[2]: requests: want at least 1", `rates[3]: per: want a time, as in "1s"`, "rates[4]: burst: want at least 1",
		"rates[5]: excess: is about the messages of a stream: it needs per_message",
		`rates[6]: key.request_field: "nope": grpc.testing.SimpleRequest has no field "nope"`,
		`rates[7]: key.request_field: "payload" of grpc.testing.SimpleRequest is not a single value`,
		"rates[8]: key.cel: ERROR", "rates[9]: key.cel: the expression is of type int, want string",
		`rates[10]: cost_field: "payload.body" of grpc.testing.SimpleRequest is neither a number nor a list`,
		"quotas[0]: period: want minute, hour, day or month", `quotas[1]: bucket: want a name`, "concurrency[0]: limit: want at least 1",
		`bucket: "a" is 5 per 1s here and 1 per 1s in grpc.testing.TestService.UnaryCall: who shares a bucket must agree on it`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("not reported: %s", want)
		}
	}
	if t.Failed() {
		t.Log(err)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	l := build(t, ratelimit.Options{
		Methods: []ratelimit.Method{method(t, "UnaryCall", `
			rates {requests: 1 per {seconds: 3600} key {global: true} bucket: "b"}
			rates {requests: 1 per {seconds: 3600} key {global: true} shadow: true}`)},
		Metrics: ratelimit.NewMetrics(reg),
	})
	for range 3 {
		_ = call(l, nil, "1.1.1.1")
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if m.GetCounter().GetValue() > 0 {
				got[m.GetLabel()[0].GetValue()+" "+m.GetLabel()[1].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	want := map[string]float64{
		"b allowed": 1, "b refused": 2,
		"grpc.testing.TestService.UnaryCall/rate[1] allowed": 1, "grpc.testing.TestService.UnaryCall/rate[1] shadow": 2,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// The interceptors limit any gRPC server, without the gateway.
func TestInAServerOfYourOwn(t *testing.T) {
	l := build(t, ratelimit.Options{Methods: []ratelimit.Method{
		method(t, "UnaryCall", `rates {requests: 10 per {seconds: 3600} key {client_ip: true} cost_field: "response_size"} max_request_bytes: 1000`),
		method(t, "FullDuplexCall", `rates {requests: 2 per {seconds: 3600} per_message: true key {client_ip: true}} concurrency {limit: 1 key {client_ip: true}}`),
	}})
	srv := grpc.NewServer(grpc.UnaryInterceptor(l.Unary()), grpc.StreamInterceptor(l.Stream()))
	testpb.RegisterTestServiceServer(srv, interop.NewTestServer())
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(lis) }()
	t.Cleanup(func() { srv.Stop(); <-done })
	conn, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	client := testpb.NewTestServiceClient(conn)

	var header metadata.MD
	if _, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{ResponseSize: 8}, grpc.Header(&header)); err != nil {
		t.Fatal(err)
	}
	if got := header["ratelimit"]; len(got) != 1 || got[0] != `"rate";r=2;t=2880` {
		t.Errorf("%v", header)
	}
	if _, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{ResponseSize: 8}, grpc.Header(&header)); status.Code(err) != codes.ResourceExhausted || header["retry-after"][0] != "2160" {
		t.Errorf("%v %v", err, header)
	}
	if _, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{Payload: &testpb.Payload{Body: make([]byte, 2000)}}); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "2006 bytes, more than the 1000") {
		t.Error(err)
	}
	stream, err := client.FullDuplexCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	in := &testpb.StreamingOutputCallRequest{ResponseParameters: []*testpb.ResponseParameters{{Size: 1}}}
	for i := range 3 {
		if err := stream.Send(in); err != nil {
			t.Fatal(err)
		}
		_, err := stream.Recv()
		if i < 2 && err != nil || i == 2 && status.Code(err) != codes.ResourceExhausted {
			t.Errorf("message %d: %v", i, err)
		}
	}
}

// failing is a store that cannot be asked.
type failing struct{}

func (failing) Take(context.Context, []ratelimit.Ask, []ratelimit.Decision) error {
	return errors.New("secret.internal:6379: connection refused")
}

func TestFailureModes(t *testing.T) {
	shared := ratelimit.NewShared(ratelimit.SharedOptions{Store: failing{}, Local: ratelimit.NewMemory(0)})
	for mode, want := range map[string]codes.Code{"LOCAL": codes.ResourceExhausted, "OPEN": codes.OK, "CLOSED": codes.Unavailable} {
		l := build(t, ratelimit.Options{Store: shared, Methods: []ratelimit.Method{
			method(t, "UnaryCall", "rates {requests: 1 per {seconds: 3600} bucket: '"+mode+"' failure_mode: FAILURE_MODE_"+mode+"}"),
		}})
		var err error
		for range 10 {
			err = call(l, nil, "1.1.1.1")
		}
		if status.Code(err) != want {
			t.Errorf("%s: %v", mode, err)
		}
		if err != nil && strings.Contains(status.Convert(err).Message(), "secret") {
			t.Errorf("%s: the public text says %v", mode, status.Convert(err))
		}
	}
}

func BenchmarkUnary(b *testing.B) {
	for name, text := range map[string]string{
		"client_ip":      "rates {requests: 1099511627776 per {seconds: 1} key {client_ip: true}}",
		"principal":      "rates {requests: 1099511627776 per {seconds: 1} key {principal: true}}",
		"rate and quota": "rates {requests: 1099511627776 per {seconds: 1} key {consumer: true}} quotas {limit: 1099511627776 period: PERIOD_DAY key {consumer: true}}",
		"concurrency":    "concurrency {limit: 1000 key {consumer: true}}",
	} {
		b.Run(name, func(b *testing.B) {
			l := build(b, ratelimit.Options{Methods: []ratelimit.Method{method(b, "UnaryCall", text)}, Metrics: ratelimit.NewMetrics(prometheus.NewRegistry())})
			c := rpc.NewCall(nil)
			c.Client = netip.MustParseAddr("2001:db8::1")
			c.Update(func(o *rpc.Outcome) {
				o.Principal = &rpc.Principal{Issuer: "https://idp.example.com", Subject: "ann", Consumer: "acme"}
			})
			ctx := grpc.NewContextWithServerTransportStream(rpc.NewContext(context.Background(), c), discard{})
			info := &grpc.UnaryServerInfo{FullMethod: unary}
			next := func(context.Context, any) (any, error) { return nil, nil }
			in, i := &testpb.SimpleRequest{}, l.Unary()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := i(ctx, in, info, next); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// discard is a transport whose metadata nobody reads.
type discard struct{}

func (discard) Method() string               { return unary }
func (discard) SetHeader(metadata.MD) error  { return nil }
func (discard) SendHeader(metadata.MD) error { return nil }
func (discard) SetTrailer(metadata.MD) error { return nil }
