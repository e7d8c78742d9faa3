package gateway

import (
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/transomhq/transom/config"
	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
	"github.com/transomhq/transom/interceptors"
	"github.com/transomhq/transom/interceptors/policy"
	"github.com/transomhq/transom/interceptors/ratelimit"
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
}

func newLimits(reg prometheus.Registerer) *limits {
	return &limits{metrics: ratelimit.NewMetrics(reg), leases: ratelimit.NewMemoryLeases()}
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

// buildLimits compiles the limits of methods, from their policies and the plans.
func (g *Gateway) buildLimits(file *config.File, methods []*rpc.Method, policies *policy.Set) (interceptors.Interceptor, error) {
	cfg := file.Config.GetLimits()
	opts := ratelimit.Options{
		DefaultPlan: cfg.GetDefaultPlan(), Plans: plansOf(file, cfg.GetPlans()),
		Store: g.limits.inMemory(cfg.GetMaxKeys()), Leases: g.limits.leases, Metrics: g.limits.metrics,
	}
	for _, m := range methods {
		e := policies.Of(m.Name)
		opts.Methods = append(opts.Methods, ratelimit.Method{Desc: m.Desc, Limits: e.Policy.GetLimits(), Origin: e.Origins["limits"].Text})
	}
	limiter, err := ratelimit.New(opts)
	if err != nil {
		return interceptors.Interceptor{}, err
	}
	return interceptors.Interceptor{
		Unary: limiter.Unary(), Stream: limiter.Stream(),
		Applies: func(m *rpc.Method) bool { return limiter.Applies(m.Name) },
	}, nil
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
