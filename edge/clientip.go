package edge

import (
	"net/http"
	"net/netip"
	"strings"
)

// forwardingFields are written by proxies about the client. From anybody who is
// not a trusted proxy they are forgeries, and are dropped.
func forwardingFields() []string {
	return []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Real-Ip", "Forwarded"}
}

// ClientIPFromTrustedProxies returns the client's address for a request that
// peer sent with header h. Only what trusted peers say counts, read from the
// right, where the nearest proxy wrote: the client is the first address that is
// not a trusted proxy. It fails closed: behind an entry that is no address
// nothing is believed, and the client is the last proxy known.
//
// field is "X-Forwarded-For", "Forwarded" (RFC 7239) or the name of a field that
// holds one address, in canonical form.
func ClientIPFromTrustedProxies(peer netip.Addr, h http.Header, field string, trusted []netip.Prefix, trustUnix bool) netip.Addr {
	return clientIP(peer, h[field], field, trust{trusted, trustUnix})
}

func clientIP(peer netip.Addr, values []string, field string, t trust) netip.Addr {
	if len(values) == 0 || !t.has(peer) {
		return peer
	}
	if field != "X-Forwarded-For" && field != "Forwarded" {
		if a, ok := parseNode(values[0]); ok && len(values) == 1 {
			return a
		}
		return peer
	}
	client := peer
	for i := len(values) - 1; i >= 0; i-- {
		for rest := values[i]; ; {
			comma := strings.LastIndexByte(rest, ',')
			hop := rest[comma+1:]
			if field == "Forwarded" {
				hop = forwardedFor(hop)
			}
			a, ok := parseNode(hop)
			if !ok {
				return client
			}
			client = a
			if !t.has(a) {
				return client
			}
			if comma < 0 {
				break
			}
			rest = rest[:comma]
		}
	}
	return client
}

// forwardedFor returns the node of the "for" parameter of one forwarded-element.
// A quoted string with a comma in it was cut up by the caller and yields
// nothing, which fails closed.
func forwardedFor(element string) string {
	found := ""
	for pair := range strings.SplitSeq(element, ";") {
		name, value, ok := strings.Cut(strings.Trim(pair, " \t"), "=")
		if !ok || !strings.EqualFold(name, "for") {
			continue
		}
		if found != "" {
			return ""
		}
		if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
			value = value[1 : len(value)-1]
		}
		found = value
	}
	return found
}

// parseNode reads an address with an optional port: "1.2.3.4", "1.2.3.4:5",
// "2001:db8::1", "[2001:db8::1]:5".
func parseNode(s string) (netip.Addr, bool) {
	s = strings.Trim(s, " \t")
	a, err := netip.ParseAddr(s)
	if err != nil && len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
		a, err = netip.ParseAddr(s[1 : len(s)-1])
	}
	if err != nil {
		var ap netip.AddrPort
		ap, err = netip.ParseAddrPort(s)
		a = ap.Addr()
	}
	return a.Unmap(), err == nil && a.Zone() == "" && !a.IsUnspecified()
}
