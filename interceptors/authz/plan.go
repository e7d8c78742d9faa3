package authz

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
	"github.com/transomhq/transom/rpc"
)

// plan is one method's policy, compiled.
type plan struct {
	method string
	input  protoreflect.MessageDescriptor
	deny   bool // nobody may call
	unsaid bool // nobody said who may call

	allow, block                      []netip.Prefix
	scopes, anyScope, roles, anyRoles []string

	rules     []*rule // those that look at no message
	external  *External
	onMessage []*rule
	// reads says that the first message must be there before the call may go
	// on: for a rule, or because the external authorizer is shown it.
	reads bool
	// granted says that scopes or roles are needed, plain that nothing more is.
	granted, plain bool
}

// compiler compiles policies. It keeps what several methods share.
type compiler struct {
	external map[string]*External
	envs     environments
}

func newCompiler(external map[string]*External) *compiler {
	return &compiler{external: external}
}

// plan compiles a method's policy; nil means that everybody may call.
func (c *compiler) plan(m Method, denyByDefault bool) (*plan, error) {
	p := &plan{method: "/" + string(m.Desc.Parent().FullName()) + "/" + string(m.Desc.Name()), input: m.Desc.Input()}
	a := m.Policy
	if a == nil {
		if !denyByDefault || m.Public {
			return nil, nil
		}
		p.unsaid, p.plain = true, true
		return p, nil
	}
	p.deny = a.GetDeny()
	p.scopes, p.anyScope, p.roles, p.anyRoles = a.GetScopes(), a.GetAnyScope(), a.GetRoles(), a.GetAnyRole()
	errs := []error{c.rules(p, m), names(p)}
	var err error
	p.allow, err = prefixes(a.GetAllowIps(), "allow_ips")
	errs = append(errs, err)
	p.block, err = prefixes(a.GetDenyIps(), "deny_ips")
	errs = append(errs, err)
	if name := a.GetExternal(); name != "" {
		if p.external = c.external[name]; p.external == nil {
			errs = append(errs, fmt.Errorf("external: there is no authorizer %q: %s", name, c.known()))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	p.reads = len(p.onMessage) > 0 || p.external.reads()
	p.granted = len(p.scopes)+len(p.anyScope)+len(p.roles)+len(p.anyRoles) > 0
	p.plain = len(p.rules) == 0 && p.external == nil && !p.reads
	if p.plain && !p.granted && !p.deny && len(p.allow)+len(p.block) == 0 {
		return nil, nil // everybody may call
	}
	return p, nil
}

func (c *compiler) known() string {
	if len(c.external) == 0 {
		return "none is configured"
	}
	var names []string
	for name := range c.external {
		names = append(names, name)
	}
	slices.Sort(names)
	return fmt.Sprintf("there are %q", names)
}

func (c *compiler) rules(p *plan, m Method) error {
	var errs []error
	for i, r := range m.Policy.GetRules() {
		compiled, err := c.envs.compile(r, m.Desc.Input())
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("rules[%d]: %w", i, err))
		case compiled.reads:
			p.onMessage = append(p.onMessage, compiled)
		default:
			p.rules = append(p.rules, compiled)
		}
	}
	return errors.Join(errs...)
}

// names refuses scopes and roles that nobody can have.
func names(p *plan) error {
	for _, list := range [][]string{p.scopes, p.anyScope, p.roles, p.anyRoles} {
		if slices.Contains(list, "") {
			return errors.New("a scope or role is empty: nobody can have it")
		}
	}
	return nil
}

// admit judges what is known about the caller: this costs nothing.
func (p *plan) admit(call *rpc.Call) error {
	switch {
	case p.deny:
		return denied("nobody may call this method")
	case p.unsaid:
		return unsaid()
	case !p.admitsAddress(call.Client):
		return wrongAddress()
	case p.granted:
		return p.entitled(call.Principal())
	}
	return nil
}

// consult asks the rules that look at no message, and then the external
// authorizer, unless that is shown the message, too.
func (p *plan) consult(ctx context.Context, f *facts) (context.Context, error) {
	for _, r := range p.rules {
		if err := r.judge(f); err != nil {
			return ctx, err
		}
	}
	if p.external == nil || p.external.reads() {
		return ctx, nil
	}
	return p.external.ask(ctx, p, f)
}

// admitMessage judges what waited for the first message.
func (p *plan) admitMessage(ctx context.Context, f *facts) (context.Context, error) {
	if err := p.judgeMessage(f); err != nil {
		return ctx, err
	}
	if p.external == nil || !p.external.reads() {
		return ctx, nil
	}
	return p.external.ask(ctx, p, f)
}

func (p *plan) judgeMessage(f *facts) error {
	if len(p.onMessage) == 0 {
		return nil
	}
	if err := f.decode(); err != nil {
		return err
	}
	for _, r := range p.onMessage {
		if err := r.judge(f); err != nil {
			return err
		}
	}
	return nil
}

// entitled judges what the caller was granted.
func (p *plan) entitled(who *rpc.Principal) error {
	for _, s := range p.scopes {
		if !who.HasScope(s) {
			return lacksScope(who, p.scopes, true)
		}
	}
	if len(p.anyScope) > 0 && !slices.ContainsFunc(p.anyScope, who.HasScope) {
		return lacksScope(who, p.anyScope, false)
	}
	for _, r := range p.roles {
		if !who.HasRole(r) {
			return lacksRole(who, p.roles, true)
		}
	}
	if len(p.anyRoles) > 0 && !slices.ContainsFunc(p.anyRoles, who.HasRole) {
		return lacksRole(who, p.anyRoles, false)
	}
	return nil
}

// Lint returns what is doubtful about a policy that can be honoured.
func Lint(a *policyv1.Authz) []string {
	var out []string
	if a.GetDeny() && (len(a.GetScopes())+len(a.GetAnyScope())+len(a.GetRoles())+len(a.GetAnyRole())+len(a.GetRules()) > 0) {
		out = append(out, "deny refuses everybody: the other parts of authz have no effect")
	}
	for i, r := range a.GetRules() {
		if r.GetMessage() == "" {
			out = append(out, fmt.Sprintf("rules[%d] has no message: refused callers read %q", i, deniedByRule))
		}
	}
	return out
}
