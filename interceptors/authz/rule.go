package authz

import (
	"cmp"
	"fmt"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/ext"
	"google.golang.org/protobuf/reflect/protoreflect"

	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
)

// maxCost bounds the work of one rule, in cel-go's units: about one a step,
// and more for what is long. A rule that is dearer does not hold.
const maxCost = 100_000

// rule is a compiled CEL expression.
type rule struct {
	program cel.Program
	message string
	reads   bool // it looks at the request
}

// environments are where rules are compiled, one for each type of request.
type environments struct {
	base  *cel.Env
	typed map[protoreflect.FullName]*cel.Env
}

// variables are what a rule may look at. The parts of the principal are
// variables of their own, so that a misspelt one is found when it is compiled.
func variables() []cel.EnvOption {
	texts := cel.ListType(cel.StringType)
	return []cel.EnvOption{
		cel.Variable("principal.authenticated", cel.BoolType),
		cel.Variable("principal.subject", cel.StringType),
		cel.Variable("principal.issuer", cel.StringType),
		cel.Variable("principal.consumer", cel.StringType),
		cel.Variable("principal.credential", cel.StringType),
		cel.Variable("principal.method", cel.StringType),
		cel.Variable("principal.scopes", texts),
		cel.Variable("principal.roles", texts),
		cel.Variable("principal.claims", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("metadata", cel.MapType(cel.StringType, texts)),
		cel.Variable("client.ip", cel.StringType),
		cel.Variable("method", cel.StringType),
		cel.Variable("now", cel.TimestampType),
		ext.Strings(), ext.Sets(), ext.Network(),
	}
}

// of returns the environment for requests of type in.
func (e *environments) of(in protoreflect.MessageDescriptor) (*cel.Env, error) {
	if env := e.typed[in.FullName()]; env != nil {
		return env, nil
	}
	if e.base == nil {
		var err error
		if e.base, err = cel.NewEnv(variables()...); err != nil {
			return nil, err
		}
		e.typed = map[protoreflect.FullName]*cel.Env{}
	}
	env, err := e.base.Extend(cel.TypeDescs(closure(in.ParentFile())...), cel.Variable("request", cel.ObjectType(string(in.FullName()))))
	if err != nil {
		return nil, err
	}
	e.typed[in.FullName()] = env
	return env, nil
}

// closure returns a file with all that it imports.
func closure(file protoreflect.FileDescriptor) []any {
	seen := map[string]bool{}
	var files []any
	var add func(protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if f == nil || f.IsPlaceholder() || seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		files = append(files, f)
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
	}
	add(file)
	return files
}

// compile compiles and checks a rule against the type of the request.
func (e *environments) compile(r *policyv1.Rule, in protoreflect.MessageDescriptor) (*rule, error) {
	env, err := e.of(in)
	if err != nil {
		return nil, fmt.Errorf("cel: %w", err)
	}
	ast, issues := env.Compile(r.GetCel())
	if issues.Err() != nil {
		return nil, fmt.Errorf("cel: %w", issues.Err())
	}
	if !ast.OutputType().IsExactType(cel.BoolType) {
		return nil, fmt.Errorf("cel: the expression is of type %s, want bool: %s", ast.OutputType(), r.GetCel())
	}
	program, err := env.Program(ast, cel.CostLimit(maxCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, fmt.Errorf("cel: %w", err)
	}
	compiled := &rule{program: program, message: cmp.Or(r.GetMessage(), deniedByRule)}
	for _, ref := range ast.NativeRep().ReferenceMap() {
		compiled.reads = compiled.reads || ref.Name == "request"
	}
	return compiled, nil
}

// judge evaluates the rule. What cannot be evaluated does not hold.
func (r *rule) judge(f *facts) error {
	out, _, err := r.program.Eval(f)
	if err != nil {
		return ruleFailed(r.message, err)
	}
	if holds, ok := out.Value().(bool); !ok || !holds {
		return ruleFailed(r.message, nil)
	}
	return nil
}
