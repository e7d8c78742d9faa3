package gateway

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/transomhq/transom/config"
	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
	"github.com/transomhq/transom/schema"
	"github.com/transomhq/transom/schema/watch"
)

// Reload reads configuration and schema anew, builds a new house beside the
// one that serves, and swaps them. An error (every mistake, with its place)
// leaves the old one serving as if nothing had happened. Calls that run finish
// in the house that they entered; connections to unchanged clusters stay open.
func (g *Gateway) Reload(ctx context.Context) error {
	g.reloading.Lock()
	defer g.reloading.Unlock()
	result, err := g.reload(ctx)
	g.reloads.WithLabelValues(result).Inc()
	return err
}

func (g *Gateway) reload(ctx context.Context) (string, error) {
	file, err := g.source.Load()
	if err != nil {
		return "refused", err
	}
	g.tried = file
	old := g.house.Load()
	next, err := g.build(ctx, file)
	if err != nil {
		return "refused", err
	}
	if next.schema.ID == old.schema.ID && proto.Equal(file.Config, g.running.Config) && next.material == old.material {
		next.leave()
		return "unchanged", nil
	}
	if err := g.breaking(old, next, file.Config); err != nil {
		next.leave()
		return "refused", err
	}
	for _, w := range next.warnings() {
		g.log.Warn(w)
	}
	g.needsRestart(file.Config)
	g.level.Set(levelOf(file.Config.GetLogging().GetLevel()))
	g.running = file
	g.house.Swap(next).leave()
	g.log.Info("reloaded", "methods", len(next.schema.Methods), "routes", len(next.router.Bindings()), "schema", short(next.schema.ID))
	return "swapped", nil
}

func short(id string) string { return id[:min(12, len(id))] }

// breaking reports what clients of the running schema will miss in the next
// one, and refuses it when the configuration says so.
func (g *Gateway) breaking(old, next *house, cfg *configv1.Config) error {
	changes := schema.Breaking(old.schema, next.schema)
	if len(changes) == 0 {
		return nil
	}
	if cfg.GetReload().GetBreaking() == configv1.Breaking_BREAKING_REFUSE {
		lines := make([]string, len(changes))
		for i, c := range changes {
			lines[i] = c.String()
		}
		return fmt.Errorf("the new schema breaks clients of the running one (reload.breaking: refuse):\n%s", strings.Join(lines, "\n"))
	}
	for _, c := range changes {
		g.log.Warn("the new schema breaks clients of the running one: " + c.String())
	}
	return nil
}

// needsRestart says which changes wait for a restart: sockets outlive houses.
func (g *Gateway) needsRestart(next *configv1.Config) {
	was := g.running.Config
	for name, same := range map[string]bool{
		"listeners":      proto.Equal(&configv1.Config{Listeners: was.GetListeners()}, &configv1.Config{Listeners: next.GetListeners()}),
		"edge":           proto.Equal(was.GetEdge(), next.GetEdge()),
		"admin":          proto.Equal(was.GetAdmin(), next.GetAdmin()),
		"logging.format": was.GetLogging().GetFormat() == next.GetLogging().GetFormat(),
		"what websocket says of all sockets together": socketLimits(was) == socketLimits(next),
		"logging.access": was.GetLogging().GetAccess() == next.GetLogging().GetAccess(),
	} {
		if !same {
			g.log.Warn(name + " has changed: this takes effect after a restart")
		}
	}
}

// reloadOnChange reloads on signals and, where configured, on changes of the
// files and servers that the running configuration names, until ctx is done.
func (g *Gateway) reloadOnChange(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for ctx.Err() == nil {
		// Each round watches what the running configuration names.
		round, stop := context.WithCancel(ctx)
		changed := make(chan string, 1)
		tell := func(what string) func() {
			return func() {
				select {
				case changed <- what:
				default: // told already
				}
			}
		}
		g.watch(round, &wg, tell)
		what := ""
		select {
		case <-ctx.Done():
		case <-g.options.reload:
			what = "signal"
		case what = <-changed:
		}
		stop()
		wg.Wait()
		if what != "" {
			g.reloadAndLog(ctx, what)
		}
	}
}

// watch starts the watchers of one round.
func (g *Gateway) watch(ctx context.Context, wg *sync.WaitGroup, tell func(string) func()) {
	g.reloading.Lock()
	file, loader := g.tried, g.loader
	g.reloading.Unlock()
	if !file.Config.GetReload().GetWatch() {
		return
	}
	wg.Go(func() { g.watchError(loader.Watch(ctx, tell("schema"))) })
	if paths := watchedFiles(g.source, file.Config); len(paths) > 0 {
		wg.Go(func() { g.watchError(watch.Run(ctx, paths, watch.Options{}, tell("files"))) })
	}
}

func (g *Gateway) watchError(err error) {
	if err != nil {
		g.log.Warn("changes on disk are not noticed; reload with SIGHUP", "error", err)
	}
}

// watchedFiles are the files whose change means a new house. Listeners'
// certificates are the edge's own.
func watchedFiles(source config.Source, cfg *configv1.Config) []string {
	var paths []string
	if source.Path != "" {
		paths = append(paths, source.Path)
	}
	clients := []*configv1.ClientTls{cfg.GetLimits().GetRedis().GetTls()}
	for _, c := range cfg.GetClusters() {
		clients = append(clients, c.GetTls())
	}
	for _, c := range clients {
		for _, p := range []string{c.GetCa(), c.GetCert(), c.GetKey()} {
			if p != "" {
				paths = append(paths, p)
			}
		}
	}
	return paths
}

func (g *Gateway) reloadAndLog(ctx context.Context, why string) {
	start := time.Now()
	if err := g.Reload(ctx); err != nil && ctx.Err() == nil {
		g.log.Error("reload refused; the running configuration stays", "why", why, "took", time.Since(start), "error", err)
	}
}
