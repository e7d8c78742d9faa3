package policy

import (
	"cmp"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
	"github.com/transomhq/transom/rpc"
)

// Rule is an operator's policy for the methods that a selector names.
type Rule struct {
	Selector rpc.Selector
	Policy   *policyv1.Policy
	// Origin is where the rule stands, "transom.yaml:12:5".
	Origin string
}

// Effective is the policy that applies to one method.
type Effective struct {
	// Policy is the merged policy. It is shared and read-only.
	Policy *policyv1.Policy
	// Origins says for each part that is set, by its field name in
	// transom.policy.v1.Policy, where it came from.
	Origins map[string]Origin
}

// Origin is where a part of an effective policy came from.
type Origin struct {
	// Text says it for people: "transom.yaml:12:5 (shop.*)", "option (method) of shop.Orders.Get".
	Text string
	// Exact says that it was declared for this very method, not for a group.
	Exact bool
}

// Set holds the effective policies of a snapshot's methods.
type Set struct {
	methods map[string]*Effective
	unused  []Rule
}

// Of returns the effective policy of method, given as "/pkg.Service/Method";
// it is empty, not nil, for a method that nothing was said about.
func (s *Set) Of(method string) *Effective {
	if s != nil {
		if e := s.methods[method]; e != nil {
			return e
		}
	}
	return &Effective{Policy: &policyv1.Policy{}}
}

// Unused returns the rules whose selector names no method.
func (s *Set) Unused() []Rule { return s.unused }

// Resolve works out the policies of methods. Rules may stand in any order: the
// most specific selector wins, and of two equal ones the later.
func Resolve(methods []*rpc.Method, rules []Rule) *Set {
	s := &Set{methods: make(map[string]*Effective, len(methods))}
	ordered := slices.Clone(rules)
	slices.SortStableFunc(ordered, func(a, b Rule) int {
		return cmp.Compare(a.Selector.Specificity(), b.Selector.Specificity())
	})
	used := make([]bool, len(ordered))
	for _, m := range methods {
		e := &Effective{Policy: &policyv1.Policy{}, Origins: map[string]Origin{}}
		e.fromOptions(m.Desc)
		for i, r := range ordered {
			if r.Selector.Matches(m.Selector()) {
				used[i] = true
				e.merge(r.Policy, Origin{Text: r.Origin + " (" + string(r.Selector) + ")", Exact: r.Selector.Exact(m.Selector())})
			}
		}
		s.methods[m.Name] = e
	}
	for i, r := range ordered {
		if !used[i] {
			s.unused = append(s.unused, r)
		}
	}
	return s
}

func (e *Effective) fromOptions(m protoreflect.MethodDescriptor) {
	service, file := m.Parent(), m.ParentFile()
	if o, ok := file.Options().(*descriptorpb.FileOptions); ok {
		e.merge(extension(o, policyv1.E_File), Origin{Text: "option (file) of " + file.Path()})
	}
	if o, ok := service.Options().(*descriptorpb.ServiceOptions); ok {
		e.merge(extension(o, policyv1.E_Service), Origin{Text: "option (service) of " + string(service.FullName())})
	}
	if o, ok := m.Options().(*descriptorpb.MethodOptions); ok {
		e.merge(extension(o, policyv1.E_Method), Origin{Text: "option (method) of " + string(m.FullName()), Exact: true})
	}
}

func extension(o proto.Message, xt protoreflect.ExtensionType) *policyv1.Policy {
	if !proto.HasExtension(o, xt) {
		return nil
	}
	p, _ := proto.GetExtension(o, xt).(*policyv1.Policy)
	return p
}

// merge lets each top-level part that p sets replace e's.
func (e *Effective) merge(p *policyv1.Policy, origin Origin) {
	if p == nil {
		return
	}
	dst := e.Policy.ProtoReflect()
	p.ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		dst.Set(fd, v)
		e.Origins[string(fd.Name())] = origin
		return true
	})
}
