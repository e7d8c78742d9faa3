package authn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
	"github.com/transomhq/transom/rpc"
)

// Options configure a Guard.
type Options struct {
	// Authenticators are tried in this order.
	Authenticators []Authenticator
	// Policies are those of the methods, by full name ("/pkg.Service/Method").
	// A method without one needs a credential that any authenticator accepts.
	Policies map[string]*policyv1.Authn
	// Realm is named in challenges. Empty: "api".
	Realm string
	// Check has the last word about a principal, such as whether its credential
	// was taken back; nil: there is none. An error that is no
	// *Refusal means that nobody can tell. It is asked on every call, and about
	// running streams, and must not block.
	Check func(*rpc.Principal) error
	// Forward says which metadata tell a backend who is calling.
	Forward Forward
	// Leases are the running streams, which gateways keep over reloads; nil
	// makes new ones.
	Leases *Leases
	// Grace is how long a stream goes on after its credential has expired, to
	// be renewed. A revoked one never has grace.
	Grace time.Duration
}

// Guard refuses calls whose caller did not prove who it is.
type Guard struct {
	opts  Options
	plans map[string]*plan
	other *plan // methods without a policy
}

// New returns a guard. Its error is every policy that cannot be honoured.
func New(opts Options) (*Guard, error) {
	if opts.Realm == "" {
		opts.Realm = "api"
	}
	if opts.Leases == nil {
		opts.Leases = new(Leases)
	}
	g := &Guard{opts: opts, plans: make(map[string]*plan, len(opts.Policies))}
	var errs []error
	for method, policy := range opts.Policies {
		p, err := g.newPlan(policy)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: authn: %w", method, err))
		}
		g.plans[method] = p
	}
	var err error
	if g.other, err = g.newPlan(nil); err != nil {
		// Without authenticators, a method that nobody spoke of is open.
		g.other = &plan{public: true}
	}
	return g, errors.Join(errs...)
}

// Applies reports whether there is anything to look at in calls of a method:
// not in those of a public one when nobody could prove who calls.
func (g *Guard) Applies(method string) bool {
	return !g.Public(method) || len(g.opts.Authenticators) > 0
}

// Public reports whether a method, given by its full name, needs no credential.
func (g *Guard) Public(method string) bool { return g.plan(method).public }

func (g *Guard) plan(method string) *plan {
	if p := g.plans[method]; p != nil {
		return p
	}
	return g.other
}

// Unary returns the interceptor for unary calls.
func (g *Guard) Unary() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		ctx, call := callOf(ctx)
		proof, err := g.prove(ctx, call, g.plan(info.FullMethod))
		if err != nil {
			return nil, err
		}
		return next(g.opts.Forward.add(ctx, proof.principal), req)
	}
}

// Stream returns the interceptor for all other calls.
func (g *Guard) Stream() grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		ctx, call := callOf(ss.Context())
		p := g.plan(info.FullMethod)
		proof, err := g.prove(ctx, call, p)
		if err != nil {
			return err
		}
		ctx = g.opts.Forward.add(ctx, proof.principal)
		if proof.principal == nil {
			return next(srv, &stream{ServerStream: ss, ctx: ctx})
		}
		return g.lease(ctx, call, p, proof, func(ctx context.Context, l *lease) error {
			return next(srv, &stream{ServerStream: ss, ctx: ctx, lease: l})
		})
	}
}

// proof is who is calling, and what proved it.
type proof struct {
	principal *rpc.Principal
	by        *Authenticator   // whose principal it is
	others    []*rpc.Principal // of further authenticators that had to accept
}

// prove finds out who is calling and puts it on the record.
func (g *Guard) prove(ctx context.Context, call *rpc.Call, p *plan) (proof, error) {
	var got proof
	lacking := false
	for _, a := range p.all {
		principal, shown, err := g.ask(ctx, call, a)
		switch {
		case err != nil:
			return proof{}, p.refusal(err)
		case shown:
			got.add(principal, a)
		default:
			lacking = true
		}
	}
	if len(p.any) > 0 {
		principal, by, err := g.askAny(ctx, call, p.any)
		switch {
		case err != nil:
			return proof{}, p.refusal(err)
		case by != nil:
			got.add(principal, by)
		default:
			lacking = true
		}
	}
	if lacking && (got.principal != nil || !p.public) {
		return proof{}, p.missing()
	}
	if got.principal != nil {
		call.SetPrincipal(got.principal)
	}
	return got, nil
}

// askAny asks authenticators until one accepts; by is nil when there was
// nothing to look at for any of them.
func (g *Guard) askAny(ctx context.Context, call *rpc.Call, some []*Authenticator) (principal *rpc.Principal, by *Authenticator, err error) {
	var worst error
	for _, a := range some {
		principal, shown, err := g.ask(ctx, call, a)
		switch {
		case !shown:
		case err == nil:
			return principal, a, nil
		case worst == nil || rank(err) > rank(worst):
			worst = err
		}
	}
	return nil, nil, worst
}

// add adds a principal that was proved. The call ends with the first of them.
func (pr *proof) add(p *rpc.Principal, by *Authenticator) {
	if pr.principal == nil {
		pr.principal, pr.by = p, by
		return
	}
	pr.others = append(pr.others, p)
	if first := pr.principal.Expiry; !p.Expiry.IsZero() && (first.IsZero() || p.Expiry.Before(first)) {
		one := *pr.principal
		one.Expiry = p.Expiry
		pr.principal = &one
	}
}

// ask has one authenticator look at the call; ok reports whether there was
// something to look at.
func (g *Guard) ask(ctx context.Context, call *rpc.Call, a *Authenticator) (principal *rpc.Principal, ok bool, err error) {
	c, ok, err := a.find(ctx, call)
	if !ok {
		return nil, false, nil
	}
	if err != nil {
		return nil, true, Refuse(Invalid, err.Error(), nil)
	}
	principal, err = g.verify(ctx, a, c)
	return principal, true, err
}

func (g *Guard) verify(ctx context.Context, a *Authenticator, c Credential) (*rpc.Principal, error) {
	principal, err := a.Verifier.Verify(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := g.check(principal); err != nil {
		return nil, err
	}
	return principal, nil
}

func (g *Guard) check(p *rpc.Principal) error {
	if g.opts.Check == nil {
		return nil
	}
	return g.opts.Check(p)
}

// callOf returns the call's record. In a gRPC server without the gateway there
// is none yet.
func callOf(ctx context.Context) (context.Context, *rpc.Call) {
	call := rpc.FromContext(ctx)
	if call != nil {
		return ctx, call
	}
	call = rpc.NewCall(nil)
	call.Door = "grpc"
	if p, ok := peer.FromContext(ctx); ok {
		call.Client = rpc.AddrOf(p.Addr)
		call.TLS = handshakeOf(p)
	}
	return rpc.NewContext(ctx, call), call
}

func handshakeOf(p *peer.Peer) *tls.ConnectionState {
	if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
		return &info.State
	}
	return nil
}
