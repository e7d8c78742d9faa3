package edge_test

import (
	"encoding/binary"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/transomhq/transom/edge"
)

func TestClientIPFromTrustedProxies(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}
	const xff, fwd = "X-Forwarded-For", "Forwarded"
	for _, tt := range []struct {
		name, peer, field string
		values            []string
		want              string
	}{
		{"no proxy", "192.0.2.1", xff, nil, "192.0.2.1"},
		{"untrusted peer forges", "192.0.2.1", xff, []string{"1.1.1.1"}, "192.0.2.1"},
		{"one proxy", "10.0.0.1", xff, []string{"192.0.2.7"}, "192.0.2.7"},
		{"client forges through a proxy", "10.0.0.1", xff, []string{"1.1.1.1, 192.0.2.7"}, "192.0.2.7"},
		{"client forges a trusted address", "10.0.0.1", xff, []string{"10.9.9.9, 192.0.2.7"}, "192.0.2.7"},
		{"two proxies", "10.0.0.1", xff, []string{"192.0.2.7, 10.0.0.2"}, "192.0.2.7"},
		{"several lines are one list", "10.0.0.1", xff, []string{"1.1.1.1", "192.0.2.7,10.0.0.2"}, "192.0.2.7"},
		{"all are proxies", "10.0.0.1", xff, []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"garbage nearest", "10.0.0.1", xff, []string{"192.0.2.7, nonsense"}, "10.0.0.1"},
		{"garbage behind a proxy", "10.0.0.1", xff, []string{"192.0.2.7, x, 10.0.0.2"}, "10.0.0.2"},
		{"empty", "10.0.0.1", xff, []string{""}, "10.0.0.1"},
		{"trailing comma", "10.0.0.1", xff, []string{"192.0.2.7,"}, "10.0.0.1"},
		{"unspecified", "10.0.0.1", xff, []string{"0.0.0.0"}, "10.0.0.1"},
		{"port", "10.0.0.1", xff, []string{"192.0.2.7:1234"}, "192.0.2.7"},
		{"IPv6", "2001:db8:1::1", xff, []string{"2001:db8:2::7"}, "2001:db8:2::7"},
		{"IPv6 with port", "10.0.0.1", xff, []string{"[2001:db8:2::7]:80"}, "2001:db8:2::7"},
		{"IPv6 zone", "10.0.0.1", xff, []string{"fe80::1%eth0"}, "10.0.0.1"},
		{"IPv4 in IPv6 is trusted as IPv4", "10.0.0.1", xff, []string{"192.0.2.7, ::ffff:10.0.0.2"}, "192.0.2.7"},
		{"Forwarded", "10.0.0.1", fwd, []string{`for=1.1.1.1, For="[2001:db8:2::7]:80";proto=https, for=10.0.0.2;by=10.0.0.1`}, "2001:db8:2::7"},
		{"Forwarded, unknown", "10.0.0.1", fwd, []string{"for=unknown"}, "10.0.0.1"},
		{"Forwarded, obfuscated", "10.0.0.1", fwd, []string{"for=192.0.2.7, for=_hidden"}, "10.0.0.1"},
		{"Forwarded, two for", "10.0.0.1", fwd, []string{"for=192.0.2.7;for=192.0.2.8"}, "10.0.0.1"},
		{"Forwarded, quoted comma", "10.0.0.1", fwd, []string{`for="192.0.2.7, for=192.0.2.8"`}, "10.0.0.1"},
		{"one address", "10.0.0.1", "X-Real-Ip", []string{"192.0.2.7"}, "192.0.2.7"},
		{"one address, forged twice", "10.0.0.1", "X-Real-Ip", []string{"192.0.2.7", "192.0.2.8"}, "10.0.0.1"},
		{"one address, a list", "10.0.0.1", "X-Real-Ip", []string{"192.0.2.7, 192.0.2.8"}, "10.0.0.1"},
	} {
		h := http.Header{tt.field: tt.values}
		got := edge.ClientIPFromTrustedProxies(netip.MustParseAddr(tt.peer), h, tt.field, trusted, false)
		if got.String() != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// Whatever a client writes to the left of what a trusted proxy wrote, the
// address stays the same.
func FuzzClientIPIsNotForgeable(f *testing.F) {
	f.Add("1.1.1.1, 10.0.0.1")
	f.Add(`for="x`)
	f.Fuzz(func(t *testing.T, forged string) {
		peer, trusted := netip.MustParseAddr("10.0.0.1"), []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		for field, entry := range map[string]string{"X-Forwarded-For": "192.0.2.7, 10.0.0.2", "Forwarded": "for=192.0.2.7, for=10.0.0.2"} {
			for _, values := range [][]string{{forged, entry}, {forged + "," + entry}} {
				if got := edge.ClientIPFromTrustedProxies(peer, http.Header{field: values}, field, trusted, false); got.String() != "192.0.2.7" {
					t.Fatalf("%s: %q: %s", field, values, got)
				}
			}
		}
	})
}

func TestTrustedProxyOnTheSocket(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		opts := edge.Options{Handler: echo}
		if trusted {
			opts.TrustedProxies = []string{"127.0.0.0/8"}
		}
		_, addr := start(t, opts)
		_, body, h := get(t, client(t, false), "http://"+addr+"/", "X-Forwarded-For", "192.0.2.7", "X-Request-Id", "from-proxy.1")
		if got := strings.HasSuffix(body, " 192.0.2.7"); got != trusted {
			t.Errorf("trusted=%v: %s", trusted, body)
		}
		if got := h.Get("X-Request-Id") == "from-proxy.1"; got != trusted {
			t.Errorf("trusted=%v: request id %s", trusted, h.Get("X-Request-Id"))
		}
		for _, id := range []string{"", "a b", `"`, strings.Repeat("a", 129), "é"} {
			if _, _, h := get(t, client(t, false), "http://"+addr+"/", "X-Request-Id", id); len(h.Get("X-Request-Id")) != 32 {
				t.Errorf("the id %q was taken", id)
			}
		}
	}
}

func proxyV2(command, family byte, addresses []byte) string {
	h := []byte("\r\n\r\n\x00\r\nQUIT\n")
	h = append(h, command, family)
	h = binary.BigEndian.AppendUint16(h, uint16(len(addresses)))
	return string(append(h, addresses...))
}

func TestProxyProtocol(t *testing.T) {
	listeners := []edge.Listener{{Address: "127.0.0.1:0", ProxyProtocol: true}}
	_, addr := start(t, edge.Options{Handler: echo, Listeners: listeners, TrustedProxies: []string{"127.0.0.1"}})
	_, strict := start(t, edge.Options{Handler: echo, Listeners: listeners})
	const req = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	v4 := []byte{192, 0, 2, 7, 10, 0, 0, 1, 0, 80, 0, 81}
	v6 := append(netip.MustParseAddr("2001:db8::7").AsSlice(), make([]byte, 20)...)
	for name, tt := range map[string]struct{ header, want string }{
		"v1 IPv4":     {"PROXY TCP4 192.0.2.7 10.0.0.1 80 81\r\n", "192.0.2.7"},
		"v1 IPv6":     {"PROXY TCP6 2001:db8::7 ::1 80 81\r\n", "2001:db8::7"},
		"v1 unknown":  {"PROXY UNKNOWN\r\n", "127.0.0.1"},
		"v2 IPv4":     {proxyV2(0x21, 0x11, append(v4, 4, 0, 1, 9)), "192.0.2.7"},
		"v2 IPv6":     {proxyV2(0x21, 0x21, v6), "2001:db8::7"},
		"v2 local":    {proxyV2(0x20, 0, nil), "127.0.0.1"},
		"none":        {"", ""},
		"v1 mixed":    {"PROXY TCP6 192.0.2.7 10.0.0.1 80 81\r\n", ""},
		"v1 endless":  {"PROXY TCP4 " + strings.Repeat("1", 200) + "\r\n", ""},
		"v1 bare LF":  {"PROXY TCP4 192.0.2.7 10.0.0.1 80 81\n", ""},
		"v1 bad port": {"PROXY TCP4 192.0.2.7 10.0.0.1 99999 81\r\n", ""},
		"v2 short":    {proxyV2(0x21, 0x11, v4[:4]), ""},
		"v2 version":  {proxyV2(0x31, 0x11, v4), ""},
	} {
		c := dial(t, addr)
		_, _ = io.WriteString(c, tt.header+req)
		out, _ := io.ReadAll(c)
		if tt.want == "" && len(out) > 0 || !strings.HasSuffix(string(out), tt.want) {
			t.Errorf("%s: %q, want %q", name, out, tt.want)
		}
	}
	c := dial(t, strict)
	_, _ = io.WriteString(c, "PROXY TCP4 192.0.2.7 10.0.0.1 80 81\r\n"+req)
	if out, _ := io.ReadAll(c); len(out) > 0 {
		t.Errorf("a stranger's PROXY header was believed: %q", out)
	}
}
