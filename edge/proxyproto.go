package edge

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
)

// The PROXY protocol: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
const (
	proxyV2Signature = "\r\n\r\n\x00\r\nQUIT\n"
	proxyV1Max       = 107  // bytes of a whole line, CRLF included
	proxyV2Max       = 4096 // bytes of addresses and TLVs that are read
)

var errProxyHeader = errors.New("malformed PROXY header")

// readProxyHeader reads a PROXY header, version 1 or 2, and not a byte more. It
// returns the source, or the zero AddrPort when the proxy speaks for itself or
// for a client without an IP address.
func readProxyHeader(r io.Reader) (netip.AddrPort, error) {
	head := make([]byte, len(proxyV2Signature), proxyV1Max)
	if _, err := io.ReadFull(r, head); err != nil {
		return netip.AddrPort{}, err
	}
	if string(head) == proxyV2Signature {
		return readProxyV2(r)
	}
	if string(head[:6]) != "PROXY " {
		return netip.AddrPort{}, errProxyHeader
	}
	for head[len(head)-1] != '\n' {
		if len(head) == proxyV1Max {
			return netip.AddrPort{}, errProxyHeader
		}
		head = head[:len(head)+1]
		if _, err := io.ReadFull(r, head[len(head)-1:]); err != nil {
			return netip.AddrPort{}, err
		}
	}
	return parseProxyV1(string(head))
}

// parseProxyV1 reads "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n".
func parseProxyV1(line string) (netip.AddrPort, error) {
	line, ok := strings.CutSuffix(line, "\r\n")
	f := strings.Split(line, " ")
	if !ok || len(f) < 2 {
		return netip.AddrPort{}, errProxyHeader
	}
	if f[1] == "UNKNOWN" {
		return netip.AddrPort{}, nil
	}
	if len(f) != 6 || f[1] != "TCP4" && f[1] != "TCP6" {
		return netip.AddrPort{}, errProxyHeader
	}
	src, err := netip.ParseAddr(f[2])
	if err != nil || src.Is4() != (f[1] == "TCP4") || src.Zone() != "" {
		return netip.AddrPort{}, errProxyHeader
	}
	ap, err := netip.ParseAddrPort(net.JoinHostPort(f[2], f[4]))
	if err != nil {
		return netip.AddrPort{}, errProxyHeader
	}
	return netip.AddrPortFrom(src.Unmap(), ap.Port()), nil
}

// readProxyV2 reads what follows the signature of version 2.
func readProxyV2(r io.Reader) (netip.AddrPort, error) {
	var h [4]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return netip.AddrPort{}, err
	}
	n := int(binary.BigEndian.Uint16(h[2:]))
	if h[0]>>4 != 2 || h[0]&15 > 1 || n > proxyV2Max {
		return netip.AddrPort{}, errProxyHeader
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return netip.AddrPort{}, err
	}
	if h[0]&15 == 0 { // LOCAL
		return netip.AddrPort{}, nil
	}
	switch {
	case h[1] == 0x11 && n >= 12: // TCP over IPv4
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[:4])), binary.BigEndian.Uint16(b[8:])), nil
	case h[1] == 0x21 && n >= 36: // TCP over IPv6
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[:16])).Unmap(), binary.BigEndian.Uint16(b[32:])), nil
	case h[1] == 0x11, h[1] == 0x21:
		return netip.AddrPort{}, errProxyHeader
	}
	return netip.AddrPort{}, nil
}

func addrPort(ap netip.AddrPort) net.Addr { return net.TCPAddrFromAddrPort(ap) }
