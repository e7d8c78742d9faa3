package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/upstream/lean"
)

// Options describe one cluster. Name and Targets are required.
type Options struct {
	// Name is the cluster's name in configuration, logs and metrics.
	Name string
	// Targets are one gRPC target ("dns:///orders:50051", "unix:///run/orders.sock",
	// "xds:///orders", "orders:50051"), or several addresses ("10.0.0.1:50051")
	// that calls are balanced over.
	Targets []string
	// TLS secures the connections; nil speaks plaintext HTTP/2.
	TLS *tls.Config
	// Connections is how many connections each backend gets; 0 means 1. More
	// help only when one connection's lock or window is the limit.
	Connections int
	// Balancer is "round_robin" (also ""), "least_request" (the less busy of
	// two at random) or "consistent_hash" (see Hash). Any other name is one of
	// grpc-go's registry, which does without ejection, retries elsewhere and
	// active health checks.
	Balancer string
	// Hash is what "consistent_hash" keeps together: "principal", "client" (the
	// address) or "header:NAME". Calls that have none go round robin.
	Hash string
	// Ejection leaves failing endpoints alone.
	Ejection Ejection
	// Health asks every endpoint whether it lives.
	Health HealthCheck
	// MaxCalls bounds the calls that run at once, MaxPending those that wait
	// while no endpoint is connected; more are refused at once with
	// UNAVAILABLE. 0: no bound.
	MaxCalls, MaxPending int
	// RetryPercent and MinRetries are the Budget for retries; 0 means 20 % and
	// 10, negative none.
	RetryPercent, MinRetries int
	// MaxReceiveBytes bounds a message from the backend; 0 means 64 MiB.
	MaxReceiveBytes int
	// Keepalive pings an idle connection after this long; 0 never does.
	Keepalive time.Duration
	// DialTimeout bounds one connection attempt; 0 means 5 s.
	DialTimeout time.Duration
	// Authority overrides the :authority of calls; "" follows the target.
	Authority string
	// HealthService is the service name asked of grpc.health.v1 at each
	// backend; nil asks nothing.
	HealthService *string
	// Lean takes the transport of package lean instead of grpc-go's: a fraction
	// of the CPU, for plain addresses balanced round robin, without health
	// checks and ejection.
	Lean bool
}

const (
	defaultMaxReceiveBytes = 64 << 20
	defaultDialTimeout     = 5 * time.Second
)

// Cluster is a set of backends. It is safe for concurrent use.
type Cluster struct {
	name    string
	conns   []*grpc.ClientConn
	next    atomic.Uint32
	pool    *pool
	guard   *Guard
	balance balance
	hash    string
	checks  *checks
	lean    *lean.Pool // instead of conns and pool
}

// balance is how our balancer chooses.
type balance int

const (
	roundRobin balance = iota
	leastRequest
	consistentHash
	foreign // grpc-go's, which knows no pool
)

func balanceOf(name string) balance {
	switch name {
	case "", "round_robin":
		return roundRobin
	case "least_request":
		return leastRequest
	case "consistent_hash":
		return consistentHash
	}
	return foreign
}

var _ grpc.ClientConnInterface = (*Cluster)(nil)

// NewCluster returns the cluster that opts describe. It connects in the
// background: an unreachable backend fails calls, not the start.
func NewCluster(opts Options) (*Cluster, error) {
	if opts.Lean {
		return newLean(opts)
	}
	c := &Cluster{name: opts.Name, pool: newPool(opts.Ejection), balance: balanceOf(opts.Balancer), hash: opts.Hash}
	c.guard = newGuard(opts, func() bool { return c.balance == foreign || c.pool.usable.Load() > 0 })
	dial, target, err := c.dialOptions(opts)
	if err != nil {
		return nil, fmt.Errorf("cluster %q: %w", opts.Name, err)
	}
	for range max(opts.Connections, 1) {
		conn, err := grpc.NewClient(target, dial...)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("cluster %q: %w", opts.Name, err), c.Close())
		}
		conn.Connect()
		c.conns = append(c.conns, conn)
	}
	if c.balance != foreign && opts.Health.Interval > 0 {
		c.checks = startChecks(c, opts.Health)
	}
	return c, nil
}

func (c *Cluster) dialOptions(opts Options) ([]grpc.DialOption, string, error) {
	creds := insecure.NewCredentials()
	if opts.TLS != nil {
		creds = credentials.NewTLS(opts.TLS)
	}
	maxReceive := opts.MaxReceiveBytes
	if maxReceive == 0 {
		maxReceive = defaultMaxReceiveBytes
	}
	connect := grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: defaultDialTimeout}
	connect.Backoff.BaseDelay, connect.Backoff.MaxDelay = 100*time.Millisecond, 10*time.Second
	if opts.DialTimeout > 0 {
		connect.MinConnectTimeout = opts.DialTimeout
	}
	dial := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultServiceConfig(serviceConfig(opts)),
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(
			grpc.ForceCodecV2(rpc.Codec{}), grpc.MaxCallRecvMsgSize(maxReceive), grpc.MaxCallSendMsgSize(1<<31-1)),
		grpc.WithConnectParams(connect),
		grpc.WithIdleTimeout(0),
		grpc.WithUserAgent("transom"),
	}
	if opts.Keepalive > 0 {
		dial = append(dial, grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: opts.Keepalive, Timeout: 10 * time.Second}))
	}
	if opts.Authority != "" {
		dial = append(dial, grpc.WithAuthority(opts.Authority))
	}
	target, source, err := targetOf(opts.Targets)
	if err != nil {
		return nil, "", err
	}
	if c.balance != foreign {
		source = clusterResolver{source, c}
	}
	return append(dial, grpc.WithResolvers(source)), target, nil
}

func serviceConfig(opts Options) string {
	balancer := opts.Balancer
	if balanceOf(balancer) != foreign {
		balancer = balancerName
	}
	if opts.HealthService == nil {
		return fmt.Sprintf(`{"loadBalancingConfig":[{%q:{}}]}`, balancer)
	}
	return fmt.Sprintf(`{"loadBalancingConfig":[{%q:{}}],"healthCheckConfig":{"serviceName":%q}}`, balancer, *opts.HealthService)
}

// targetOf returns the one target that grpc-go dials and who resolves it.
// Several addresses become a static list.
func targetOf(targets []string) (string, resolver.Builder, error) {
	switch len(targets) {
	case 0:
		return "", nil, errors.New("no target")
	case 1:
		if !strings.Contains(targets[0], ":") {
			return "", nil, fmt.Errorf(`target %q has no port: write "host:port"`, targets[0])
		}
		target := targets[0]
		if !strings.Contains(target, "://") && !strings.HasPrefix(target, "unix:") {
			target = "dns:///" + target
		}
		scheme, _, _ := strings.Cut(target, ":")
		source := resolver.Get(scheme)
		if source == nil {
			return "", nil, fmt.Errorf("target %q: nobody resolves %q here", target, scheme)
		}
		return target, source, nil
	}
	static := manual.NewBuilderWithScheme("static")
	var state resolver.State
	for _, t := range targets {
		if strings.Contains(t, "://") && !strings.HasPrefix(t, "unix:") {
			return "", nil, fmt.Errorf("target %q: a list takes addresses (host:port) only", t)
		}
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: t}}})
	}
	static.InitialState(state)
	return "static:///" + targets[0], static, nil
}

// Name returns the cluster's name.
func (c *Cluster) Name() string { return c.name }

func (c *Cluster) conn() *grpc.ClientConn {
	if len(c.conns) == 1 {
		return c.conns[0]
	}
	return c.conns[c.next.Add(1)%uint32(len(c.conns))]
}

// Invoke makes a unary call.
func (c *Cluster) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if c.lean != nil {
		return c.lean.Invoke(ctx, method, args, reply, opts...)
	}
	return c.conn().Invoke(ctx, method, args, reply, opts...)
}

// NewStream opens a call of any other kind.
func (c *Cluster) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if c.lean != nil {
		return c.lean.NewStream(ctx, desc, method, opts...)
	}
	return c.conn().NewStream(ctx, desc, method, opts...)
}

// State returns the state of the cluster's best connection.
func (c *Cluster) State() connectivity.State {
	if c.lean != nil {
		return c.lean.State()
	}
	states := make([]connectivity.State, len(c.conns))
	for i, conn := range c.conns {
		states[i] = conn.GetState()
	}
	for _, s := range []connectivity.State{connectivity.Ready, connectivity.Connecting, connectivity.Idle, connectivity.TransientFailure} {
		if slices.Contains(states, s) {
			return s
		}
	}
	return connectivity.Shutdown
}

// Guard returns what keeps the cluster from being asked too much.
func (c *Cluster) Guard() *Guard { return c.guard }

// hashKey returns what keeps a call together with others, "" for nothing.
func (c *Cluster) hashKey(ctx context.Context) string {
	call := rpc.FromContext(ctx)
	name, ok := strings.CutPrefix(c.hash, "header:")
	switch {
	case ok:
		md, _ := metadata.FromOutgoingContext(ctx)
		if values := md.Get(name); len(values) > 0 {
			return values[0]
		}
	case c.hash == "principal" && call.Principal() != nil:
		return call.Principal().Issuer + "\x00" + call.Principal().Subject
	case c.hash == "client" && call != nil && call.Client.IsValid():
		return call.Client.String()
	}
	return ""
}

// Close ends the cluster's connections and every call on them.
func (c *Cluster) Close() error {
	c.checks.stop()
	if c.lean != nil {
		return c.lean.Close()
	}
	var errs []error
	for _, conn := range c.conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}
