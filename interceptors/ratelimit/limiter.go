package ratelimit

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"

	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
	"github.com/transomhq/transom/rpc"
)

// Options configure a Limiter. Its zero value limits nothing.
type Options struct {
	// Methods are the methods that are limited, and how.
	Methods []Method
	// Plans are what callers are entitled to, beside the methods' own limits.
	Plans []Plan
	// DefaultPlan names the plan of callers that belong to none; "": no plan.
	DefaultPlan string
	// Store keeps the counts; nil: a Memory of the default size.
	Store Store
	// Leases keeps the places of running calls; nil: in memory.
	Leases Leases
	// Metrics counts decisions; nil counts nothing.
	Metrics *Metrics
}

// Method is one method and its limits.
type Method struct {
	Desc   protoreflect.MethodDescriptor
	Limits *policyv1.Limits // nil: only plans
	// Origin is where the limits were declared, for errors.
	Origin string
}

// Plan is what the callers who belong to it are entitled to. A limit of a plan
// that names no bucket is counted over all methods that it selects together,
// and one that names no key is its consumer's (else the principal's).
type Plan struct {
	Name   string
	Limits []PlanLimits
	// Consumers and Credentials belong to the plan. A credential's own plan
	// comes before its consumer's.
	Consumers, Credentials []string
	// Origin is where the plan was declared, for errors.
	Origin string
}

// PlanLimits are the limits of a plan for the methods that are selected.
type PlanLimits struct {
	Selectors []rpc.Selector
	Limits    *policyv1.Limits
}

// Limiter is the interceptors' state. It is safe for concurrent use.
type Limiter struct {
	methods map[string]*method
	store   Store
	leases  Leases

	consumers, credentials map[string]int // to an index of plans
	defaultPlan            int            // -1: none

	attempts sync.Pool // of *attempt
}

// method is what limits the calls of one method.
type method struct {
	own   *set
	plans []*set // by plan; nil: the plan says nothing about the method
	// limitsRead and placesRead say that a rate or quota, or a concurrency
	// limit, of the call looks at the request.
	limitsRead, placesRead bool
}

// New compiles limits. The error is every mistake, with where it was made.
func New(opts Options) (*Limiter, error) {
	l := &Limiter{
		methods: map[string]*method{}, store: opts.Store, leases: opts.Leases,
		consumers: map[string]int{}, credentials: map[string]int{}, defaultPlan: -1,
	}
	if l.store == nil {
		l.store = NewMemory(0)
	}
	if l.leases == nil {
		l.leases = NewMemoryLeases()
	}
	l.attempts.New = func() any { return new(attempt) }
	errs := []error{l.enrol(opts.Plans, opts.DefaultPlan)}
	buckets := map[string]declared{}
	for _, m := range opts.Methods {
		compiled, err := compileMethod(&m, opts.Plans, buckets)
		errs = append(errs, err)
		if err == nil && compiled != nil {
			opts.Metrics.follow(compiled)
			l.methods["/"+string(m.Desc.Parent().FullName())+"/"+string(m.Desc.Name())] = compiled
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return l, nil
}

// Applies reports whether anything limits a method, given by its full name.
func (l *Limiter) Applies(fullMethod string) bool { return l.methods[fullMethod] != nil }

// enrol learns who belongs to which plan.
func (l *Limiter) enrol(plans []Plan, fallback string) error {
	var errs []error
	names := map[string]bool{}
	for i, p := range plans {
		if names[p.Name] {
			errs = append(errs, fmt.Errorf("%s: plan %q exists already", p.Origin, p.Name))
		}
		names[p.Name] = true
		if p.Name == fallback {
			l.defaultPlan = i
		}
		for _, c := range p.Consumers {
			if other, ok := l.consumers[c]; ok {
				errs = append(errs, fmt.Errorf("%s: consumer %q belongs to plan %q already", p.Origin, c, plans[other].Name))
			}
			l.consumers[c] = i
		}
		for _, c := range p.Credentials {
			if other, ok := l.credentials[c]; ok {
				errs = append(errs, fmt.Errorf("%s: credential %q belongs to plan %q already", p.Origin, c, plans[other].Name))
			}
			l.credentials[c] = i
		}
	}
	if fallback != "" && l.defaultPlan < 0 {
		errs = append(errs, fmt.Errorf("there is no plan %q", fallback))
	}
	return errors.Join(errs...)
}

// plan returns the index of a caller's plan, -1 for none.
func (l *Limiter) plan(p *rpc.Principal) int {
	if p != nil {
		if i, ok := l.credentials[p.CredentialID]; ok && p.CredentialID != "" {
			return i
		}
		if i, ok := l.consumers[p.Consumer]; ok && p.Consumer != "" {
			return i
		}
	}
	return l.defaultPlan
}

// compileMethod returns what limits m, nil for nothing.
func compileMethod(m *Method, plans []Plan, buckets map[string]declared) (*method, error) {
	streams := m.Desc.IsStreamingClient() || m.Desc.IsStreamingServer()
	own := string(m.Desc.FullName())
	sc := &scope{
		in: m.Desc.Input(), streams: streams, own: own,
		fallback: &key{of: byPrincipal}, used: map[string]bool{}, buckets: buckets,
	}
	out := &method{plans: make([]*set, len(plans))}
	var err error
	var errs []error
	if out.own, err = sc.compile(m.Limits); err != nil {
		errs = append(errs, fmt.Errorf("%s: limits of %s: %w", m.Origin, own, err))
	}
	nothing := out.own.empty()
	out.limitsRead, out.placesRead = out.own.limitsRead(), out.own.placesRead()
	for i, p := range plans {
		s, err := p.compile(m, streams, buckets)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: plan %q, for %s: %w", p.Origin, p.Name, own, err))
			continue
		}
		if !s.empty() {
			out.plans[i], nothing = s, false
			out.limitsRead = out.limitsRead || s.limitsRead()
			out.placesRead = out.placesRead || s.placesRead()
		}
	}
	if err := errors.Join(errs...); err != nil || nothing {
		return nil, err
	}
	return out, nil
}

// compile returns what a plan limits of m: all of its limits that select it.
func (p *Plan) compile(m *Method, streams bool, buckets map[string]declared) (*set, error) {
	all := &set{}
	used := map[string]bool{}
	var policies []string
	for i, part := range p.Limits {
		if !selects(part.Selectors, string(m.Desc.FullName())) {
			continue
		}
		sc := &scope{
			in: m.Desc.Input(), streams: streams, own: fmt.Sprintf("plan/%s[%d]", p.Name, i), shared: "plan/" + p.Name + "/",
			fallback: &key{of: byOwner}, used: used, buckets: buckets, plan: p.Name,
		}
		s, err := sc.compile(part.Limits)
		if err != nil {
			return nil, fmt.Errorf("limits[%d]: %w", i, err)
		}
		all.limits = append(all.limits, s.limits...)
		all.perMessage = append(all.perMessage, s.perMessage...)
		all.concurrency = append(all.concurrency, s.concurrency...)
		if s.maxBytes > 0 && (all.maxBytes == 0 || s.maxBytes < all.maxBytes) {
			all.maxBytes = s.maxBytes
		}
		if s.policy != "" {
			policies = append(policies, s.policy)
		}
	}
	all.policy = strings.Join(policies, ", ")
	if n := len(all.limits) + len(all.perMessage); n > MaxLimits/2 {
		return nil, fmt.Errorf("%d rates and quotas, at most %d", n, MaxLimits/2)
	}
	return all, nil
}

func selects(selectors []rpc.Selector, method string) bool {
	for _, s := range selectors {
		if s.Matches(method) {
			return true
		}
	}
	return false
}
