package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"text/tabwriter"

	"google.golang.org/grpc/connectivity"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/transomhq/transom/admin"
	"github.com/transomhq/transom/config"
	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
)

func (g *Gateway) adminOptions(cfg *configv1.Config) admin.Options {
	address := cfg.GetAdmin().GetAddress()
	if !isLoopback(address) {
		g.log.Warn("the admin listener is not on loopback: whoever reaches it reads everything", "address", address)
	}
	return admin.Options{
		Address: address, AllowRemote: true, Hosts: cfg.GetAdmin().GetAllowedHosts(), Logger: g.log,
		Checks:   []admin.Check{{Name: "serving", Ready: g.isServing}, {Name: "upstreams", Ready: g.hasUpstream}},
		Gatherer: g.metrics, Level: g.level, Version: g.options.version,
		Routes: g.adminRoutes, Config: g.effectiveConfig, Schema: g.schemaImage,
	}
}

// isLoopback reports whether only this machine reaches address.
func isLoopback(address string) bool {
	if strings.HasPrefix(address, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(address)
	ip, ipErr := netip.ParseAddr(host)
	return err == nil && (host == "localhost" || ipErr == nil && ip.IsLoopback())
}

// isServing fails from the moment the gateway is told to end.
func (g *Gateway) isServing(context.Context) error {
	select {
	case <-g.edge.Draining():
		return errors.New("draining")
	default:
		return nil
	}
}

// hasUpstream fails when no cluster at all can be reached: then this gateway
// can answer nothing. One unreachable cluster among several is the problem of
// its own methods, which answer UNAVAILABLE.
func (g *Gateway) hasUpstream(context.Context) error {
	h := g.enter()
	if h == nil {
		return errors.New("ended")
	}
	defer h.leave()
	var down []string
	for _, c := range h.backends.clusters {
		if c.State() == connectivity.TransientFailure {
			down = append(down, c.Name())
		}
	}
	if len(down) > 0 && len(down) == len(h.backends.clusters) {
		return fmt.Errorf("cannot be reached: %s", strings.Join(down, ", "))
	}
	return nil
}

func (g *Gateway) adminRoutes() []admin.Route {
	h := g.enter()
	if h == nil {
		return nil
	}
	defer h.leave()
	var out []admin.Route
	for _, r := range h.routes() {
		out = append(out, admin.Route{
			HTTPMethod: r.HTTPMethod, Template: r.Template, RPC: r.Method, Kind: strings.ReplaceAll(r.Kind, " ", "_"),
			Body: r.Body, Cluster: r.Upstream, Origin: r.Origin,
		})
	}
	return out
}

// effectiveConfig is the running configuration with its defaults, its secrets masked.
func (g *Gateway) effectiveConfig() ([]byte, string, error) {
	text, err := config.Marshal(config.Mask(g.config()))
	return text, "application/yaml", err
}

// schemaImage is the running schema as a FileDescriptorSet.
func (g *Gateway) schemaImage() ([]byte, error) {
	h := g.enter()
	if h == nil {
		return nil, errors.New("the gateway has ended")
	}
	defer h.leave()
	set := &descriptorpb.FileDescriptorSet{}
	h.schema.Files.RangeFiles(func(fd protoreflect.FileDescriptor) bool {
		set.File = append(set.File, protodesc.ToFileDescriptorProto(fd))
		return true
	})
	return proto.Marshal(set)
}

// WriteRoutes writes routes as a table for people.
func WriteRoutes(w io.Writer, routes []Route) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "HTTP\tPATH\tMETHOD\tKIND\tUPSTREAM")
	for _, r := range routes {
		upstream := r.Upstream
		if upstream == "" {
			upstream = "-"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", r.HTTPMethod, r.Template, r.Method, r.Kind, upstream)
	}
	return tw.Flush()
}
