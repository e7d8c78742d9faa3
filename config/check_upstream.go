package config

import (
	"slices"
	"strings"

	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
)

func (f *File) checkSchema() {
	if len(f.Config.GetSchema().GetSources()) == 0 && !f.hasBad("schema.sources") {
		f.wrong("schema.sources", "nothing says which services exist: name an image, a folder of .proto files or grpc://host:port, here or with --schema")
	}
}

func (f *File) checkClusters() {
	if len(f.Config.GetClusters()) == 0 && !f.hasBad("clusters") {
		f.wrong("clusters", "no backend: name one here or with --upstream [SELECTOR=]TARGET")
	}
	first := map[string]string{}
	for i, c := range f.Config.GetClusters() {
		path := element("clusters", i)
		if other, ok := first[c.GetName()]; ok {
			f.wrong(join(path, "name"), "%s is the name of %s already", quote(c.GetName()), f.said(other))
		} else if c.GetName() != "" {
			first[c.GetName()] = join(path, "name")
		}
		f.checkCluster(c, path)
	}
}

func (f *File) checkCluster(c *configv1.Cluster, path string) {
	if t := c.GetTargets(); len(t) > 1 {
		for i, target := range t {
			if strings.Contains(target, "://") {
				f.wrong(element(join(path, "targets"), i), "%s: a list takes addresses (host:port) only; a target with a scheme stands alone", quote(target))
			}
		}
	}
	if c.GetTls() != nil {
		f.checkClientTLS(c.GetTls(), join(path, "tls"))
	}
	f.checkBalancing(c, path)
}

func (f *File) checkRoutes() {
	names := make([]string, 0, len(f.Config.GetClusters()))
	for _, c := range f.Config.GetClusters() {
		names = append(names, c.GetName())
	}
	first := map[string]string{}
	for i, r := range f.Config.GetRoutes() {
		path := element("routes", i)
		f.checkTraffic(r, names, path)
		if other, ok := first[r.GetSelector()]; ok {
			f.wrong(join(path, "selector"), "%s is the selector of %s already", quote(r.GetSelector()), f.said(other))
		} else {
			first[r.GetSelector()] = join(path, "selector")
		}
	}
	if len(names) > 1 && len(f.Config.GetRoutes()) == 0 && !f.hasBad("routes") {
		f.wrong("routes", "there are %d clusters, and nothing says which methods each one serves", len(names))
	}
}

// checkReference checks that name is one of the clusters, unless one of them
// could not be read.
func (f *File) checkReference(name string, names []string, path string) {
	switch {
	case name == "" || slices.Contains(names, name) || slices.Contains(names, "") || f.isBad("clusters"):
	case len(names) == 0:
		f.wrong(path, "there is no cluster %s", quote(name))
	default:
		f.wrong(path, "there is no cluster %s; %s", quote(name), suggest(name, names))
	}
}
