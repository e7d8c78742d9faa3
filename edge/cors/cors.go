package cors

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Options say which pages may do what. Without Origins none may.
type Options struct {
	// Origins are the pages' origins: "https://app.example.com",
	// "https://*.example.com" for every name below, or "*" for all.
	Origins []string
	// Credentials lets pages send cookies and client certificates along. It
	// does not go with the origin "*".
	Credentials bool
	// RequestHeaders may be sent beside those of the protocols served here: a
	// name, a prefix with "*", or "*" for all.
	RequestHeaders []string
	// ResponseHeaders may be read beside those of the protocols.
	ResponseHeaders []string
	// MaxAge is how long browsers remember a preflight. 0: not at all.
	MaxAge time.Duration
}

// Policy is compiled Options. It is immutable.
type Policy struct {
	any         bool
	exact       map[string]bool
	below       []pattern
	credentials bool
	request     []string // lower case; "x-*" is a prefix
	expose      []string // one value, shared by all answers
	maxAge      []string
}

// pattern is an origin with "*." before the host.
type pattern struct{ scheme, suffix string } // "https://", ".example.com:8443"

// requestHeaders are sent by clients of the protocols served here.
func requestHeaders() []string {
	return []string{
		"accept", "accept-language", "authorization", "cache-control", "connect-*", "content-encoding", "content-language", "content-type", "grpc-*", "idempotency-key",
		"last-event-id", "range", "traceparent", "tracestate", "x-grpc-web", "x-request-id", "x-requested-with", "x-user-agent",
	}
}

// exposed are read by clients of the protocols served here.
func exposed() []string {
	return []string{
		"Content-Encoding", "Date", "Deprecation", "Grpc-Message", "Grpc-Status", "Grpc-Status-Details-Bin", "Link", "Location", "RateLimit", "RateLimit-Policy",
		"Retry-After", "Sunset", "Www-Authenticate", "X-Request-Id",
	}
}

// New compiles opts. Its error is everything that would not do what it says.
func New(opts Options) (*Policy, error) {
	p := &Policy{exact: map[string]bool{}, credentials: opts.Credentials, request: requestHeaders()}
	var errs []error
	for _, o := range opts.Origins {
		if err := p.add(o); err != nil {
			errs = append(errs, err)
		}
	}
	if p.any && p.credentials {
		errs = append(errs, errors.New(`cors: the origin "*" does not go with credentials: every web page could call in the name of its visitor`))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for _, name := range opts.RequestHeaders {
		p.request = append(p.request, strings.ToLower(name))
	}
	names := exposed()
	for _, name := range opts.ResponseHeaders {
		if name = http.CanonicalHeaderKey(name); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	p.expose = []string{strings.Join(names, ", ")}
	p.maxAge = []string{strconv.FormatInt(int64(opts.MaxAge/time.Second), 10)}
	return p, nil
}

func (p *Policy) add(origin string) error {
	scheme, host, ok := strings.Cut(origin, "://")
	switch {
	case origin == "*":
		p.any = true
	case !ok || scheme == "" || host == "" || strings.ContainsAny(host, "/@?# ") || origin != strings.ToLower(origin):
		return fmt.Errorf("cors: %q is not an origin as browsers write it", origin)
	case strings.HasPrefix(host, "*."):
		if strings.Contains(host[1:], "*") {
			return fmt.Errorf(`cors: %q: "*" stands for the first names of a host only`, origin)
		}
		p.below = append(p.below, pattern{scheme + "://", host[1:]})
	case strings.Contains(host, "*"):
		return fmt.Errorf(`cors: %q: "*" stands for the first names of a host only`, origin)
	default:
		p.exact[origin] = true
	}
	return nil
}

// Allows reports whether pages from origin may call.
func (p *Policy) Allows(origin string) bool {
	return p.any || p.exact[origin] || slices.ContainsFunc(p.below, func(w pattern) bool { return w.matches(origin) })
}

func (w pattern) matches(origin string) bool {
	rest, ok := strings.CutPrefix(origin, w.scheme)
	if !ok {
		return false
	}
	names, ok := strings.CutSuffix(rest, w.suffix)
	return ok && names != "" && strings.Trim(names, "abcdefghijklmnopqrstuvwxyz0123456789-._") == "" &&
		names[0] != '.' && names[len(names)-1] != '.'
}

// Varies reports whether answers differ by the page's origin, so that a cache
// must be told: "Vary: Origin", also on answers to requests without one.
func (p *Policy) Varies() bool { return !p.any }

// Answer adds to an answer's header that the page may read it, if it may.
func (p *Policy) Answer(h http.Header, origin string) {
	if !p.Allows(origin) {
		return
	}
	p.admit(h, origin)
	h["Access-Control-Expose-Headers"] = p.expose
}

func (p *Policy) admit(h http.Header, origin string) {
	if p.any {
		origin = "*"
	}
	h["Access-Control-Allow-Origin"] = []string{origin}
	if p.credentials {
		h["Access-Control-Allow-Credentials"] = []string{"true"}
	}
}

// IsPreflight reports whether a browser asks before it sends another request.
func IsPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

// Preflight writes to h what a browser may send, and returns why it may not.
// The answer has no body; its status is 204.
func (p *Policy) Preflight(h http.Header, r *http.Request) error {
	h["Vary"] = []string{"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"}
	origin := r.Header.Get("Origin")
	if !p.Allows(origin) {
		return fmt.Errorf("web pages from %s may not call this method", show(origin))
	}
	asked := strings.ToLower(strings.Join(r.Header["Access-Control-Request-Headers"], ","))
	for name := range strings.SplitSeq(asked, ",") {
		if name = strings.Trim(name, " \t"); name != "" && !p.mayBeSent(name) {
			return fmt.Errorf("web pages may not send the header field %s to this method", show(name))
		}
	}
	p.admit(h, origin)
	h["Access-Control-Allow-Methods"] = []string{r.Header.Get("Access-Control-Request-Method")}
	if asked != "" {
		h["Access-Control-Allow-Headers"] = []string{asked}
	}
	if p.maxAge[0] != "0" {
		h["Access-Control-Max-Age"] = p.maxAge
	}
	return nil
}

func (p *Policy) mayBeSent(name string) bool {
	return slices.ContainsFunc(p.request, func(allowed string) bool {
		prefix, wild := strings.CutSuffix(allowed, "*")
		return allowed == name || wild && strings.HasPrefix(name, prefix)
	})
}

// show bounds what is repeated to a client.
func show(s string) string {
	if len(s) > 100 {
		s = s[:100] + "..."
	}
	return strconv.QuoteToASCII(s)
}
