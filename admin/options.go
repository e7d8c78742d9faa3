package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// DefaultAddress is where Options without an Address listen.
const DefaultAddress = "127.0.0.1:9901"

// Options say what an admin server shows. The zero value serves health,
// readiness without checks, and profiles, on loopback. A nil provider leaves
// its page out.
type Options struct {
	// Address is "host:port" (port 0 picks one) or "unix:/path". Default
	// DefaultAddress.
	Address string
	// AllowRemote allows an Address that is not loopback. There is no
	// authentication: whoever reaches the port sees all pages.
	AllowRemote bool
	// Hosts are names that requests may ask for besides "localhost" and IP
	// addresses. Any other Host is refused, or a web page could reach the
	// server by a name of its own (DNS rebinding).
	Hosts []string
	// Logger is slog.Default() when nil.
	Logger *slog.Logger

	// Checks are the readiness checks. They run at each request, together, and
	// each has CheckTimeout.
	Checks []Check
	// CheckTimeout is how long one readiness check may take. Default 2 s.
	CheckTimeout time.Duration

	// Gatherer is what /metrics shows.
	Gatherer prometheus.Gatherer
	// Level is what /loglevel shows and sets.
	Level *slog.LevelVar
	// Routes returns what is served now. It must not be changed afterwards.
	Routes func() []Route
	// Config returns the effective configuration as text, secrets masked, and
	// its content type, such as "application/yaml".
	Config func() (text []byte, contentType string, err error)
	// Schema returns the loaded schema as a FileDescriptorSet in wire form.
	Schema func() ([]byte, error)
	// Version is shown on the index page.
	Version string
}

// Check is one condition of being ready.
type Check struct {
	// Name tells checks apart: "schema", "upstream/orders".
	Name string
	// Ready returns nil when the condition holds, else why it does not. It must
	// return soon after ctx ends, and is called concurrently.
	Ready func(ctx context.Context) error
}

// Route is one line of /routes.
type Route struct {
	HTTPMethod string `json:"http_method"` // "GET", or "*" for any
	Template   string `json:"template"`
	RPC        string `json:"rpc"`               // "/pkg.Service/Method"
	Kind       string `json:"kind"`              // "unary", "server_stream", "client_stream", "bidi_stream"
	Body       string `json:"body,omitempty"`    // "", "*" or a field
	Cluster    string `json:"cluster,omitempty"` // where calls go
	Origin     string `json:"origin,omitempty"`  // "shop.proto:41:5"
}

func (o Options) withDefaults() (Options, error) {
	o.Address = cmp.Or(o.Address, DefaultAddress)
	o.CheckTimeout = cmp.Or(o.CheckTimeout, 2*time.Second)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	if !o.AllowRemote && !isLocal(o.Address) {
		return o, fmt.Errorf("admin: address %s is not loopback: everybody who reaches it sees all pages; "+
			"write 127.0.0.1, or allow remote access explicitly", o.Address)
	}
	seen := map[string]bool{}
	for _, c := range o.Checks {
		if c.Name == "" || c.Ready == nil || seen[c.Name] {
			return o, fmt.Errorf("admin: readiness check %q: want a name of its own and a function", c.Name)
		}
		seen[c.Name] = true
	}
	for _, h := range o.Hosts {
		if h == "" || strings.ContainsAny(h, ":/* ") {
			return o, errors.New("admin: hosts are plain names, without port")
		}
	}
	return o, nil
}

// isLocal reports whether only this machine reaches address.
func isLocal(address string) bool {
	if strings.HasPrefix(address, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
