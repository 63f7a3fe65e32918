// SPDX-License-Identifier: Apache-2.0

package reject

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/dataplane"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

var (
	pod4, peer4 = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	pod6, peer6 = netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2")
)

// ip is a packet of either family.
func ip(source, destination netip.Addr, protocol byte, payload []byte) []byte {
	p := packet{source: destination, destination: source} // reply goes the other way
	return p.reply(protocol, payload)
}

// segment has ports 1000 and 80, sequence number 7 and acknowledgement 9.
func segment(flags byte, data int) []byte {
	b := []byte{3, 232, 0, 80, 0, 0, 0, 7, 0, 0, 0, 9, 5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0}
	return append(b, make([]byte, data)...)
}

func datagram(data int) []byte {
	b := []byte{3, 232, 0, 80, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(b[4:], uint16(8+data))
	return append(b, make([]byte, data)...)
}

// kept is a denial of a packet, of which as much is kept as the datapath keeps.
func kept(packet []byte) *dataplane.Denial {
	return &dataplane.Denial{Direction: netpol.Egress, Packet: packet[:min(128, len(packet))], Length: len(packet)}
}

// Numbers of resets are those of RFC 9293, 3.10.7.1.
func TestResets(t *testing.T) {
	for _, row := range []struct {
		what     string
		segment  []byte
		flags    byte
		seq, ack uint32
	}{
		{"SYN", segment(syn, 0), rst | ack, 0, 8},
		{"SYN with data", segment(syn, 5), rst | ack, 0, 13},
		{"FIN", segment(fin, 3), rst | ack, 0, 11},
		{"nothing", segment(0, 3), rst | ack, 0, 10},
		{"ACK", segment(ack, 0), rst, 9, 0},
		{"SYN and ACK", segment(syn|ack, 0), rst, 9, 0},
		{"more data than is kept", segment(0, 1000), rst | ack, 0, 1007},
	} {
		for _, ends := range [][2]netip.Addr{{pod4, peer4}, {pod6, peer6}} {
			to, answer, ok := Answer(kept(ip(ends[0], ends[1], unix.IPPROTO_TCP, row.segment)))
			if !ok || to != ends[0] {
				t.Errorf("%s from %s: answer to %s, %v", row.what, ends[0], to, ok)
				continue
			}
			p := checked(t, answer)
			header, _ := p.header(20)
			seq, acked := binary.BigEndian.Uint32(header[4:]), binary.BigEndian.Uint32(header[8:])
			if p.source != ends[1] || p.destination != ends[0] || binary.BigEndian.Uint32(header) != 80<<16|1000 ||
				header[13] != row.flags || seq != row.seq || acked != row.ack {
				t.Errorf("%s: %s to %s, flags %x seq %d ack %d; want %x, %d, %d", row.what, p.source, p.destination, header[13], seq, acked, row.flags, row.seq, row.ack)
			}
		}
	}
}

// checked takes an answer apart, whose checksums must be right.
func checked(t *testing.T, answer []byte) packet {
	t.Helper()
	p, ok := parse(answer, len(answer))
	if !ok || p.end != len(answer) {
		t.Fatalf("%x is no packet", answer)
	}
	covered := p.pseudoHeader(p.protocol, len(answer)-p.transport)
	if p.source.Is4() && checksum(0, answer[:20]) != 0 {
		t.Errorf("%x has a wrong checksum in its IP header", answer)
	}
	if p.protocol == unix.IPPROTO_ICMP {
		covered = 0
	}
	if checksum(covered, answer[p.transport:]) != 0 {
		t.Errorf("%x has a wrong checksum", answer)
	}
	return p
}

func TestProhibitions(t *testing.T) {
	for what, row := range map[string]struct {
		packet     []byte
		kind, code byte
	}{
		"UDP":               {ip(pod4, peer4, unix.IPPROTO_UDP, datagram(1)), 3, 13},
		"a large datagram":  {ip(pod4, peer4, unix.IPPROTO_UDP, datagram(1000)), 3, 13},
		"SCTP":              {ip(pod4, peer4, unix.IPPROTO_SCTP, make([]byte, 12)), 3, 13},
		"echo":              {ip(pod4, peer4, unix.IPPROTO_ICMP, []byte{8, 0, 0, 0, 0, 1, 0, 1}), 3, 13},
		"GRE":               {ip(pod4, peer4, 47, make([]byte, 4)), 3, 13},
		"IPv6 UDP":          {ip(pod6, peer6, unix.IPPROTO_UDP, datagram(1)), 1, 1},
		"IPv6 echo":         {ip(pod6, peer6, unix.IPPROTO_ICMPV6, []byte{128, 0, 0, 0, 0, 1, 0, 1}), 1, 1},
		"IPv6 with options": {ip(pod6, peer6, unix.IPPROTO_HOPOPTS, append([]byte{17, 0, 1, 4, 0, 0, 0, 0}, datagram(1)...)), 1, 1},
	} {
		_, answer, ok := Answer(kept(row.packet))
		if !ok {
			t.Errorf("%s: no answer", what)
			continue
		}
		p := checked(t, answer)
		message, _ := p.header(8)
		if message[0] != row.kind || message[1] != row.code || !slices.Equal(message[8:], row.packet[:min(128, len(row.packet))]) {
			t.Errorf("%s: answer is %x", what, message)
		}
	}
}

func TestWhatIsNotAnswered(t *testing.T) {
	fragment := ip(pod4, peer4, unix.IPPROTO_UDP, datagram(8))
	fragment[6], fragment[7] = 0x20, 0
	later := slices.Clone(fragment)
	later[6], later[7] = 0, 2
	cut := kept(ip(pod4, peer4, unix.IPPROTO_TCP, segment(syn, 0)))
	cut.Packet = cut.Packet[:39]
	group, group6 := netip.MustParseAddr("224.0.0.251"), netip.MustParseAddr("ff02::fb")
	for what, d := range map[string]*dataplane.Denial{
		"nothing":                 {},
		"a reset":                 kept(ip(pod4, peer4, unix.IPPROTO_TCP, segment(rst, 0))),
		"a reset with ACK":        kept(ip(pod6, peer6, unix.IPPROTO_TCP, segment(rst|ack, 0))),
		"half a TCP header":       cut,
		"TCP with a bad offset":   kept(ip(pod4, peer4, unix.IPPROTO_TCP, slices.Replace(segment(syn, 0), 12, 13, 15<<4))),
		"an ICMP error":           kept(ip(pod4, peer4, unix.IPPROTO_ICMP, []byte{3, 1, 0, 0, 0, 0, 0, 0})),
		"an ICMP redirect":        kept(ip(pod4, peer4, unix.IPPROTO_ICMP, []byte{5, 1, 0, 0, 0, 0, 0, 0})),
		"an ICMPv6 error":         kept(ip(pod6, peer6, unix.IPPROTO_ICMPV6, []byte{1, 1, 0, 0, 0, 0, 0, 0})),
		"an unknown ICMPv6 error": kept(ip(pod6, peer6, unix.IPPROTO_ICMPV6, []byte{101, 0, 0, 0, 0, 0, 0, 0})),
		"ICMP without a type":     kept(ip(pod4, peer4, unix.IPPROTO_ICMP, nil)),
		"a first fragment":        kept(fragment),
		"a later fragment":        kept(later),
		"an IPv6 fragment":        kept(ip(pod6, peer6, unix.IPPROTO_FRAGMENT, append([]byte{17, 0, 0, 1, 0, 0, 0, 1}, datagram(8)...))),
		"to a group":              kept(ip(pod4, group, unix.IPPROTO_UDP, datagram(1))),
		"to an IPv6 group":        kept(ip(pod6, group6, unix.IPPROTO_UDP, datagram(1))),
		"to everybody":            kept(ip(pod4, limitedBroadcast, unix.IPPROTO_UDP, datagram(1))),
		"from nobody":             kept(ip(netip.IPv4Unspecified(), peer4, unix.IPPROTO_UDP, datagram(1))),
		"from nobody, IPv6":       kept(ip(netip.IPv6Unspecified(), peer6, unix.IPPROTO_UDP, datagram(1))),
		"from a group":            kept(ip(group, peer4, unix.IPPROTO_UDP, datagram(1))),
		"from the host itself":    kept(ip(netip.MustParseAddr("127.0.0.1"), peer4, unix.IPPROTO_UDP, datagram(1))),
		"a Service of the other family": func() *dataplane.Denial {
			d := kept(ip(pod4, peer4, unix.IPPROTO_UDP, datagram(1)))
			d.Service = netip.AddrPortFrom(peer6, 53)
			return d
		}(),
	} {
		if to, answer, ok := Answer(d); ok {
			t.Errorf("%s: answer to %s: %x", what, to, answer)
		}
	}
}

// A pod that wrote to a Service is answered by the Service.
func TestAnswersOfServices(t *testing.T) {
	for _, row := range []struct{ pod, backend, service netip.Addr }{
		{pod4, peer4, netip.MustParseAddr("10.96.0.1")}, {pod6, peer6, netip.MustParseAddr("fd96::1")},
	} {
		for _, direction := range []netpol.Direction{netpol.Egress, netpol.Ingress} {
			from, port := row.service, uint16(443)
			if direction == netpol.Ingress { // what another sent to the pod is not the pod's to translate
				from, port = row.backend, 80
			}
			d := kept(ip(row.pod, row.backend, unix.IPPROTO_TCP, segment(syn, 0)))
			d.Service, d.Direction = netip.AddrPortFrom(row.service, 443), direction
			_, answer, _ := Answer(d)
			p := checked(t, answer)
			if header, _ := p.header(20); p.source != from || binary.BigEndian.Uint16(header) != port {
				t.Errorf("%s TCP: answer from %s %x, want %s port %d", direction, p.source, header, from, port)
			}
			d = kept(ip(row.pod, row.backend, unix.IPPROTO_UDP, datagram(1)))
			d.Service, d.Direction = netip.AddrPortFrom(row.service, 443), direction
			_, answer, _ = Answer(d)
			p = checked(t, answer)
			message, _ := p.header(8)
			quoted, ok := parse(message[8:], len(message)-8)
			if !ok {
				t.Fatalf("%x quotes no packet", message)
			}
			if header, _ := quoted.header(8); p.source != from || quoted.destination != from || binary.BigEndian.Uint16(header[2:]) != port {
				t.Errorf("%s UDP: answer from %s quotes %x, want %s port %d", direction, p.source, message, from, port)
			}
			if quoted.destination.Is4() && checksum(0, message[8:28]) != 0 {
				t.Errorf("%x has a wrong checksum", message[8:28])
			}
		}
	}
}

// FuzzAnswer: whatever a packet holds, its answer is a whole packet to its sender, and is not answered itself.
func FuzzAnswer(f *testing.F) {
	for _, p := range [][]byte{
		ip(pod4, peer4, unix.IPPROTO_TCP, segment(syn, 0)), ip(pod6, peer6, unix.IPPROTO_UDP, datagram(3)),
		ip(pod6, peer6, unix.IPPROTO_HOPOPTS, append([]byte{51, 0, 1, 4, 0, 0, 0, 0, 6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, segment(ack, 9)...)),
	} {
		f.Add(p, len(p), peer4.AsSlice(), uint16(53), true)
		f.Add(p, 4000, peer6.AsSlice(), uint16(0), false)
	}
	f.Fuzz(func(t *testing.T, data []byte, length int, service []byte, port uint16, egress bool) {
		d := &dataplane.Denial{Packet: data, Length: length}
		if addr, ok := netip.AddrFromSlice(service); ok {
			d.Service = netip.AddrPortFrom(addr.Unmap(), port)
		}
		if egress {
			d.Direction = netpol.Egress
		}
		before := slices.Clone(data)
		to, answer, ok := Answer(d)
		if !slices.Equal(before, data) {
			t.Error("the packet was changed")
		}
		if !ok {
			return
		}
		p := checked(t, answer)
		if sent, _ := parse(data, length); to != sent.source || p.destination != to {
			t.Errorf("%x is answered to %s by %x", data, to, answer)
		}
		if _, again, ok := Answer(kept(answer)); ok {
			t.Errorf("%x is answered by %x", answer, again)
		}
	})
}
