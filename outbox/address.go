package outbox

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
)

// addressPolicy says where deliveries may go. The URL is somebody else's wish:
// without a policy it could reach what only this machine can.
type addressPolicy struct {
	plainHTTP bool           // http besides https
	loopback  bool           // this machine
	allowed   []netip.Prefix // private networks that are allowed
}

func (c Config) addressPolicy() addressPolicy {
	return addressPolicy{plainHTTP: c.AllowHTTP || c.Dev, loopback: c.Dev, allowed: c.AllowNetworks}
}

// errAddress: the address policy refuses to connect.
var errAddress = errors.New("address refused")

// special are the IPv4 networks that are not the public Internet, the
// registry's (https://www.iana.org/assignments/iana-ipv4-special-registry)
// and what clouds put besides it. IPv6 has only one public network, 2000::/3,
// from which the last ones are taken
// (https://www.iana.org/assignments/iana-ipv6-special-registry).
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // carriers; Alibaba's metadata
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("168.63.129.16/32"), // Azure's host services
	netip.MustParsePrefix("169.254.0.0/16"),   // link-local; most clouds' metadata
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.88.99.0/24"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("224.0.0.0/4"), // multicast
	netip.MustParsePrefix("240.0.0.0/4"), // reserved, broadcast
	netip.MustParsePrefix("2001::/23"),   // protocol assignments, Teredo
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), // 6to4: an IPv4 address inside
	netip.MustParsePrefix("3fff::/20"),
}

var publicIPv6 = netip.MustParsePrefix("2000::/3")

// check refuses an address that is not public unless it is allowed.
func (p addressPolicy) check(addr netip.Addr) error {
	// ::ffff:127.0.0.1 reaches 127.0.0.1.
	addr = addr.WithZone("").Unmap()
	contains := func(n netip.Prefix) bool { return n.Contains(addr) }
	switch {
	case addr.IsLoopback() && p.loopback, slices.ContainsFunc(p.allowed, contains):
		return nil
	case addr.Is6() && !publicIPv6.Contains(addr), slices.ContainsFunc(special, contains):
		return fmt.Errorf("%w: %s is not a public address", errAddress, addr)
	}
	return nil
}

// control is called by the dialer with the address that it is about to connect
// to, after the name was resolved: no second resolution can change it.
func (p addressPolicy) control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %q is not an address", errAddress, address)
	}
	return p.check(ap.Addr())
}
