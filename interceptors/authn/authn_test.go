package authn_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
	"github.com/transomhq/transom/interceptors/authn"
	"github.com/transomhq/transom/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// names is a verifier whose credentials are "<subject>" or "<subject>:<lifetime>".
type names struct{}

func (names) Verify(_ context.Context, c authn.Credential) (*rpc.Principal, error) {
	name, lifetime, _ := strings.Cut(c.Text, ":")
	switch name {
	case "":
		return nil, authn.Refuse(authn.Invalid, "nobody", nil)
	case "down":
		return nil, errors.New("private: 10.0.0.7 is down")
	}
	p := &rpc.Principal{Subject: name, Issuer: "names", CredentialID: c.Text}
	if d, err := time.ParseDuration(lifetime); err == nil {
		p.Expiry = time.Now().Add(d)
	}
	return p, nil
}

func newGuard(t testing.TB, change func(*authn.Options)) *authn.Guard {
	t.Helper()
	opts := authn.Options{Authenticators: []authn.Authenticator{{
		Name: "names", Verifier: names{}, Challenge: "Bearer", Carriers: []authn.Carrier{authn.Header("authorization", "Bearer")},
	}}}
	if change != nil {
		change(&opts)
	}
	g, err := authn.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func with(ctx context.Context, credential string) context.Context {
	return metadata.NewIncomingContext(ctx, metadata.Pairs("authorization", "Bearer "+credential))
}

// In a server without the gateway there is no record of the call yet.
func TestAnyServer(t *testing.T) {
	g := newGuard(t, func(o *authn.Options) { o.Policies = map[string]*policyv1.Authn{"/p.S/Open": {Public: true}} })
	handler := func(ctx context.Context, _ any) (any, error) {
		if p := rpc.FromContext(ctx).Principal(); p != nil {
			return p.Subject, nil
		}
		return "anonymous", nil
	}
	for _, tt := range []struct {
		ctx    context.Context
		method string
		want   any
		code   codes.Code
	}{
		{with(t.Context(), "ann"), "/p.S/M", "ann", codes.OK},
		{t.Context(), "/p.S/M", nil, codes.Unauthenticated},
		{t.Context(), "/p.S/Open", "anonymous", codes.OK},
		{with(t.Context(), "ann"), "/p.S/Open", "ann", codes.OK},
		{with(t.Context(), ""), "/p.S/Open", nil, codes.Unauthenticated},
		{with(t.Context(), "down"), "/p.S/M", nil, codes.Unavailable},
	} {
		got, err := g.Unary()(tt.ctx, nil, &grpc.UnaryServerInfo{FullMethod: tt.method}, handler)
		if got != tt.want || rpc.StatusOf(err).Code() != tt.code {
			t.Errorf("%s: %v, %v", tt.method, got, err)
		}
		if strings.Contains(rpc.StatusOf(err).Message(), "10.0.0.7") {
			t.Errorf("a cause is public: %v", rpc.StatusOf(err))
		}
	}
}

// fakeStream is a stream that only has a context.
type fakeStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s fakeStream) Context() context.Context { return s.ctx }
func (fakeStream) SendMsg(any) error          { return nil }

// run opens a stream that lasts until its context ends, and gives its call away.
func run(g *authn.Guard, ctx context.Context, opened func(*rpc.Call)) error {
	return g.Stream()(nil, fakeStream{ctx: ctx}, &grpc.StreamServerInfo{FullMethod: "/p.S/Watch"}, func(_ any, ss grpc.ServerStream) error {
		opened(rpc.FromContext(ss.Context()))
		<-ss.Context().Done()
		if err := ss.SendMsg(nil); status.Code(err) != codes.Unauthenticated {
			return errors.New("a message passed after the end")
		}
		return ss.Context().Err()
	})
}

func TestStreamsEndAndAreRenewed(t *testing.T) {
	g := newGuard(t, nil)
	begin := time.Now()
	err := run(g, with(t.Context(), "ann:300ms"), func(call *rpc.Call) {
		if err := call.Renew(t.Context(), "bob:1h"); status.Code(err) != codes.Unauthenticated {
			t.Errorf("another caller renews: %v", err)
		}
		if err := call.Renew(t.Context(), "down"); rpc.StatusOf(err).Code() != codes.Unavailable {
			t.Errorf("got %v", err)
		}
		if err := call.Renew(t.Context(), "ann:600ms"); err != nil {
			t.Error(err)
		}
	})
	if took := time.Since(begin); took < 600*time.Millisecond || took > 1600*time.Millisecond {
		t.Errorf("ended after %s", took)
	}
	if !strings.Contains(err.Error(), "expired") || rpc.StatusOf(err).Code() != codes.Unauthenticated {
		t.Errorf("got %v", err)
	}
}

func TestGrace(t *testing.T) {
	g := newGuard(t, func(o *authn.Options) { o.Grace = 400 * time.Millisecond })
	begin := time.Now()
	_ = run(g, with(t.Context(), "ann:100ms"), func(*rpc.Call) {})
	if took := time.Since(begin); took < 500*time.Millisecond {
		t.Errorf("ended after %s, want 500ms", took)
	}
}

func TestRecheckEndsStreams(t *testing.T) {
	leases := new(authn.Leases)
	gone := make(chan struct{})
	g := newGuard(t, func(o *authn.Options) {
		o.Leases = leases
		o.Check = func(*rpc.Principal) error {
			select {
			case <-gone:
				return authn.Refuse(authn.Revoked, "the credential was revoked", nil)
			default:
				return nil
			}
		}
	})
	err := run(g, with(t.Context(), "ann"), func(*rpc.Call) {
		leases.Recheck() // nothing was revoked
		close(gone)
		leases.Recheck()
	})
	if rpc.StatusOf(err).Code() != codes.Unauthenticated || leases.Len() != 0 {
		t.Errorf("%v, %d left", err, leases.Len())
	}
}

func BenchmarkUnary(b *testing.B) {
	g := newGuard(b, nil)
	ctx := rpc.NewContext(with(b.Context(), "ann"), rpc.NewCall(nil))
	unary, info := g.Unary(), &grpc.UnaryServerInfo{FullMethod: "/p.S/M"}
	next := func(context.Context, any) (any, error) { return nil, nil }
	b.ReportAllocs()
	for b.Loop() {
		if _, err := unary(ctx, nil, info, next); err != nil {
			b.Fatal(err)
		}
	}
}
