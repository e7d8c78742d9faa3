package rpc

import (
	"net"
	"net/netip"
)

// AddrOf returns the IP address of addr, IPv4 in its own form; the zero Addr
// for what has none, such as a Unix socket.
func AddrOf(addr net.Addr) netip.Addr {
	switch a := addr.(type) {
	case nil:
		return netip.Addr{}
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap()
	}
	ap, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}
