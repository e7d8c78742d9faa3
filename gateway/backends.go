package gateway

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"

	"google.golang.org/protobuf/proto"

	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/upstream"
)

// backends say where a method's calls go.
type backends struct {
	clusters []*upstream.Cluster
	methods  map[string]upstream.Backend // by full method name
	shaped   map[string]shaped           // of them, those that a route splits or mirrors
}

func (b *backends) of(m *rpc.Method) (upstream.Backend, bool) {
	backend, ok := b.methods[m.Name]
	return backend, ok
}

// buildBackends opens the clusters, or takes them over from the house before,
// and routes every method to one of them.
func (g *Gateway) buildBackends(cfg *configv1.Config, h *house) (*backends, error) {
	b := &backends{methods: map[string]upstream.Backend{}, shaped: map[string]shaped{}}
	byName := map[string]*upstream.Cluster{}
	var errs []error
	for _, c := range cfg.GetClusters() {
		cluster, release, err := g.openCluster(c, h)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		h.release = append(h.release, release)
		byName[c.GetName()] = cluster
		b.clusters = append(b.clusters, cluster)
	}
	routes, err := routesOf(cfg)
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	open, err := g.openRoutes(routes, h)
	if err != nil {
		return nil, err
	}
	unmirrored := map[*configv1.Route][]string{}
	for _, m := range h.schema.Methods {
		r, ok := routeFor(routes, m)
		if !ok {
			continue
		}
		retry, err := retryOf(m, h.policies.Of(m.Name))
		errs = append(errs, err)
		to := func(name string) upstream.Backend {
			return upstream.Backend{Name: name, Conn: byName[name], Retry: retry, Guard: byName[name].Guard()}
		}
		b.methods[m.Name] = to(r.cluster())
		if mirror := r.config.GetMirror(); mirror != nil && !mirrored(m, mirror) {
			unmirrored[r.config] = append(unmirrored[r.config], m.Selector())
		}
		if route := open[r.config]; route != nil {
			b.shaped[m.Name] = shapedBy(route, r.config, m, to)
		}
	}
	h.advice = append(h.advice, adviseMirrors(unmirrored)...)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for _, m := range h.self.methods {
		b.methods[m.Name] = upstream.Backend{Name: "transom", Conn: h.self.conn}
	}
	return b, nil
}

type route struct {
	selector rpc.Selector
	config   *configv1.Route
}

// cluster returns the cluster that gets most of the route's calls.
func (r route) cluster() string {
	if len(r.config.GetSplit()) == 0 {
		return r.config.GetCluster()
	}
	most := slices.MaxFunc(r.config.GetSplit(), func(a, b *configv1.Subset) int { return cmp.Compare(a.GetWeight(), b.GetWeight()) })
	return most.GetCluster()
}

// routesOf returns the routes, the most specific first, and of equals the
// later first. A single cluster without routes serves everything.
func routesOf(cfg *configv1.Config) ([]route, error) {
	if len(cfg.GetRoutes()) == 0 && len(cfg.GetClusters()) == 1 {
		return []route{{"*", &configv1.Route{Selector: "*", Cluster: cfg.GetClusters()[0].GetName()}}}, nil
	}
	var routes []route
	var errs []error
	for _, r := range cfg.GetRoutes() {
		selector, err := rpc.ParseSelector(r.GetSelector())
		errs = append(errs, err)
		routes = append(routes, route{selector, r})
	}
	slices.Reverse(routes)
	slices.SortStableFunc(routes, func(a, b route) int { return cmp.Compare(b.selector.Specificity(), a.selector.Specificity()) })
	return routes, errors.Join(errs...)
}

func routeFor(routes []route, m *rpc.Method) (route, bool) {
	for _, r := range routes {
		if r.selector.Matches(m.Selector()) {
			return r, true
		}
	}
	return route{}, false
}

// openCluster opens a cluster. What it is opened with, certificates included,
// describes it: the same description is the same cluster.
func (g *Gateway) openCluster(c *configv1.Cluster, h *house) (*upstream.Cluster, func(), error) {
	tlsConfig, material, err := clientTLS(c.GetTls())
	if err != nil {
		return nil, nil, fmt.Errorf("cluster %q: %w", c.GetName(), err)
	}
	description, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
	if err != nil {
		return nil, nil, fmt.Errorf("cluster %q: %w", c.GetName(), err)
	}
	h.material += string(material)
	opts := guarded(upstream.Options{
		Name: c.GetName(), Targets: c.GetTargets(), TLS: tlsConfig, Connections: int(c.GetConnections()),
		Balancer: c.GetBalancer(), MaxReceiveBytes: int(c.GetMaxReceiveBytes()),
		Keepalive: c.GetKeepalive().AsDuration(), DialTimeout: c.GetDialTimeout().AsDuration(),
		Authority: c.GetAuthority(), HealthService: c.HealthService,
		Lean: c.GetTransport() == configv1.Transport_TRANSPORT_LEAN,
	}, c)
	return g.clusters.acquire(string(description)+string(material), func() (*upstream.Cluster, error) { return upstream.NewCluster(opts) })
}

// clientTLS reads the files of a TLS client and returns a digest of them.
func clientTLS(c *configv1.ClientTls) (*tls.Config, []byte, error) {
	if c == nil {
		return nil, nil, nil
	}
	digest := sha256.New()
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.GetServerName(), InsecureSkipVerify: c.GetInsecureSkipVerify()} //nolint:gosec // the operator's choice, off by default
	if c.GetCa() != "" {
		pem, err := os.ReadFile(c.GetCa())
		if err != nil {
			return nil, nil, fmt.Errorf("tls.ca: %w", err)
		}
		digest.Write(pem)
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, nil, fmt.Errorf("tls.ca: %s holds no PEM certificate", c.GetCa())
		}
	}
	if c.GetCert() != "" || c.GetKey() != "" {
		pair, err := tls.LoadX509KeyPair(c.GetCert(), c.GetKey())
		if err != nil {
			return nil, nil, fmt.Errorf("tls.cert: %w", err)
		}
		for _, der := range pair.Certificate {
			digest.Write(der)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, digest.Sum(nil), nil
}
