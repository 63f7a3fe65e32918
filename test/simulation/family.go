// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"net/netip"

	"github.com/cilium/cilium/api/v1/flow"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// address is one of the cluster's family: the IPv4 address itself, or the one that ends in it.
func (o Options) address(a, b, c, d byte) netip.Addr {
	return o.mapped(netip.AddrFrom4([4]byte{a, b, c, d}))
}

// mapped puts an IPv4 address into the range for documentation, 2001:db8::/96, in a cluster of IPv6.
func (o Options) mapped(addr netip.Addr) netip.Addr {
	if !o.IPv6 || !addr.Is4() {
		return addr
	}
	b := [16]byte{0x20, 0x01, 0x0d, 0xb8}
	v4 := addr.As4()
	copy(b[12:], v4[:])
	return netip.AddrFrom16(b)
}

// renumber gives the application's externals addresses of the cluster's family.
func (a *Application) renumber(o Options) {
	for _, x := range a.externals {
		for i := range x.Addresses {
			x.Addresses[i] = o.mapped(x.Addresses[i])
		}
	}
}

// The family in the words of each API.

func (o Options) addressType() discoveryv1.AddressType {
	if o.IPv6 {
		return discoveryv1.AddressTypeIPv6
	}
	return discoveryv1.AddressTypeIPv4
}

func (o Options) families() []corev1.IPFamily {
	if o.IPv6 {
		return []corev1.IPFamily{corev1.IPv6Protocol}
	}
	return []corev1.IPFamily{corev1.IPv4Protocol}
}

func version(addr netip.Addr) flow.IPVersion {
	if addr.Is4() {
		return flow.IPVersion_IPv4
	}
	return flow.IPVersion_IPv6
}

// ping is an echo request, or its answer.
func ping(version flow.IPVersion, reply bool) *flow.Layer4 {
	const echo4, reply4, echo6, reply6 = 8, 0, 128, 129
	request, answer := uint32(echo4), uint32(reply4)
	if version == flow.IPVersion_IPv6 {
		request, answer = echo6, reply6
	}
	if reply {
		request = answer
	}
	if version == flow.IPVersion_IPv6 {
		return &flow.Layer4{Protocol: &flow.Layer4_ICMPv6{ICMPv6: &flow.ICMPv6{Type: request}}}
	}
	return &flow.Layer4{Protocol: &flow.Layer4_ICMPv4{ICMPv4: &flow.ICMPv4{Type: request}}}
}
