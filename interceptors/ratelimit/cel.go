package ratelimit

import (
	"fmt"
	"slices"
	"time"

	"cel.dev/cel-go/cel"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/transomhq/transom/rpc"
)

// maxCELCost bounds the work of one key (cel-go's units: about one a step).
const maxCELCost = 10_000

// compileCEL compiles an expression that gives a key. It sees principal
// (subject, issuer, scopes, roles, claims, consumer, credential), metadata (a
// map of lists), client (ip), method, now and, typed, request.
func compileCEL(text string, in protoreflect.MessageDescriptor) (*key, error) {
	opts := []cel.EnvOption{
		cel.Variable("principal", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("metadata", cel.MapType(cel.StringType, cel.ListType(cel.StringType))),
		cel.Variable("client", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("method", cel.StringType),
		cel.Variable("now", cel.TimestampType),
	}
	if in != nil {
		opts = append(opts, cel.TypeDescs(in.ParentFile()), cel.Variable("request", cel.ObjectType(string(in.FullName()))))
	}
	env, err := cel.NewEnv(opts...)
	if err != nil {
		return nil, fmt.Errorf("key.cel: %w", err)
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, fmt.Errorf("key.cel: %w", issues.Err())
	}
	if t := ast.OutputType(); !t.IsExactType(cel.StringType) && !t.IsExactType(cel.DynType) { // a claim's type is not known
		return nil, fmt.Errorf("key.cel: the expression is of type %s, want string", ast.OutputType())
	}
	program, err := env.Program(ast, cel.CostLimit(maxCELCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, fmt.Errorf("key.cel: %w", err)
	}
	vars := names(ast)
	k := &key{reads: slices.Contains(vars, "request")}
	k.of = func(c *caller) (string, error) { return evalKey(program, vars, c) }
	return k, nil
}

// names returns the variables that an expression looks at.
func names(ast *cel.Ast) []string {
	var out []string
	for _, ref := range ast.NativeRep().ReferenceMap() {
		if ref.Name != "" && !slices.Contains(out, ref.Name) {
			out = append(out, ref.Name)
		}
	}
	return out
}

// evalKey evaluates a key. An expression that fails, as for a field of a
// principal that is not there, gives none: the client's address stands in.
func evalKey(program cel.Program, vars []string, c *caller) (string, error) {
	input := make(map[string]any, len(vars))
	for _, name := range vars {
		v, err := c.variable(name)
		if err != nil {
			return "", err
		}
		if v != nil {
			input[name] = v
		}
	}
	out, _, err := program.ContextEval(c.ctx, input)
	if err != nil {
		return "", nil //nolint:nilerr // the address stands in, as for any key that a call has not
	}
	text, ok := claimText(out.Value())
	if !ok || text == "" {
		return "", nil
	}
	return bounded("cel:" + text), nil
}

// variable returns the value of a variable, nil for none of ours.
func (c *caller) variable(name string) (any, error) {
	switch name {
	case "principal":
		return principalValue(c.principal), nil
	case "metadata":
		md, _ := metadata.FromIncomingContext(c.ctx)
		return map[string][]string(md), nil
	case "client":
		return map[string]string{"ip": c.address().String()}, nil
	case "method":
		return c.full, nil
	case "now":
		return time.Now(), nil
	case "request":
		m, err := c.message()
		if err != nil {
			return nil, err
		}
		return m.Interface(), nil
	}
	return nil, nil
}

func principalValue(p *rpc.Principal) map[string]any {
	if p == nil {
		return map[string]any{}
	}
	return map[string]any{
		"subject": p.Subject, "issuer": p.Issuer, "scopes": p.Scopes, "roles": p.Roles,
		"claims": p.Claims, "consumer": p.Consumer, "credential": p.CredentialID,
	}
}
