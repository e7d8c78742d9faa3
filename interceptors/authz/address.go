package authz

import (
	"errors"
	"fmt"
	"net/netip"
)

// prefixes parses addresses and networks. IPv4 in IPv6 is IPv4.
func prefixes(list []string, part string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	var errs []error
	for i, s := range list {
		p, err := parsePrefix(s)
		if err != nil {
			errs = append(errs, fmt.Errorf(`%s[%d]: want an address or a network such as "10.0.0.0/8", not %q`, part, i, s))
			continue
		}
		out = append(out, p)
	}
	return out, errors.Join(errs...)
}

func parsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, errors.New("no address")
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, errors.New("neither IPv4 nor IPv6")
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

// admitsAddress judges the client's address. One that is not known, as on a
// Unix socket, is in no network: an allow-list refuses it.
func (p *plan) admitsAddress(a netip.Addr) bool {
	if len(p.allow)+len(p.block) == 0 {
		return true
	}
	a = a.Unmap().WithZone("")
	return !contains(p.block, a) && (len(p.allow) == 0 || contains(p.allow, a))
}

func contains(list []netip.Prefix, a netip.Addr) bool {
	for i := range list {
		if list[i].Contains(a) {
			return true
		}
	}
	return false
}
