package gateway

import (
	"crypto/tls"
	"fmt"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/transomhq/transom/config"
	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
	"github.com/transomhq/transom/interceptors"
	"github.com/transomhq/transom/interceptors/ratelimit"
	"github.com/transomhq/transom/interceptors/ratelimit/redisstore"
	"github.com/transomhq/transom/rpc"
)

// limits are what counts calls. It outlives houses: a reload gives nobody a
// fresh quota.
type limits struct {
	metrics *ratelimit.Metrics
	leases  *ratelimit.MemoryLeases

	mu      sync.Mutex
	memory  *ratelimit.Memory
	maxKeys int32
	redis   map[string]*sharedRedis // by description
}

// sharedRedis is a Redis server that houses of the same description ask.
type sharedRedis struct {
	store  *redisstore.Store
	shared *ratelimit.Shared
	refs   int
}

func newLimits(reg prometheus.Registerer) *limits {
	return &limits{metrics: ratelimit.NewMetrics(reg), leases: ratelimit.NewMemoryLeases(), redis: map[string]*sharedRedis{}}
}

// inMemory returns the counts of this process. They start anew only when
// another number of keys is wanted.
func (l *limits) inMemory(maxKeys int32) *ratelimit.Memory {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.memory == nil || l.maxKeys != maxKeys {
		l.memory, l.maxKeys = ratelimit.NewMemory(int(maxKeys)), maxKeys
	}
	return l.memory
}

// inRedis returns the counts in the server of a description, and the function
// that gives it back.
func (l *limits) inRedis(description string, c *configv1.RedisStore, tlsConfig *tls.Config, local *ratelimit.Memory) (*ratelimit.Shared, func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.redis[description]
	if one == nil {
		store := redisstore.New(redisstore.Options{
			Addresses: c.GetAddresses(), Cluster: c.GetCluster(), Username: c.GetUsername(), Password: c.GetPassword().GetValue(),
			Database: int(c.GetDatabase()), TLS: tlsConfig, Prefix: c.GetPrefix(), Connections: int(c.GetConnections()),
			Lease: c.GetLease().AsDuration(),
		})
		one = &sharedRedis{store: store, shared: ratelimit.NewShared(ratelimit.SharedOptions{
			Store: store, Leases: store, Local: local, LocalLeases: l.leases,
			Timeout: c.GetTimeout().AsDuration(), Metrics: l.metrics,
		})}
		l.redis[description] = one
	}
	one.refs++
	return one.shared, sync.OnceFunc(func() { l.release(description) })
}

func (l *limits) release(description string) {
	l.mu.Lock()
	one := l.redis[description]
	one.refs--
	last := one.refs == 0
	if last {
		delete(l.redis, description)
	}
	l.mu.Unlock()
	if last {
		_ = one.store.Close() // nobody asks it any more
	}
}

// openStore sets where the limits of a house are counted.
func (g *Gateway) openStore(c *configv1.Limits, h *house, opts *ratelimit.Options) error {
	local := g.limits.inMemory(c.GetMaxKeys())
	opts.Store, opts.Leases = local, g.limits.leases
	if c.GetRedis() == nil {
		return nil
	}
	tlsConfig, material, err := clientTLS(c.GetRedis().GetTls())
	if err != nil {
		return fmt.Errorf("limits.redis.%w", err)
	}
	h.material += string(material)
	// The memory that counts when Redis cannot is a part of the description.
	description, err := proto.MarshalOptions{Deterministic: true}.Marshal(&configv1.Limits{MaxKeys: c.MaxKeys, Redis: c.GetRedis()})
	if err != nil {
		return fmt.Errorf("limits.redis: %w", err)
	}
	shared, release := g.limits.inRedis(string(description)+string(material), c.GetRedis(), tlsConfig, local)
	h.release = append(h.release, release)
	opts.Store, opts.Leases = shared, shared
	return nil
}

// buildLimits compiles the limits of methods, from their policies and the plans.
func (g *Gateway) buildLimits(h *house, file *config.File) (interceptors.Interceptor, error) {
	cfg := file.Config.GetLimits()
	opts := ratelimit.Options{
		DefaultPlan: cfg.GetDefaultPlan(), Plans: plansOf(file, cfg.GetPlans()), Metrics: g.limits.metrics,
	}
	if err := g.openStore(cfg, h, &opts); err != nil {
		return interceptors.Interceptor{}, err
	}
	for _, m := range h.schema.Methods {
		e := h.policies.Of(m.Name)
		opts.Methods = append(opts.Methods, ratelimit.Method{Desc: m.Desc, Limits: e.Policy.GetLimits(), Origin: e.Origins["limits"].Text})
	}
	limiter, err := ratelimit.New(opts)
	if err != nil {
		return interceptors.Interceptor{}, err
	}
	h.advice = append(h.advice, ratelimit.Advice(opts.Methods)...)
	h.advice = append(h.advice, unusedSelectors(opts)...)
	return interceptors.Interceptor{
		Unary: limiter.Unary(), Stream: limiter.Stream(),
		Applies: func(m *rpc.Method) bool { return limiter.Applies(m.Name) },
	}, nil
}

// unusedSelectors returns the plans' selectors that name no method.
func unusedSelectors(opts ratelimit.Options) []string {
	var out []string
	for _, p := range opts.Plans {
		for _, part := range p.Limits {
			for _, s := range part.Selectors {
				names := func(m ratelimit.Method) bool { return s.Matches(string(m.Desc.FullName())) }
				if !slices.ContainsFunc(opts.Methods, names) {
					out = append(out, fmt.Sprintf("%s: plan %q: selector %q names no method", p.Origin, p.Name, s))
				}
			}
		}
	}
	return out
}

func plansOf(file *config.File, plans []*configv1.Plan) []ratelimit.Plan {
	out := make([]ratelimit.Plan, len(plans))
	for i, p := range plans {
		out[i] = ratelimit.Plan{
			Name: p.GetName(), Consumers: p.GetConsumers(), Credentials: p.GetCredentials(),
			Origin: file.Position(fmt.Sprintf("limits.plans[%d]", i)).String(),
		}
		for _, part := range p.GetLimits() {
			selected := ratelimit.PlanLimits{Limits: part.GetLimits()}
			for _, s := range part.GetSelectors() {
				selected.Selectors = append(selected.Selectors, rpc.Selector(s)) // checked by config
			}
			out[i].Limits = append(out[i].Limits, selected)
		}
	}
	return out
}
