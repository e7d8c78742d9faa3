package authz

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/reflect/protoreflect"

	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
	"github.com/transomhq/transom/rpc"
)

// Method is one method with what its callers must be allowed.
type Method struct {
	Desc protoreflect.MethodDescriptor
	// Policy is nil where nobody said anything.
	Policy *policyv1.Authz
	// Public says that the method is meant for everybody, which deny by
	// default respects.
	Public bool
	// Origin is where the policy stands, for errors.
	Origin string
}

// Options configure a Guard.
type Options struct {
	Methods []Method
	// DenyByDefault refuses the methods without a policy that are not public.
	DenyByDefault bool
	// External are the authorizers that policies may name.
	External map[string]*External
	// Metrics count refusals; nil counts nothing.
	Metrics *Metrics
}

// Guard refuses calls that their callers may not make. It is immutable.
type Guard struct {
	plans   map[string]*plan
	metrics *Metrics
}

// New compiles the policies of all methods. Its error is everything in them
// that cannot be honoured.
func New(opts Options) (*Guard, error) {
	g := &Guard{plans: map[string]*plan{}, metrics: opts.Metrics}
	c := newCompiler(opts.External)
	var errs []error
	for _, m := range opts.Methods {
		p, err := c.plan(m, opts.DenyByDefault)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: authz of %s: %w", m.Origin, m.Desc.FullName(), err))
			continue
		}
		if p != nil {
			g.plans[p.method] = p
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return g, nil
}

// Applies reports whether calls of a method, given by its full name, are looked at.
func (g *Guard) Applies(method string) bool { return g.plans[method] != nil }

// Unary returns the interceptor for unary calls.
func (g *Guard) Unary() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		p := g.plans[info.FullMethod]
		if p == nil {
			return next(ctx, req)
		}
		call := callOf(ctx)
		err := p.admit(call)
		if err == nil && !p.plain {
			ctx, err = p.admitUnary(ctx, call, req)
		}
		if err != nil {
			return nil, g.refused(err)
		}
		return next(ctx, req)
	}
}

// Stream returns the interceptor for all other calls. Where a rule looks at
// the request, nothing goes on before the first message has come, and every
// further one is judged like the first.
func (g *Guard) Stream() grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		p := g.plans[info.FullMethod]
		if p == nil {
			return next(srv, ss)
		}
		ctx, call := ss.Context(), callOf(ss.Context())
		if err := p.admit(call); err != nil {
			return g.refused(err)
		}
		if p.plain {
			return next(srv, ss)
		}
		f := &facts{ctx: ctx, call: call, plan: p}
		ctx, err := p.consult(ctx, f)
		if err != nil {
			return g.refused(err)
		}
		s := &stream{ServerStream: ss, ctx: ctx, plan: p, facts: f}
		if !p.reads {
			return next(srv, s)
		}
		if err := s.open(); err != nil {
			return g.refused(err)
		}
		err = next(srv, s)
		if refused := s.refused.Load(); refused != nil {
			return g.refused(*refused)
		}
		return err
	}
}

func (p *plan) admitUnary(ctx context.Context, call *rpc.Call, req any) (context.Context, error) {
	f := &facts{ctx: ctx, call: call, plan: p}
	ctx, err := p.consult(ctx, f)
	if err != nil || !p.reads {
		return ctx, err
	}
	f.ctx, f.message = ctx, req
	return p.admitMessage(ctx, f)
}

// callOf returns the call's record; in a gRPC server without the gateway, one
// that knows the peer.
func callOf(ctx context.Context) *rpc.Call {
	if call := rpc.FromContext(ctx); call != nil {
		return call
	}
	call := rpc.NewCall(nil)
	if p, ok := peer.FromContext(ctx); ok {
		call.Client = rpc.AddrOf(p.Addr)
	}
	return call
}
