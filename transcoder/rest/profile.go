package rest

import (
	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/codec"
)

// Profile is whose clients the door serves: where the specification leaves a
// choice, gateways have chosen differently.
type Profile int

// The profiles.
const (
	// Strict refuses what it does not understand. It is the default.
	Strict Profile = iota
	// GRPCGateway is what clients of grpc-gateway's default mux expect.
	GRPCGateway
	// Envoy is what clients of Envoy's grpc_json_transcoder with its default
	// options expect.
	Envoy
)

// settings are how one method is served: its profile with its policy applied.
type settings struct {
	codec codec.Options
	// ignoreQuery leaves out query parameters that name no field.
	ignoreQuery bool
	// ignored are query parameters that are never fields and never unknown.
	ignored  map[string]bool
	maxBody  int64
	unescape policyv1.Unescape
	form     bool
	// lax reads text values and requests as grpc-gateway does.
	lax bool
	// plainPlus leaves a "+" in the query as it is.
	plainPlus bool
}

const (
	defaultMaxBody   = 4 << 20
	defaultMaxOutput = 64 << 20
)

func newSettings(opts *Options, system map[string]bool, method *rpc.Method) *settings {
	s := &settings{
		codec:    codec.Options{Resolver: opts.Resolver, MaxDepth: opts.MaxDepth, MaxOutput: opts.MaxOutputBytes},
		ignored:  system,
		maxBody:  opts.MaxBodyBytes,
		unescape: policyv1.Unescape_UNESCAPE_ALL_EXCEPT_SLASH,
	}
	switch opts.Profile {
	case GRPCGateway:
		s.codec.EmitUnpopulated, s.codec.DiscardUnknown = true, true
		s.ignoreQuery, s.form, s.lax = true, true, true
		s.unescape = policyv1.Unescape_UNESCAPE_ALL
	case Envoy:
		s.codec.DiscardUnknown = true // its translator sets ignore_unknown_fields
		s.plainPlus = true            // query_param_unescape_plus is off by default
		s.unescape = policyv1.Unescape_UNESCAPE_ALL_EXCEPT_RESERVED
	}
	if opts.Policy != nil {
		s.apply(opts.Policy(method))
	}
	return s
}

// apply lets what the method's policy says win over the profile.
func (s *settings) apply(p *policyv1.Rest) {
	if p == nil {
		return
	}
	set(&s.codec.EmitUnpopulated, p.EmitUnpopulated)
	set(&s.codec.UseProtoNames, p.UseProtoNames)
	set(&s.codec.UseEnumNumbers, p.UseEnumNumbers)
	set(&s.codec.Int64AsNumber, p.Int64AsNumber)
	set(&s.form, p.AcceptForm)
	set(&s.maxBody, p.MaxBodyBytes)
	if p.Indent != nil {
		s.codec.Indent = int(*p.Indent)
	}
	if u := p.UnknownFields; u != nil && *u != policyv1.Unknown_UNKNOWN_UNSPECIFIED {
		s.codec.DiscardUnknown = *u == policyv1.Unknown_UNKNOWN_IGNORE
	}
	if u := p.UnknownQuery; u != nil && *u != policyv1.Unknown_UNKNOWN_UNSPECIFIED {
		s.ignoreQuery = *u == policyv1.Unknown_UNKNOWN_IGNORE
	}
	if u := p.Unescape; u != nil && *u != policyv1.Unescape_UNESCAPE_UNSPECIFIED {
		s.unescape = *u
	}
	if len(p.IgnoredQuery) > 0 {
		all := make(map[string]bool, len(s.ignored)+len(p.IgnoredQuery))
		for name := range s.ignored {
			all[name] = true
		}
		for _, name := range p.IgnoredQuery {
			all[name] = true
		}
		s.ignored = all
	}
}

func set[T any](dst *T, src *T) {
	if src != nil {
		*dst = *src
	}
}
