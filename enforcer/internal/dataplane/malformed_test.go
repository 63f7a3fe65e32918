// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"testing"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
)

// allowedPackets open connections that the test world allows, by family and protocol.
func allowedPackets() map[string][]byte {
	packets := map[string][]byte{}
	for family, a := range families {
		packets[family+" TCP"] = ipPacket(a.pod, a.friend, tcp, tcpSegment(1, tlsPort, syn))
		packets[family+" UDP"] = ipPacket(a.pod, a.friend, udp, udpDatagram(1, dnsPort))
		packets[family+" SCTP"] = ipPacket(a.pod, a.internet, sctp, sctpChunk(1, webPort))
	}
	packets["IPv4 options"] = withIPv4Options(packets["IPv4 TCP"], 10)
	packets["IPv4 ICMP"] = ipPacket(v4.pod, v4.internet, icmp4, echo(8, 1))
	packets["IPv6 ICMP"] = ipPacket(v6.pod, v6.internet, icmp6, echo(128, 1))
	packets["IPv6 extensions"] = ipPacket(v6.pod, v6.friend, 0, append(extension(60), append(extension(43),
		append(extension(6), tcpSegment(1, tlsPort, syn)...)...)...))
	return packets
}

// ipHeaderEnd is the least that the kernel makes a test run on; shorter frames are tested on a real device.
func ipHeaderEnd(packet []byte) int {
	if packet[0]>>4 == 6 {
		return 14 + 40
	}
	return 14 + 20
}

func TestTruncatedPackets(t *testing.T) {
	d := newDataplane(t)
	load(t, d, newWorld(plan.Enforce))
	for name, packet := range allowedPackets() {
		t.Run(name, func(t *testing.T) {
			whole := frame(packet)
			for n := ipHeaderEnd(packet); n < len(whole); n++ {
				if d.runFrame(t, fromPod, whole[:n]) {
					t.Errorf("%d of %d bytes passed", n, len(whole))
				}
			}
			if !d.runFrame(t, fromPod, whole) {
				t.Error("the whole packet was dropped")
			}
			if !d.runFrame(t, fromPod, append(whole, make([]byte, 40)...)) {
				t.Error("dropped with padding behind it")
			}
		})
	}
}

// edit returns a copy of packet with bytes replaced from offset on.
func edit(packet []byte, offset int, bytes ...byte) []byte {
	b := append([]byte{}, packet...)
	copy(b[offset:], bytes)
	return b
}

func TestInconsistentPackets(t *testing.T) {
	d := newDataplane(t)
	load(t, d, newWorld(plan.Enforce))
	four, six := allowedPackets()["IPv4 TCP"], allowedPackets()["IPv6 TCP"]
	udp4 := allowedPackets()["IPv4 UDP"]
	mapped := ipPacket("::ffff:10.0.0.1", "::ffff:10.0.0.2", tcp, tcpSegment(1, tlsPort, syn))
	for name, packet := range map[string][]byte{
		"IPv4 header of 16 bytes":           edit(four, 0, 0x44),
		"IPv4 header longer than packet":    edit(four, 0, 0x4f),
		"IPv4 length 0":                     edit(four, 2, 0, 0),
		"IPv4 length before transport ends": edit(four, 2, 0, 39),
		"IPv4 length beyond the packet":     edit(four, 2, 0, 41),
		"UDP header in the padding":         edit(udp4, 2, 0, 20),
		"TCP header of 16 bytes":            edit(four, 32, 4<<4),
		"TCP header longer than packet":     edit(four, 32, 6<<4),
		"IPv6 length beyond the packet":     edit(six, 4, 0, 21),
		"IPv6 length 0":                     edit(six, 4, 0, 0),
		"IPv6 with mapped addresses":        mapped,
		"IPv6 routed on by the destination": ipPacket(v6.pod, v6.friend, 43, append(extension(6, 0, 1), tcpSegment(1, tlsPort, syn)...)),
		"IPv6 extension beyond the packet":  ipPacket(v6.pod, v6.friend, 60, append([]byte{6, 9}, make([]byte, 30)...)),
		"IPv6 with nine extensions":         nested(9),
	} {
		t.Run(name, func(t *testing.T) {
			family := byte(0x08)
			if packet[0]>>4 == 6 {
				family = 0x86
			}
			ethertype := map[byte]uint16{0x08: 0x0800, 0x86: 0x86dd}[family]
			if d.runFrame(t, fromPod, ethernet(ethertype, packet)) {
				t.Error("it passed")
			}
		})
	}
	for name, raw := range map[string][]byte{
		"IPv6 said to be IPv4": ethernet(0x0800, six),
		"IPv4 said to be IPv6": ethernet(0x86dd, four),
		"neither":              ethernet(0x88cc, four),
		"VLAN in a VLAN":       ethernet(0x8100, append(words(1, 0x0800), four...)),
	} {
		if d.runFrame(t, fromPod, raw) || d.runFrame(t, toPod, raw) {
			t.Errorf("%s passed", name)
		}
	}
	if !d.runFrame(t, fromPod, frame(nested(7))) {
		t.Error("seven extension headers were dropped")
	}
}

// nested is an allowed TCP opening behind n extension headers.
func nested(n int) []byte {
	payload, next := tcpSegment(1, tlsPort, syn), byte(tcp)
	for range n {
		payload, next = append(extension(next), payload...), 60
	}
	return ipPacket(v6.pod, v6.friend, next, payload)
}

func TestFragments(t *testing.T) {
	d := newDataplane(t)
	load(t, d, newWorld(plan.Enforce))
	first := ipPacket(v4.pod, v4.friend, udp, udpDatagram(1, dnsPort, make([]byte, 16)...))
	denied := ipPacket(v4.pod, v4.stranger, udp, udpDatagram(1, dnsPort, make([]byte, 16)...))
	later := ipPacket(v4.pod, v4.friend, udp, make([]byte, 16))
	d.play(t, []step{
		{fromPod, ipv4Fragment(later, 1, 24, false), drop},
		{fromPod, ipv4Fragment(first, 1, 0, true), pass},
		{fromPod, ipv4Fragment(later, 1, 24, false), pass},
		{fromPod, ipv4Fragment(later, 2, 24, false), drop},
		{fromPod, ipv4Fragment(denied, 3, 0, true), drop},
		{fromPod, ipv4Fragment(ipPacket(v4.pod, v4.stranger, udp, make([]byte, 16)), 3, 24, false), drop},
		{fromPod, ipv4Fragment(ipPacket(v4.pod, v4.friend, tcp, append(tcpSegment(1, tlsPort, syn), 0, 0, 0, 0)), 5, 0, true), pass},
		// Would overwrite the header that was judged.
		{fromPod, ipv4Fragment(ipPacket(v4.pod, v4.friend, tcp, make([]byte, 16)), 5, 16, false), drop},
		{fromPod, ipv4Fragment(ipPacket(v4.pod, v4.friend, tcp, make([]byte, 16)), 5, 24, false), pass},
		// Too short to hold the header that is to be judged.
		{fromPod, ipv4Fragment(ipPacket(v4.pod, v4.friend, tcp, tcpSegment(1, tlsPort, syn)[:8]), 4, 0, true), drop},
	})
	six := func(id uint32, offset int, more bool, to string, payload []byte) []byte {
		return ipPacket(v6.pod, to, 44, append(ipv6FragmentHeader(udp, id, offset, more), payload...))
	}
	datagram := udpDatagram(1, dnsPort, make([]byte, 16)...)
	d.play(t, []step{
		{fromPod, six(1, 24, false, v6.friend, make([]byte, 16)), drop},
		{fromPod, six(1, 0, true, v6.friend, datagram), pass},
		{fromPod, six(1, 24, false, v6.friend, make([]byte, 16)), pass},
		{fromPod, six(2, 0, true, v6.stranger, datagram), drop},
		{fromPod, six(2, 24, false, v6.stranger, make([]byte, 16)), drop},
	})
}

func TestICMP(t *testing.T) {
	d := newDataplane(t)
	load(t, d, newWorld(plan.Enforce))
	for _, k := range []struct {
		addresses
		protocol, request, reply, unreachable byte
	}{{v4, icmp4, 8, 0, 3}, {v6, icmp6, 128, 129, 1}} {
		about := func(from, to string, port uint16) []byte {
			return icmpError(k.unreachable, 0, ipPacket(from, to, tcp, tcpSegment(port, tlsPort, syn)))
		}
		d.play(t, []step{
			{toPod, ipPacket(k.internet, k.pod, k.protocol, echo(k.reply, 1)), drop},
			{fromPod, ipPacket(k.pod, k.internet, k.protocol, echo(k.request, 1)), pass},
			{toPod, ipPacket(k.internet, k.pod, k.protocol, echo(k.reply, 1)), pass},
			{toPod, ipPacket(k.internet, k.pod, k.protocol, echo(k.reply, 2)), drop},
			{toPod, ipPacket(k.internet, k.pod, k.protocol, echo(k.request, 1)), drop},
			{fromPod, ipPacket(k.pod, k.stranger, k.protocol, echo(k.request, 1)), drop},

			{toPod, ipPacket(k.internet, k.pod, k.protocol, about(k.pod, k.friend, 500)), drop},
			{fromPod, ipPacket(k.pod, k.friend, tcp, tcpSegment(500, tlsPort, syn)), pass},
			{toPod, ipPacket(k.internet, k.pod, k.protocol, about(k.pod, k.friend, 500)), pass},
			{toPod, ipPacket(k.internet, k.pod, k.protocol, about(k.pod, k.friend, 500)[:8+20]), drop},
			{toPod, ipPacket(k.internet, k.pod, k.protocol, about(k.pod, k.stranger, 500)), drop},
			{toPod, ipPacket(k.internet, k.pod, k.protocol, about(k.friend, k.pod, 500)), drop},
		})
	}
}

func TestLinkProtocols(t *testing.T) {
	d := newDataplane(t)
	load(t, d, newWorld(plan.Enforce))
	if !d.runFrame(t, fromPod, ethernet(0x0806, make([]byte, 28))) {
		t.Error("ARP was dropped")
	}
	for kind := 0; kind < 256; kind++ {
		packet := ipPacket("fe80::1", "ff02::1", icmp6, []byte{byte(kind), 0, 0, 0, 0, 0, 0, 0})
		neighbour := kind >= 133 && kind <= 137
		listener := kind >= 130 && kind <= 132 || kind == 143
		for hops, passes := range map[byte]bool{255: neighbour, 1: listener, 64: false} {
			t.Run(fmt.Sprintf("ICMPv6 type %d with hop limit %d", kind, hops), func(t *testing.T) {
				d.play(t, []step{{toPod, edit(packet, 7, hops), passes}})
			})
		}
	}
}
