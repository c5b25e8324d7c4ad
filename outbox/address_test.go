package outbox

import (
	"errors"
	"net/netip"
	"testing"
)

func TestAddressPolicy(t *testing.T) {
	production := addressPolicy{}
	dev := Config{Dev: true}.addressPolicy()
	cluster := Config{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}.addressPolicy()
	cases := []struct {
		name    string
		policy  addressPolicy
		address string
		ok      bool
	}{
		{"public", production, "93.184.216.34:443", true},
		{"public IPv6", production, "[2606:2800:220:1::1]:443", true},
		{"loopback", production, "127.0.0.1:80", false},
		{"all of loopback", production, "127.8.9.10:80", false},
		{"IPv6 loopback", production, "[::1]:80", false},
		{"IPv4-mapped loopback", production, "[::ffff:127.0.0.1]:80", false},
		{"IPv4-mapped private", production, "[::ffff:10.0.0.1]:80", false},
		{"IPv4-mapped metadata", production, "[::ffff:169.254.169.254]:80", false},
		{"IPv4-mapped public", production, "[::ffff:93.184.216.34]:80", true},
		{"IPv4-compatible", production, "[::127.0.0.1]:80", false},
		{"NAT64", production, "[64:ff9b::7f00:1]:80", false},
		{"6to4", production, "[2002:7f00:1::]:80", false},
		{"Teredo", production, "[2001::1]:80", false},
		{"10/8", production, "10.1.2.3:80", false},
		{"172.16/12", production, "172.31.255.255:80", false},
		{"172.32 is public", production, "172.32.0.1:80", true},
		{"192.168/16", production, "192.168.1.1:80", false},
		{"carrier", production, "100.100.100.200:80", false},
		{"metadata", production, "169.254.169.254:80", false},
		{"metadata IPv6", production, "[fd00:ec2::254]:80", false},
		{"Azure's host services", production, "168.63.129.16:80", false},
		{"link-local IPv6", production, "[fe80::1%eth0]:80", false},
		{"unique local", production, "[fc00::1]:80", false},
		{"unspecified", production, "0.0.0.0:80", false},
		{"unspecified IPv6", production, "[::]:80", false},
		{"multicast", production, "224.0.0.1:80", false},
		{"multicast IPv6", production, "[ff02::1]:80", false},
		{"broadcast", production, "255.255.255.255:80", false},
		{"documentation", production, "203.0.113.7:80", false},
		{"no address", production, "example.com:80", false},
		{"dev: loopback", dev, "127.0.0.1:80", true},
		{"dev: IPv6 loopback", dev, "[::1]:80", true},
		{"dev: private", dev, "10.0.0.1:80", false},
		{"allowed network", cluster, "10.1.2.3:80", true},
		{"allowed network, IPv4-mapped", cluster, "[::ffff:10.1.2.3]:80", true},
		{"beside the allowed network", cluster, "10.2.0.1:80", false},
		{"loopback beside it", cluster, "127.0.0.1:80", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			err := c.policy.control("tcp", c.address, nil)
			if c.ok != (err == nil) || !c.ok && !errors.Is(err, errAddress) {
				t.Errorf("got %v, want ok = %v", err, c.ok)
			}
		})
	}
}
