package edge

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/transomhq/transom/edge/framing"
	"github.com/transomhq/transom/rpc"
)

// Handler answers one request. call is its record, opened by the edge, which
// also finishes it; Client, RequestID, Host, HTTPMethod, Path, UserAgent, Proto
// and TLS are set.
//
// w has the optional methods of http.ResponseController. SetReadDeadline and
// SetWriteDeadline with the zero time lift the edge's own limits on slow bodies
// and slow readers for this request, as a stream wants. r.Body has a method
// SetLimit(bytes int64), which replaces Limits.BodyBytes; negative is no limit.
// Errors of r.Body's Read are *rpc.Error where the client is at fault.
type Handler func(w http.ResponseWriter, r *http.Request, call *rpc.Call)

// Options say what an edge does. Handler and at least one listener are
// required; the zero value of everything else is a safe default.
type Options struct {
	Handler   Handler
	Listeners []Listener

	// Finish, if any, runs once at the end of every call.
	Finish func(*rpc.Call)
	// Refuse, if any, writes a refusal of the edge's in the form that the
	// client's protocol wants. nil writes {"code", "message"} as JSON. It is not
	// asked about malformed HTTP/1.1, which never becomes a request.
	Refuse func(w http.ResponseWriter, r *http.Request, call *rpc.Call, err *rpc.Error)
	// Logger is slog.Default() when nil.
	Logger *slog.Logger

	Limits   Limits
	Timeouts Timeouts

	// TrustedProxies are the peers whose word on the client's address and the
	// request's id is taken: CIDR prefixes, addresses, or "unix" for the peers
	// on Unix sockets. Empty trusts nobody.
	TrustedProxies []string
	// ClientIPHeader is the one field that trusted proxies write the client's
	// address to: "X-Forwarded-For" (the default), "Forwarded" (RFC 7239), or
	// any other field that holds one address. Only one is ever believed, since
	// a proxy passes on what clients wrote to the others.
	ClientIPHeader string

	// ResponseHeader are fields set on every answer, unless the handler sets
	// them otherwise.
	ResponseHeader map[string]string
	// SecurityHeaders sets fields that keep browsers from misreading answers,
	// other than those of framed messages: no sniffing of types, no frames, no
	// referrer. ResponseHeader wins.
	SecurityHeaders bool
	// HSTS is the max-age of Strict-Transport-Security on answers over TLS; 0
	// sends none (RFC 6797).
	HSTS time.Duration

	// DrainDelay is how long Drain keeps accepting after readiness failed, so
	// that load balancers notice. Default 0.
	DrainDelay time.Duration
}

// Listener is one address to listen at.
type Listener struct {
	// Address is "host:port" (port 0 picks one), or "unix:/path/to/socket".
	Address string
	// TLS serves TLS; nil serves plain text.
	TLS *TLS
	// ProxyProtocol expects a PROXY header, version 1 or 2, on every
	// connection. Only trusted proxies may connect then.
	ProxyProtocol bool
}

// Limits bound what clients can make the edge hold. 0 is the default, a
// negative number no limit where one is allowed.
type Limits struct {
	// Connections open at a time, in all. Default 16384. One more is closed at
	// once.
	Connections int
	// ConnectionsPerClient open at a time, per IPv4 address or IPv6 /64
	// network. Trusted proxies are never counted. The default, 2048, leaves out
	// loopback addresses, too, where sidecars live. -1 is no limit.
	ConnectionsPerClient int
	// Streams open at a time on one HTTP/2 connection. Default 250.
	Streams int
	// HeaderBytes of a request's head: request line and fields. Default 65536.
	HeaderBytes int
	// HeaderFields of a request. Default 256.
	HeaderFields int
	// URIBytes of a request's target. Default 16384.
	URIBytes int
	// BodyBytes of a request's body as it is on the wire. Default 64 MiB; -1 is
	// no limit. Bodies that are streams of framed messages (application/grpc*,
	// application/connect+*) are not bounded here: their doors bound messages.
	BodyBytes int64
}

// Timeouts bound how long clients may take. 0 is the default, a negative
// duration no limit. They are kept with a precision of an eighth, at most one
// second.
type Timeouts struct {
	// Handshake of TLS, and the PROXY header. Default 10 s.
	Handshake time.Duration
	// ReadHeader is the time for a whole head, from the connection's start or
	// from its first byte on a connection that is kept alive. Default 10 s.
	ReadHeader time.Duration
	// Idle between two requests, and of an HTTP/2 connection without streams.
	// Default 3 min.
	Idle time.Duration
	// BodyIdle is how long a handler may wait for the next bytes of a body that
	// is not framed messages. Default 30 s.
	BodyIdle time.Duration
	// BodyRate is the least average rate, in bytes per second, of a body that
	// took longer than BodyIdle. Default 240; -1 is no limit.
	BodyRate int
	// WriteIdle is how long a client may leave its socket full, or the flow
	// control window of a stream that is not framed messages. Default 30 s.
	WriteIdle time.Duration
	// Ping is how long an HTTP/2 connection may be silent before it is asked
	// for a sign of life, which it has 15 s to give. Default 1 min.
	Ping time.Duration
}

func (l Limits) withDefaults() Limits {
	l.Connections = cmp.Or(l.Connections, 16384)
	l.Streams = cmp.Or(l.Streams, 250)
	l.HeaderBytes = cmp.Or(l.HeaderBytes, 64<<10)
	l.HeaderFields = cmp.Or(l.HeaderFields, 256)
	l.URIBytes = cmp.Or(l.URIBytes, 16<<10)
	l.BodyBytes = cmp.Or(l.BodyBytes, 64<<20)
	return l
}

func (l Limits) validate() error {
	for name, v := range map[string]int{
		"connections": l.Connections, "streams": l.Streams, "header bytes": l.HeaderBytes,
		"header fields": l.HeaderFields, "URI bytes": l.URIBytes,
	} {
		if v < 0 {
			return fmt.Errorf("edge: limit of %s is %d, want a positive number", name, v)
		}
	}
	return nil
}

func (l Limits) framing() framing.Limits {
	return framing.Limits{Head: l.HeaderBytes, URI: l.URIBytes, Fields: l.HeaderFields, ChunkExt: 4096}
}

func (t Timeouts) withDefaults() Timeouts {
	t.Handshake = duration(t.Handshake, 10*time.Second)
	t.ReadHeader = duration(t.ReadHeader, 10*time.Second)
	t.Idle = duration(t.Idle, 3*time.Minute)
	t.BodyIdle = duration(t.BodyIdle, 30*time.Second)
	t.BodyRate = cmp.Or(t.BodyRate, 240)
	t.WriteIdle = duration(t.WriteIdle, 30*time.Second)
	t.Ping = duration(t.Ping, time.Minute)
	return t
}

// duration returns d, the default for 0, and 0 for none.
func duration(d, def time.Duration) time.Duration { return max(cmp.Or(d, def), 0) }

// precision is how often the watch looks, for the shortest of its limits.
func (t Timeouts) precision() time.Duration {
	p := 8 * time.Second
	for _, d := range []time.Duration{t.ReadHeader, t.BodyIdle, t.WriteIdle} {
		if d > 0 {
			p = min(p, d)
		}
	}
	return max(p/8, 5*time.Millisecond)
}

// trust is the set of peers whose word is taken.
type trust struct {
	prefixes []netip.Prefix
	unix     bool
}

func parseTrust(list []string) (trust, error) {
	var t trust
	for _, s := range list {
		if s == "unix" {
			t.unix = true
			continue
		}
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, aerr := netip.ParseAddr(s)
			if aerr != nil || a.Zone() != "" {
				return trust{}, fmt.Errorf(`edge: trusted proxy %q: want a CIDR prefix, an address, or "unix"`, s)
			}
			a = a.Unmap()
			p = netip.PrefixFrom(a, a.BitLen())
		}
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		t.prefixes = append(t.prefixes, p.Masked())
	}
	return t, nil
}

// has reports whether addr is trusted. The zero Addr, which Unix peers and
// peers of unknown address have, is trusted when unix sockets are.
func (t trust) has(addr netip.Addr) bool {
	if !addr.IsValid() {
		return t.unix
	}
	return slices.ContainsFunc(t.prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// headerPairs returns the default response fields, canonical and sorted.
func headerPairs(h map[string]string) ([]headerPair, error) {
	var pairs []headerPair
	for name, value := range h {
		if name == "" || strings.ContainsAny(name, " :\r\n") || strings.ContainsAny(value, "\r\n\x00") {
			return nil, fmt.Errorf("edge: response header %q: malformed name or value", name)
		}
		pairs = append(pairs, headerPair{http.CanonicalHeaderKey(name), []string{value}})
	}
	slices.SortFunc(pairs, func(a, b headerPair) int { return strings.Compare(a.name, b.name) })
	return pairs, nil
}

// securityHeaders are the fields of SecurityHeaders that header does not set.
func securityHeaders(header []headerPair) []headerPair {
	var pairs []headerPair
	for _, p := range []headerPair{
		{"X-Content-Type-Options", []string{"nosniff"}}, // Fetch standard, section 3.6
		{"X-Frame-Options", []string{"DENY"}},           // RFC 7034
		{"Referrer-Policy", []string{"no-referrer"}},
	} {
		if !slices.ContainsFunc(header, func(own headerPair) bool { return own.name == p.name }) {
			pairs = append(pairs, p)
		}
	}
	return pairs
}

type headerPair struct {
	name   string
	values []string // shared by all answers, capacity 1: appending copies
}
