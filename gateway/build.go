package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/transomhq/transom/config"
	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
	"github.com/transomhq/transom/interceptors"
	"github.com/transomhq/transom/interceptors/deadline"
	"github.com/transomhq/transom/interceptors/policy"
	"github.com/transomhq/transom/interceptors/recovery"
	"github.com/transomhq/transom/router"
	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/schema"
	"github.com/transomhq/transom/transcoder/codec"
	"github.com/transomhq/transom/transcoder/codec/direct"
	reflectcodec "github.com/transomhq/transom/transcoder/codec/reflect"
	"github.com/transomhq/transom/transcoder/connect"
	"github.com/transomhq/transom/transcoder/grpcweb"
	"github.com/transomhq/transom/transcoder/native"
	"github.com/transomhq/transom/transcoder/rest"
)

// build makes a house from a configuration and the schema that it names. It
// touches nothing that serves. The loader stays also after an error: what it
// read is what is watched for the mistake to be mended.
func (g *Gateway) build(ctx context.Context, file *config.File) (*house, error) {
	h := &house{}
	h.refs.Store(1)
	if err := g.furnish(ctx, h, file); err != nil {
		h.leave()
		return nil, err
	}
	return h, nil
}

// furnish puts the parts into a house, each in the order in which it is needed.
func (g *Gateway) furnish(ctx context.Context, h *house, file *config.File) (err error) {
	cfg := file.Config
	g.loader = g.nextLoader(schemaOptions(cfg))
	if h.schema, err = g.loader.Load(ctx); err != nil {
		return err
	}
	if len(h.schema.Methods) == 0 {
		return errors.New("schema: there is no service to serve: the sources declare none, or include and exclude leave none")
	}
	if h.router, err = buildRouter(h.schema.Bindings, cfg); err != nil {
		return err
	}
	h.formForGet = cfg.GetRest().GetProfile() == configv1.Profile_PROFILE_GRPC_GATEWAY
	if h.policies, err = buildPolicies(h.schema.Methods, file); err != nil {
		return err
	}
	h.self = newSelf(h.schema)
	if h.backends, err = g.buildBackends(cfg, h); err != nil {
		return err
	}
	h.methods = byName(h.schema.Methods, h.self.methods)
	if h.callers, err = g.buildAuthn(h, file); err != nil {
		return err
	}
	if h.cors, err = buildCors(file); err != nil {
		return err
	}
	chain, err := g.buildChain(h, file)
	if err != nil {
		return err
	}
	return g.buildDoors(h, cfg, chain)
}

// nextLoader returns a loader that remembers what servers told the one before.
func (g *Gateway) nextLoader(opts schema.Options) *schema.Loader {
	if g.loader == nil {
		return schema.NewLoader(opts)
	}
	return g.loader.Next(opts)
}

func schemaOptions(cfg *configv1.Config) schema.Options {
	s, profile := cfg.GetSchema(), cfg.GetRest().GetProfile()
	opts := schema.Options{
		Sources: s.GetSources(), Rules: s.GetHttpRules(), Include: s.GetInclude(), Exclude: s.GetExclude(),
		SkipInvalid: s.GetSkipInvalid(), NoImplicit: !s.GetImplicitBindings(),
		ReflectionInterval: s.GetReflectionRefresh().AsDuration(),
	}
	if opts.ReflectionInterval == 0 {
		opts.ReflectionInterval = -1
	}
	if profile == configv1.Profile_PROFILE_GRPC_GATEWAY {
		opts.NestedBody, opts.RepeatedPathVariables = true, true
	}
	return opts
}

func buildRouter(bindings []*rpc.Binding, cfg *configv1.Config) (*router.Table, error) {
	opts := router.Options{SkipInvalid: cfg.GetSchema().GetSkipInvalid()}
	if cfg.GetRest().GetProfile() == configv1.Profile_PROFILE_GRPC_GATEWAY {
		opts.WrongMethod = 501
	}
	return router.New(bindings, opts)
}

func buildPolicies(methods []*rpc.Method, file *config.File) (*policy.Set, error) {
	rules, errs := rulesOf(file)
	set := policy.Resolve(methods, rules)
	for _, m := range methods {
		errs = append(errs, unsupported(m, set.Of(m.Name))...)
	}
	return set, errors.Join(errs...)
}

// rulesOf returns the operator's policies, and what is wrong with their selectors.
func rulesOf(file *config.File) ([]policy.Rule, []error) {
	var rules []policy.Rule
	var errs []error
	for i, r := range file.Config.GetPolicies() {
		for _, s := range r.GetSelectors() {
			selector, err := rpc.ParseSelector(s)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			rules = append(rules, policy.Rule{Selector: selector, Policy: r.GetPolicy(), Origin: file.Position(fmt.Sprintf("policies[%d]", i)).String()})
		}
	}
	return rules, errs
}

// buildChain links the interceptors, the outermost first. A program that
// embeds the gateway has its own after ours.
func (g *Gateway) buildChain(h *house, file *config.File) (*interceptors.Chain, error) {
	methods := slices.Concat(h.schema.Methods, h.self.methods)
	allowed, err := g.buildAuthz(h, file)
	if err != nil {
		return nil, err
	}
	limits, err := g.buildLimits(h, file)
	if err != nil {
		return nil, err
	}
	validation, err := g.buildValidation(h)
	if err != nil {
		return nil, err
	}
	all := []interceptors.Interceptor{
		{Unary: g.telemetry.Unary(), Stream: g.telemetry.Stream()},
		{Unary: recovery.Unary(), Stream: recovery.Stream()},
		buildDeadline(methods, h.policies),
		buildStreams(methods, h.policies, g.ending), // near the door: what waits for a slow client is what it gets
		h.callers.interceptor(),                     // refuses before a byte of the body was read
		allowed,
		limits,     // after who is calling is known, before the body is read
		validation, // the first that reads it
	}
	all = append(all, buildFieldRules(h)...)
	once, err := g.buildIdempotency(h)
	if err != nil {
		return nil, err
	}
	failing, err := g.buildFaults(h)
	if err != nil {
		return nil, err
	}
	all = append(all, once)    // whoever is refused is refused again
	all = append(all, failing) // where a backend's failure would come from
	all = append(all, g.options.interceptors...)
	end, err := h.buildEnd(methods, dropsOf(h, file.Config))
	if err != nil {
		return nil, err
	}
	return interceptors.NewChain(methods, all, end), nil
}

// buildDeadline reads the bounds of each method. A policy for a whole group of
// methods bounds their unary calls only: a stream is meant to last, so its
// deadline must be said for itself.
func buildDeadline(methods []*rpc.Method, policies *policy.Set) interceptors.Interceptor {
	bounds := map[string]deadline.Bounds{}
	for _, m := range methods {
		e := policies.Of(m.Name)
		if d := e.Policy.GetDeadline(); d != nil && (m.Unary() || e.Origins["deadline"].Exact) {
			bounds[m.Name] = deadline.Bounds{Default: d.GetDefault().AsDuration(), Max: d.GetMax().AsDuration()}
		}
	}
	opts := deadline.Options{Bounds: func(method string) deadline.Bounds { return bounds[method] }}
	return interceptors.Interceptor{
		Unary: deadline.Unary(opts), Stream: deadline.Stream(opts),
		Applies: func(m *rpc.Method) bool { return !bounds[m.Name].IsZero() },
	}
}

func (g *Gateway) buildDoors(h *house, cfg *configv1.Config, handler rpc.Handler) error {
	maxMessage := int(cfg.GetGrpc().GetMaxReceiveBytes())
	h.native = native.New(native.Options{Handler: handler, MaxReceiveBytes: maxMessage})
	h.web = grpcweb.New(grpcweb.Options{Handler: handler, MaxReceiveBytes: maxMessage})
	jsonCodec := buildCodec(cfg)
	h.connect = connect.New(connect.Options{Handler: handler, Codec: jsonCodec, Resolver: h.schema.Types, MaxReceiveBytes: maxMessage})
	var err error
	if h.rest, err = rest.New(h.schema.Bindings, restOptions(h, cfg, handler, jsonCodec)); err != nil {
		return err
	}
	return g.buildSockets(h, cfg, handler)
}

func buildCodec(cfg *configv1.Config) codec.Codec {
	if cfg.GetRest().GetCodec() == configv1.Codec_CODEC_REFLECT {
		return reflectcodec.New()
	}
	return direct.New()
}

func restOptions(h *house, cfg *configv1.Config, handler rpc.Handler, jsonCodec codec.Codec) rest.Options {
	c, headers := cfg.GetRest(), cfg.GetHeaders()
	profile := rest.Strict
	switch c.GetProfile() {
	case configv1.Profile_PROFILE_GRPC_GATEWAY:
		profile = rest.GRPCGateway
	case configv1.Profile_PROFILE_ENVOY:
		profile = rest.Envoy
	case configv1.Profile_PROFILE_STRICT, configv1.Profile_PROFILE_UNSPECIFIED:
	}
	return rest.Options{
		Handler: handler, Codec: jsonCodec, Resolver: h.schema.Types, Profile: profile,
		Policy:          func(m *rpc.Method) *policyv1.Rest { return h.policies.Of(m.Name).Policy.GetRest() },
		Streams:         func(m *rpc.Method) *policyv1.Streams { return h.policies.Of(m.Name).Policy.GetStreams() },
		RequestHeaders:  trafficHeaders(withIdempotencyKey(h.callers.requestHeaders(headers.GetRequest()), h, "idempotency-key"), h, cfg),
		ResponseHeaders: withIdempotencyKey(headers.GetResponse(), h, "idempotency-replayed"),
		ReservedHeaders: slices.Concat(headers.GetReserved(), h.callers.identity),
		TimeoutHeader:   c.GetTimeoutHeader(),
		StatusHeader:    c.GetStatusHeader(),
		SystemQuery:     c.GetSystemQuery(),
		Challenge:       c.GetChallenge(),
		MaxBodyBytes:    c.GetMaxBodyBytes(),
		MaxInflation:    c.GetMaxInflation(),
		MaxOutputBytes:  int(c.GetMaxOutputBytes()),
		MaxDepth:        int(c.GetMaxDepth()),
		CompressMin:     int(c.GetCompressMinBytes()),
	}
}

func byName(lists ...[]*rpc.Method) map[string]*rpc.Method {
	all := map[string]*rpc.Method{}
	for _, list := range lists {
		for _, m := range list {
			all[m.Name] = m
		}
	}
	return all
}
