// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"testing"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
)

// The first fragment passed in a world that is gone.
func TestFragmentsAfterRevocation(t *testing.T) {
	d := newDataplane(t)
	load(t, d, newWorld(plan.Enforce))
	first := ipPacket(v4.pod, v4.friend, udp, udpDatagram(1, dnsPort, make([]byte, 16)...))
	later := ipPacket(v4.pod, v4.friend, udp, make([]byte, 16))
	d.play(t, []step{{fromPod, ipv4Fragment(first, 1, 0, true), pass}, {fromPod, ipv4Fragment(later, 1, 24, true), pass}})
	w := newWorld(plan.Enforce)
	w.Peers = nil
	load(t, d, w)
	d.play(t, []step{{fromPod, ipv4Fragment(later, 1, 40, false), drop}})
}

// The transport header that was judged lies behind an extension header, at byte 8 of what is fragmented: a later
// fragment that begins there would replace it.
func TestFragmentOverJudgedHeader(t *testing.T) {
	d := newDataplane(t)
	load(t, d, newWorld(plan.Enforce))
	inner := append(extension(tcp, make([]byte, 6)...), append(tcpSegment(1, tlsPort, syn), 0, 0, 0, 0)...)
	first := ipPacket(v6.pod, v6.friend, 44, append(ipv6FragmentHeader(60, 1, 0, true), inner...))
	over := ipPacket(v6.pod, v6.friend, 44, append(ipv6FragmentHeader(60, 1, 8, false), tcpSegment(1, 22, syn)...))
	d.play(t, []step{{fromPod, first, pass}, {fromPod, over, drop}})
}

// A neighbour's message has at least 8 bytes, and lies in the packet.
func TestShortNeighbourMessages(t *testing.T) {
	d := newDataplane(t)
	load(t, d, newWorld(plan.Enforce))
	for size := range 8 {
		packet := edit(ipPacket("fe80::1", "ff02::1", icmp6, append([]byte{135}, make([]byte, 7)...)[:size]), 7, 255)
		d.play(t, []step{{toPod, packet, drop}})
	}
	padded := edit(ipPacket("fe80::1", "ff02::1", 60, extension(icmp6)), 7, 255)
	if d.runFrame(t, toPod, append(frame(padded), 135, 0, 0, 0, 0, 0, 0, 0)) {
		t.Error("passed because of what is behind the packet")
	}
}

// What an ICMP error quotes lies in the packet.
func TestQuoteInPadding(t *testing.T) {
	d := newDataplane(t)
	load(t, d, newWorld(plan.Enforce))
	opening := ipPacket(v4.pod, v4.friend, tcp, tcpSegment(500, tlsPort, syn))
	empty := frame(ipPacket(v4.internet, v4.pod, icmp4, icmpError(3, 0, nil)))
	d.play(t, []step{{fromPod, opening, pass}})
	if d.runFrame(t, toPod, append(empty, opening...)) {
		t.Error("passed because of what is behind the packet")
	}
}

// A quoted header that says that nothing follows it is no packet of its own: it lies in the error's.
func TestQuotedHeaderInPadding(t *testing.T) {
	d := newDataplane(t)
	load(t, d, newWorld(plan.Enforce))
	const encapsulated = 50
	d.play(t, []step{{toPod, ipPacket(v6.node, v6.pod, encapsulated, nil), pass}})
	empty := frame(ipPacket(v6.internet, v6.pod, icmp6, icmpError(1, 0, nil)))
	if d.runFrame(t, toPod, append(empty, ipPacket(v6.pod, v6.node, encapsulated, nil)...)) {
		t.Error("passed because of what is behind the packet")
	}
}
