package gateway

import (
	"context"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/transomhq/transom/admin"
	"github.com/transomhq/transom/config"
	"github.com/transomhq/transom/edge"
	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
	"github.com/transomhq/transom/interceptors/authz"
	"github.com/transomhq/transom/interceptors/faults"
	"github.com/transomhq/transom/interceptors/idempotency"
	"github.com/transomhq/transom/interceptors/streams"
	"github.com/transomhq/transom/interceptors/telemetry"
	"github.com/transomhq/transom/interceptors/validate"
	"github.com/transomhq/transom/schema"
	"github.com/transomhq/transom/transcoder/websocket"
)

// Gateway is a gateway: listeners in front of the house that serves now.
type Gateway struct {
	source  config.Source
	options options
	log     *slog.Logger
	level   *slog.LevelVar

	house       atomic.Pointer[house]
	clusters    *clusters
	traffic     lending[sharedRoute]
	credentials *credentials
	telemetry   *telemetry.Telemetry
	limits      *limits
	answers     *idempotency.Memory
	sockets     *websocket.Sockets
	ending      *streams.Ending // tells streams that the gateway is about to end
	denied      *authz.Metrics
	invalid     *validate.Metrics
	faults      *faults.Metrics
	metrics     *prometheus.Registry
	reloads     *prometheus.CounterVec

	reloading sync.Mutex   // one reload at a time; guards what follows
	running   *config.File // what serves
	tried     *config.File // what was read last: it is what is watched
	loader    *schema.Loader

	lines *buffer // of the access log; nil: not ours to write
	edge  *edge.Server
	admin *admin.Server // nil: none
}

// New reads the configuration that source names, builds all of it and binds
// its listeners, so that their addresses are known; Run serves. Its error is
// every mistake that was found. A gateway that is not run must be closed.
func New(ctx context.Context, source config.Source, opts ...Option) (*Gateway, error) {
	file, err := source.Load()
	if err != nil {
		return nil, err
	}
	g := newGateway(source, file.Config, opts)
	first, err := g.build(ctx, file)
	if err != nil {
		return nil, err
	}
	g.house.Store(first)
	g.running, g.tried = file, file
	for _, w := range first.warnings() {
		g.log.Warn(w)
	}
	if err := g.listen(file.Config); err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

func newGateway(source config.Source, cfg *configv1.Config, opts []Option) *Gateway {
	g := &Gateway{source: source, metrics: prometheus.NewRegistry(), level: new(slog.LevelVar), ending: streams.NewEnding()}
	for _, o := range opts {
		o(&g.options)
	}
	g.level.Set(levelOf(cfg.GetLogging().GetLevel()))
	g.log = g.options.log
	if g.log == nil {
		g.log = newLogger(os.Stderr, g.level, cfg.GetLogging().GetFormat())
		g.lines = &buffer{w: os.Stderr}
	}
	g.clusters = &clusters{log: g.log}
	g.credentials = newCredentials(g.log)
	measured := telemetry.Options{Registerer: g.metrics}
	switch {
	case !cfg.GetLogging().GetAccess():
	case g.lines != nil:
		measured.Lines = &telemetry.Lines{W: g.lines, JSON: cfg.GetLogging().GetFormat() == configv1.Format_FORMAT_JSON, Level: g.level}
	default:
		measured.Log = g.log
	}
	g.telemetry = telemetry.New(measured)
	g.answers = idempotency.NewMemory(0)
	g.limits = newLimits(g.metrics)
	g.sockets = newSockets(cfg)
	g.denied = authz.NewMetrics(g.metrics)
	g.invalid = validate.NewMetrics(g.metrics)
	g.faults = faults.NewMetrics(g.metrics)
	g.reloads = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "transom_reloads_total", Help: "Reloads, by result (swapped, unchanged, refused).",
	}, []string{"result"})
	g.metrics.MustRegister(upstreamMetrics{g.Upstreams}, trafficMetrics{g.Traffic})
	g.metrics.MustRegister(g.reloads, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return g
}

// listen binds the listeners of clients and operators.
func (g *Gateway) listen(cfg *configv1.Config) error {
	var err error
	if g.edge, err = edge.New(g.edgeOptions(cfg)); err != nil {
		return err
	}
	if err := g.edge.Listen(); err != nil {
		return err
	}
	if cfg.GetAdmin().GetDisabled() {
		return nil
	}
	if g.admin, err = admin.New(g.adminOptions(cfg)); err == nil {
		g.admin.Handle("/upstreams", "clusters, endpoints and splits (?format=json, or Accept)", g.upstreamsPage())
		err = g.admin.Listen()
	}
	if err != nil {
		g.admin = nil
	}
	return err
}

// Addrs returns the addresses on which clients are served, in the order of
// the configuration's listeners.
func (g *Gateway) Addrs() []net.Addr { return g.edge.Addrs() }

// AdminAddr returns the address for operators, nil when there is none.
func (g *Gateway) AdminAddr() net.Addr {
	if g.admin == nil {
		return nil
	}
	return g.admin.Addr()
}

// Run serves until ctx is done, then drains: readiness fails, after the
// configured delay no new call is taken, and those that run finish, up to the
// configured time. It returns nil after a clean end.
func (g *Gateway) Run(ctx context.Context) error {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	failed := make(chan error, 2)
	wg.Go(func() { failed <- g.edge.Serve(background) })
	if g.admin != nil {
		wg.Go(func() { failed <- g.admin.Serve(background) })
		g.log.Info("listening on "+g.AdminAddr().String()+" for operators", "address", g.AdminAddr().String(), "for", "operators")
	}
	if g.lines != nil {
		wg.Go(func() { g.lines.run(background) })
	}
	wg.Go(func() { g.reloadOnChange(background) })
	wg.Go(func() { g.sockets.Run(background) })
	defer g.edge.OnDrain(g.sockets.Drain)()
	defer g.edge.OnDrain(g.endStreams)()
	for _, addr := range g.Addrs() {
		g.log.Info("listening on "+addr.String()+" for clients", "address", addr.String(), "for", "clients")
	}
	defer g.end()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return g.drain()
	}
}

// drain ends the gateway in order.
func (g *Gateway) drain() error {
	d := g.config().GetDrain()
	if h := g.enter(); h != nil {
		h.self.health.Shutdown()
		h.leave()
	}
	g.log.Info("draining", "delay", d.GetDelay().AsDuration(), "timeout", d.GetTimeout().AsDuration())
	ctx, cancel := context.WithTimeout(context.Background(), d.GetDelay().AsDuration()+d.GetTimeout().AsDuration())
	defer cancel()
	if err := g.edge.Drain(ctx); err != nil {
		g.log.Warn("drained, but some calls took too long and were cut off", "timeout", d.GetTimeout().AsDuration())
		return nil
	}
	g.log.Info("drained: every call finished")
	return nil
}

// end gives back what the house that served last holds.
func (g *Gateway) end() {
	if h := g.house.Swap(nil); h != nil {
		h.leave()
	}
}

// Close ends a gateway that was not run.
func (g *Gateway) Close() {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	if g.edge != nil {
		_ = g.edge.Drain(now) // its error is that of now
	}
	if g.admin != nil {
		_ = g.admin.Serve(now) // likewise
	}
	g.end()
}

func (g *Gateway) config() *configv1.Config {
	g.reloading.Lock()
	defer g.reloading.Unlock()
	return g.running.Config
}
