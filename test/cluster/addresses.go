// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"net/netip"
	"strings"
)

// family is the addresses of a cluster with nodes, of one version of IP. They need not be free on this machine, and
// clusters beside each other have the same: each has networks of its own.
type family struct {
	nodes    netip.Prefix
	pods     netip.Prefix // of all nodes
	services netip.Prefix
	all      netip.Prefix
}

var (
	ipv4 = family{
		nodes:    netip.MustParsePrefix("172.30.0.0/24"),
		pods:     netip.MustParsePrefix("10.244.0.0/16"),
		services: netip.MustParsePrefix("10.96.0.0/16"),
		all:      netip.MustParsePrefix("0.0.0.0/0"),
	}
	ipv6 = family{
		nodes:    netip.MustParsePrefix("fd00:172:30::/64"),
		pods:     netip.MustParsePrefix("fd00:10:244::/48"),
		services: netip.MustParsePrefix("fd00:10:96::/112"),
		all:      netip.MustParsePrefix("::/0"),
	}
)

// apiPort is the API server's on the first node.
const apiPort = "6443"

// maxNodes is how many fit in front of the gateway.
const maxNodes = 100

func nodeName(i int) string { return fmt.Sprintf("node%d", i) }

// node is the address of the i-th node, beginning with 1.
func (f family) node(i int) netip.Addr { return nth(f.nodes, i) }

// gateway is the address of what is outside of the cluster.
func (f family) gateway() netip.Addr { return nth(f.nodes, 254) }

// api is the address of the Service kubernetes, which is always the first.
func (f family) api() netip.Addr { return nth(f.services, 1) }

func (f family) dns() netip.Addr { return nth(f.services, 10) }

// podRange is the range of the i-th node's pods: a /24, or a /64 of IPv6.
func (f family) podRange(i int) netip.Prefix {
	bytes, bits := f.pods.Addr().AsSlice(), 24
	if f.pods.Addr().Is6() {
		bits = 64
	}
	bytes[bits/8-1] = byte(i)
	first, _ := netip.AddrFromSlice(bytes) // its length is that of an address
	return netip.PrefixFrom(first, bits)
}

// nth is the n-th address of a range, which is not larger than 255.
func nth(p netip.Prefix, n int) netip.Addr {
	bytes := p.Addr().AsSlice()
	bytes[len(bytes)-1] = byte(n)
	addr, _ := netip.AddrFromSlice(bytes)
	return addr
}

// listOf is what families have of something, the primary family's first, as flags want it.
func listOf[T fmt.Stringer](families []family, of func(family) T) string {
	var all []string
	for _, f := range families {
		all = append(all, of(f).String())
	}
	return strings.Join(all, ",")
}
