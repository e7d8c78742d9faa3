package authn

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
)

// plan is what one policy asks for, compiled.
type plan struct {
	public     bool
	all        []*Authenticator // each must accept
	any        []*Authenticator // one must accept
	challenges string           // WWW-Authenticate
	bearer     bool             // challenges have a Bearer
	wanted     string           // for people
}

// newPlan compiles a policy. nil means: any of the authenticators.
func (g *Guard) newPlan(policy *policyv1.Authn) (*plan, error) {
	p := &plan{public: policy.GetPublic()}
	var errs []error
	for _, name := range policy.GetAllOf() {
		p.all = append(p.all, g.named(name, &errs))
	}
	for _, name := range policy.GetAnyOf() {
		p.any = append(p.any, g.named(name, &errs))
	}
	if len(p.all) == 0 && len(p.any) == 0 {
		for i := range g.opts.Authenticators {
			p.any = append(p.any, &g.opts.Authenticators[i])
		}
		if len(p.any) == 0 && !p.public {
			errs = append(errs, errors.New("a credential is needed, and there is no authenticator: configure one, or make the method public"))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	p.describe(g.opts.Realm)
	return p, nil
}

func (g *Guard) named(name string, errs *[]error) *Authenticator {
	for i := range g.opts.Authenticators {
		if g.opts.Authenticators[i].Name == name {
			return &g.opts.Authenticators[i]
		}
	}
	names := make([]string, len(g.opts.Authenticators))
	for i := range names {
		names[i] = g.opts.Authenticators[i].Name
	}
	known := "none is configured"
	if len(names) > 0 {
		known = "there are " + strings.Join(names, ", ")
	}
	*errs = append(*errs, fmt.Errorf("there is no authenticator %q: %s", name, known))
	return nil
}

// describe says what a caller may show, to people and in WWW-Authenticate.
func (p *plan) describe(realm string) {
	var names, challenges []string
	for _, a := range slices.Concat(p.all, p.any) {
		for i := range a.Carriers {
			if text := a.Carriers[i].describe(); !slices.Contains(names, text) {
				names = append(names, text)
			}
		}
		if a.Challenge == "" {
			continue
		}
		text := fmt.Sprintf("%s realm=%q", a.Challenge, quotable(realm))
		if !slices.Contains(challenges, text) {
			challenges = append(challenges, text)
			p.bearer = p.bearer || a.Challenge == "Bearer"
		}
	}
	between := " or "
	if len(p.all) > 1 {
		between = " and "
	}
	p.wanted, p.challenges = "send "+strings.Join(names, between), strings.Join(challenges, ", ")
}

func (c *Carrier) describe() string {
	switch {
	case c.kind == inHandshake:
		return "a client certificate"
	case c.kind == inCarried:
		kind, name, _ := strings.Cut(c.name, ":")
		if kind == "query" {
			return "the query parameter " + name
		}
		return "the WebSocket subprotocol " + name + "..."
	case c.scheme != "":
		return c.name + ": " + c.scheme + " ..."
	}
	return "the header " + c.name
}
