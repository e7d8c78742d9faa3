package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/endpointsharding"
	"google.golang.org/grpc/balancer/pickfirst"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"
	"google.golang.org/grpc/status"
)

// balancerName is the name of our balancer in grpc-go's registry. It connects
// as round_robin does (endpointsharding over pick_first), and picks with what
// the cluster's pool knows: grpc-go's own outlier detection belongs to xDS,
// counts every status that is not OK as a failure, NOT_FOUND too, and no retry
// of ours could tell its picker to go elsewhere.
const balancerName = "transom_pool"

func init() { //nolint:gochecknoinits // grpc-go takes balancers from its registry only, filled before anything runs
	balancer.Register(poolBuilder{})
}

type poolBuilder struct{}

func (poolBuilder) Name() string { return balancerName }

func (poolBuilder) Build(cc balancer.ClientConn, opts balancer.BuildOptions) balancer.Balancer {
	b := &poolBalancer{ClientConn: cc, held: map[string]*endpoint{}}
	b.Balancer = endpointsharding.NewBalancer(b, opts, balancer.Get(pickfirst.Name).Build, endpointsharding.Options{})
	return b
}

// poolConfig is empty: what there is to say comes with the resolver's state.
type poolConfig struct {
	serviceconfig.LoadBalancingConfig
}

func (poolBuilder) ParseConfig(json.RawMessage) (serviceconfig.LoadBalancingConfig, error) {
	return poolConfig{}, nil
}

// poolBalancer keeps the pool of its cluster up to date with one connection's
// endpoints.
type poolBalancer struct {
	balancer.Balancer
	balancer.ClientConn

	next atomic.Uint32

	mu      sync.Mutex // an idle connection that wakes up reports from its own goroutine
	cluster *Cluster
	held    map[string]*endpoint
	ready   []choice
}

// choice is an endpoint that takes calls, and the picker of its connection.
type choice struct {
	endpoint *endpoint
	picker   balancer.Picker
}

type clusterKey struct{}

// withCluster carries the cluster to its balancers, in the resolver's state.
func withCluster(a *attributes.Attributes, c *Cluster) *attributes.Attributes {
	return a.WithValue(clusterKey{}, c)
}

// UpdateClientConnState takes the endpoints that the resolver found.
func (b *poolBalancer) UpdateClientConnState(s balancer.ClientConnState) error {
	cluster, _ := s.ResolverState.Attributes.Value(clusterKey{}).(*Cluster)
	if cluster == nil {
		return errors.New(balancerName + " works inside a cluster of transom only")
	}
	wanted := map[string]bool{}
	for _, e := range s.ResolverState.Endpoints {
		if len(e.Addresses) > 0 {
			wanted[e.Addresses[0].Addr] = true
		}
	}
	b.hold(cluster, wanted)
	err := b.Balancer.UpdateClientConnState(balancer.ClientConnState{ResolverState: pickfirst.EnableHealthListener(s.ResolverState)})
	b.drop(wanted)
	return err
}

func (b *poolBalancer) hold(cluster *Cluster, wanted map[string]bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cluster = cluster
	for addr := range wanted {
		if b.held[addr] == nil {
			b.held[addr] = cluster.pool.hold(addr)
		}
	}
}

// drop lets go of the endpoints that are not wanted any more.
func (b *poolBalancer) drop(wanted map[string]bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for addr, e := range b.held {
		if !wanted[addr] {
			delete(b.held, addr)
			b.cluster.pool.drop(e)
		}
	}
}

// UpdateState takes what the connections say, and hands out a picker.
func (b *poolBalancer) UpdateState(s balancer.State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var ready []choice
	for _, child := range endpointsharding.ChildStatesFromPicker(s.Picker) {
		if child.State.ConnectivityState != connectivity.Ready || len(child.Endpoint.Addresses) == 0 {
			continue
		}
		if e := b.held[child.Endpoint.Addresses[0].Addr]; e != nil {
			ready = append(ready, choice{e, child.State.Picker})
		}
	}
	for _, c := range ready {
		b.cluster.pool.connected(c.endpoint, 1)
	}
	b.forget()
	b.ready = ready
	if len(ready) > 0 {
		s.Picker = &poolPicker{cluster: b.cluster, ready: ready, next: &b.next}
	}
	b.ClientConn.UpdateState(s)
}

func (b *poolBalancer) forget() {
	for _, c := range b.ready {
		b.cluster.pool.connected(c.endpoint, -1)
	}
	b.ready = nil
}

// Close gives back what the connection knew.
func (b *poolBalancer) Close() {
	b.Balancer.Close()
	b.drop(nil)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forget()
}

// ExitIdle connects.
func (b *poolBalancer) ExitIdle() { b.Balancer.ExitIdle() }

// ResolverError keeps what was found before.
func (b *poolBalancer) ResolverError(err error) { b.Balancer.ResolverError(err) }

// poolPicker picks among connected endpoints. It is immutable but for the counter.
type poolPicker struct {
	cluster *Cluster
	ready   []choice
	next    *atomic.Uint32
}

// Pick chooses the endpoint of a call.
func (p *poolPicker) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	a := attemptOf(info.Ctx)
	c := p.choose(info.Ctx, a)
	if c == nil {
		return balancer.PickResult{}, status.Error(codes.Unavailable, "the endpoint is not connected")
	}
	res, err := c.picker.Pick(info)
	e, pool := c.endpoint, p.cluster.pool
	if err != nil {
		e.trial.Store(false)
		return res, err
	}
	a.goes(e)
	if a != nil && a.only != nil { // a health check counts for itself
		return res, nil
	}
	e.running.Add(1)
	e.calls.Add(1)
	inner := res.Done
	res.Done = func(d balancer.DoneInfo) {
		e.running.Add(-1)
		pool.judge(e, d, a)
		if inner != nil {
			inner(d)
		}
	}
	return res, nil
}

func (p *poolPicker) choose(ctx context.Context, a *attempt) *choice {
	if a != nil && a.only != nil {
		for i := range p.ready {
			if p.ready[i].endpoint == a.only {
				return &p.ready[i]
			}
		}
		return nil
	}
	if p.cluster.pool.out.Load() == 0 && (a == nil || a.n == 0) {
		return p.first(ctx)
	}
	usable := p.usable(a)
	switch {
	case len(usable) == 0: // all are bad, or were tried: one of them is better than none
		return p.first(ctx)
	case len(usable) == len(p.ready):
		return p.first(ctx)
	}
	return (&poolPicker{cluster: p.cluster, ready: usable, next: p.next}).first(ctx)
}

// usable returns the endpoints that may be given the call: neither ejected nor
// sick, and not tried before if any other is there.
func (p *poolPicker) usable(a *attempt) []choice {
	now := time.Now()
	fresh, been := make([]choice, 0, len(p.ready)), 0
	for _, c := range p.ready {
		if a.been(c.endpoint) {
			been++
			continue
		}
		until := c.endpoint.until.Load()
		if until != 0 && c.endpoint.takes(now) { // its trial: this very call
			return []choice{c}
		}
		if until == 0 && c.endpoint.takes(now) {
			fresh = append(fresh, c)
		}
	}
	if len(fresh) > 0 || been == 0 {
		return fresh
	}
	for _, c := range p.ready {
		if c.endpoint.until.Load() == 0 && c.endpoint.takes(now) {
			fresh = append(fresh, c)
		}
	}
	return fresh
}

// first applies the cluster's way of balancing.
func (p *poolPicker) first(ctx context.Context) *choice {
	n := uint32(len(p.ready)) //nolint:gosec // endpoints are few
	switch p.cluster.balance {
	case leastRequest:
		a, b := rand.Uint32N(n), rand.Uint32N(n) //nolint:gosec // no secret
		if p.ready[a].endpoint.running.Load() <= p.ready[b].endpoint.running.Load() {
			return &p.ready[a]
		}
		return &p.ready[b]
	case consistentHash:
		if key := p.cluster.hashKey(ctx); key != "" {
			return p.byHash(key)
		}
	}
	return &p.ready[p.next.Add(1)%n]
}

// byHash returns the endpoint that weighs most for key (rendezvous hashing):
// one that goes takes along only its own keys.
func (p *poolPicker) byHash(key string) *choice {
	best, most := 0, uint64(0)
	for i := range p.ready {
		if w := weigh(p.ready[i].endpoint.addr, key); w > most {
			best, most = i, w
		}
	}
	return &p.ready[best]
}

// weigh hashes both (FNV-1a, then MurmurHash3's last mix): the same in every gateway.
func weigh(addr, key string) uint64 {
	h := uint64(14695981039346656037)
	for _, s := range [...]string{addr, "\x00", key} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// judge says what an ended call tells about its endpoint.
func (p *pool) judge(e *endpoint, d balancer.DoneInfo, a *attempt) {
	switch code := status.Code(d.Err); code {
	case codes.Unavailable, codes.Internal, codes.Unknown, codes.DataLoss:
		p.failed(e)
	case codes.DeadlineExceeded:
		if a != nil && a.bounded {
			p.failed(e)
			return
		}
		e.trial.Store(false)
	case codes.Canceled: // by the client, which says nothing
		if a != nil && a.late.Load() {
			p.failed(e)
			return
		}
		e.trial.Store(false)
	default:
		if d.BytesReceived { // else the call never left
			p.succeeded(e)
			return
		}
		e.trial.Store(false)
	}
}

// clusterResolver hands a cluster to the balancers that its resolver feeds.
type clusterResolver struct {
	resolver.Builder
	cluster *Cluster
}

func (r clusterResolver) Build(target resolver.Target, cc resolver.ClientConn, opts resolver.BuildOptions) (resolver.Resolver, error) {
	return r.Builder.Build(target, clusterConn{cc, r.cluster}, opts)
}

type clusterConn struct {
	resolver.ClientConn
	cluster *Cluster
}

func (c clusterConn) UpdateState(s resolver.State) error {
	s.Attributes = withCluster(s.Attributes, c.cluster)
	return c.ClientConn.UpdateState(s)
}
