package websocket

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/rpc"
)

// origins are the web origins that may open sockets (RFC 6454). Browsers send
// their cookies along whatever page opens a socket, and no CORS check guards
// it: this is the only guard against foreign pages.
type origins struct {
	any      bool
	exact    map[string]bool
	suffixes []suffix // "https://*.example.com"
}

type suffix struct{ scheme, host string }

func newOrigins(list []string) (origins, error) {
	o := origins{exact: map[string]bool{}}
	var errs []error
	for _, s := range list {
		if s == "*" {
			o.any = true
			continue
		}
		scheme, host, ok := strings.Cut(strings.ToLower(s), "://")
		switch {
		case s == "null":
			o.exact[s] = true
		case !ok || scheme == "" || host == "" || strings.ContainsAny(host, "/?#@"), strings.Contains(strings.TrimPrefix(host, "*."), "*"):
			errs = append(errs, fmt.Errorf(`origin %q: write "https://host", "https://host:port", "https://*.host", "null" or "*"`, s))
		case strings.HasPrefix(host, "*."):
			o.suffixes = append(o.suffixes, suffix{scheme, host[1:]})
		default:
			o.exact[scheme+"://"+withoutDefaultPort(scheme, host)] = true
		}
	}
	return o, errors.Join(errs...)
}

// check refuses a handshake from a foreign page. What sends no Origin is no browser.
func (o *origins) check(r *http.Request) *rpc.Error {
	values := r.Header["Origin"]
	if len(values) == 0 || o.any {
		return nil
	}
	if len(values) == 1 && (o.exact[strings.ToLower(values[0])] || o.allows(values[0], r)) {
		return nil
	}
	return rpc.Errorf(codes.PermissionDenied, "sockets from this origin are not allowed").WithHTTPStatus(http.StatusForbidden)
}

func (o *origins) allows(origin string, r *http.Request) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || u.Path != "" || u.User != nil || u.RawQuery != "" {
		return false
	}
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	bare := withoutDefaultPort(scheme, host)
	if o.exact[scheme+"://"+bare] {
		return true
	}
	for _, s := range o.suffixes {
		if s.scheme == scheme && strings.HasSuffix(bare, s.host) && len(bare) > len(s.host) {
			return true
		}
	}
	// The same origin. A proxy in front may end TLS, so http alone does not tell
	// the page's scheme; but over TLS, a page without it is another origin.
	if r.TLS != nil && scheme != "https" {
		return false
	}
	return bare == withoutDefaultPort(scheme, strings.ToLower(r.Host))
}

func withoutDefaultPort(scheme, host string) string {
	switch scheme {
	case "http", "ws":
		return strings.TrimSuffix(host, ":80")
	case "https", "wss":
		return strings.TrimSuffix(host, ":443")
	}
	return host
}
