package config

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
	"github.com/transomhq/transom/rpc"
)

// Overrides are what the flags of a command say. Zero fields say nothing.
// Flags alone are enough to serve: Schema and Upstreams.
type Overrides struct {
	// Schema replaces schema.sources (--schema).
	Schema []string
	// HTTPRules replaces schema.http_rules (--http-rules).
	HTTPRules []string
	// Upstreams are "TARGET" or "SELECTOR=TARGET" (--upstream): a cluster and
	// a route each. Targets of the same selector share a cluster. A route of
	// the file with the same selector is replaced.
	Upstreams []string
	// Listen is the address of the one listener (--listen); its TLS stays.
	Listen string
	// Admin is the admin listener's address, or "off" (--admin).
	Admin string
	// Profile is strict, grpc-gateway or envoy (--profile).
	Profile string
	// Codec is direct or reflect (--codec).
	Codec string
	// SkipInvalid sets schema.skip_invalid (--skip-invalid).
	SkipInvalid bool
	// LogFormat is text or json (--log-format).
	LogFormat string
	// LogLevel is debug, info, warn or error (--log-level).
	LogLevel string
}

// Apply sets in cfg what o says. The error is Mistakes.
func (o Overrides) Apply(cfg *configv1.Config) error {
	f := newFile("")
	f.Config = cfg
	o.apply(f)
	return f.mistakes.inOrder()
}

func (o Overrides) apply(f *File) {
	cfg := f.Config
	if len(o.Schema) > 0 || len(o.HTTPRules) > 0 || o.SkipInvalid {
		o.applySchema(f)
	}
	if o.Listen != "" {
		o.applyListen(f)
	}
	if o.Admin != "" {
		if cfg.Admin == nil {
			cfg.Admin = new(configv1.Admin)
		}
		if cfg.Admin.Disabled = o.Admin == "off"; !cfg.Admin.Disabled {
			f.forget("admin.address")
			cfg.Admin.Address = &o.Admin
		}
	}
	o.applyEnums(f)
	o.applyUpstreams(f)
}

func (o Overrides) applySchema(f *File) {
	cfg := f.Config
	if cfg.Schema == nil {
		cfg.Schema = new(configv1.Schema)
	}
	if len(o.Schema) > 0 {
		f.forget("schema.sources")
		cfg.Schema.Sources = o.Schema
	}
	if len(o.HTTPRules) > 0 {
		f.forget("schema.http_rules")
		cfg.Schema.HttpRules = o.HTTPRules
	}
	if o.SkipInvalid {
		cfg.Schema.SkipInvalid = true
	}
}

func (o Overrides) applyListen(f *File) {
	switch n := len(f.Config.GetListeners()); n {
	case 0:
		f.Config.Listeners = []*configv1.Listener{{Address: o.Listen}}
	case 1:
		f.forget("listeners[0].address")
		f.Config.Listeners[0].Address = o.Listen
	default:
		f.flag("--listen", "the file has %d listeners: change them there", n)
	}
}

func (o Overrides) applyEnums(f *File) {
	cfg := f.Config
	if cfg.Rest == nil && (o.Profile != "" || o.Codec != "") {
		cfg.Rest = new(configv1.Rest)
	}
	if o.Profile != "" {
		f.setFlag(cfg.Rest, "profile", "--profile", o.Profile)
	}
	if o.Codec != "" {
		f.setFlag(cfg.Rest, "codec", "--codec", o.Codec)
	}
	if o.LogFormat == "" && o.LogLevel == "" {
		return
	}
	if cfg.Logging == nil {
		cfg.Logging = new(configv1.Logging)
	}
	if o.LogFormat != "" {
		f.setFlag(cfg.Logging, "format", "--log-format", o.LogFormat)
	}
	if o.LogLevel != "" {
		f.setFlag(cfg.Logging, "level", "--log-level", o.LogLevel)
	}
}

// applyUpstreams makes a cluster and a route of each selector, in front of the
// file's.
func (o Overrides) applyUpstreams(f *File) {
	cfg := f.Config
	clusters := map[rpc.Selector]*configv1.Cluster{}
	var routes []*configv1.Route
	for _, u := range o.Upstreams {
		selector, target := splitUpstream(u)
		if _, err := rpc.ParseSelector(string(selector)); err != nil {
			f.flag("--upstream", "%s", err)
			continue
		}
		if target == "" {
			f.flag("--upstream", "%q names no target: write [SELECTOR=]TARGET, as in shop.orders.v1.*=orders:50051", u)
			continue
		}
		c := clusters[selector]
		if c == nil {
			c = &configv1.Cluster{Name: clusterName(cfg, selector, target)}
			clusters[selector] = c
			cfg.Clusters = append(cfg.Clusters, c)
			routes = append(routes, &configv1.Route{Selector: string(selector), Cluster: c.Name})
		}
		c.Targets = append(c.Targets, target)
	}
	if len(routes) == 0 {
		return
	}
	for _, r := range cfg.GetRoutes() {
		if clusters[rpc.Selector(r.GetSelector())] == nil {
			routes = append(routes, r)
		}
	}
	f.forget("routes") // their numbers have changed
	cfg.Routes = routes
}

// splitUpstream splits "SELECTOR=TARGET". A target may contain "=", too, but
// no selector contains ":" or "/".
func splitUpstream(u string) (rpc.Selector, string) {
	if selector, target, ok := strings.Cut(u, "="); ok && !strings.ContainsAny(selector, ":/") {
		return rpc.Selector(selector), target
	}
	return "*", u
}

// clusterName makes a name for a cluster that a flag describes: the target's
// host ("orders"), or the selector's package. Names stay unique.
func clusterName(cfg *configv1.Config, selector rpc.Selector, target string) string {
	name := strings.Trim(strings.TrimSuffix(string(selector), "*"), ".")
	if name == "" {
		host := target[strings.LastIndex(target, "/")+1:]
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		name = cleanName(host)
	}
	unique := name
	for i := 2; hasCluster(cfg, unique); i++ {
		unique = name + "-" + strconv.Itoa(i)
	}
	return unique
}

func hasCluster(cfg *configv1.Config, name string) bool {
	for _, c := range cfg.GetClusters() {
		if c.GetName() == name {
			return true
		}
	}
	return false
}

// cleanName makes a cluster's name of a host.
func cleanName(host string) string {
	name := strings.Map(func(r rune) rune {
		if isNameRune(r) {
			return r
		}
		return '-'
	}, host)
	if name = strings.Trim(name, "-."); name == "" {
		return "upstream"
	}
	return name
}

// flag notes a mistake in a flag.
func (f *File) flag(name, format string, args ...any) {
	f.mistakes = append(f.mistakes, Mistake{Path: name, Text: fmt.Sprintf(format, args...)})
}

// setFlag sets one field of m from a flag's text.
func (f *File) setFlag(m proto.Message, field protoreflect.Name, flag, text string) {
	fd := m.ProtoReflect().Descriptor().Fields().ByName(field)
	v, err := parseScalar(fd, text)
	if err != nil {
		f.flag(flag, "want %s, not %s%s", wanted(fd), quote(text), err)
		return
	}
	m.ProtoReflect().Set(fd, v)
}
