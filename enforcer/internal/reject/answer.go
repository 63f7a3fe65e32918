// SPDX-License-Identifier: Apache-2.0

package reject

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/dataplane"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Flags of TCP.
const (
	fin, syn, rst, ack = 0x01, 0x02, 0x04, 0x10
)

// Answer is the IP packet that the sender of a denied one gets, as if from whom it wrote to: a TCP reset (RFC 9293,
// 3.10.7.1), or else ICMP destination unreachable, administratively prohibited (RFC 1812, 5.2.7.1; RFC 4443, 3.1).
// ok is false for what must not be answered: resets, ICMP errors, fragments, what is from or to no single host, and
// what cannot be understood.
func Answer(d *dataplane.Denial) (to netip.Addr, answer []byte, ok bool) {
	p, ok := parse(d.Packet, d.Length)
	if !ok || !isHost(p.source) || !isHost(p.destination) || p.isErrorICMP() {
		return netip.Addr{}, nil, false
	}
	if d.Direction == netpol.Egress && d.Service.IsValid() {
		if p, ok = p.untranslated(d.Service); !ok {
			return netip.Addr{}, nil, false
		}
	}
	if p.protocol == unix.IPPROTO_TCP {
		answer, ok = p.reset()
	} else {
		answer, ok = p.prohibited(), true
	}
	return p.source, answer, ok
}

// untranslated is the packet as it was sent, to a Service.
func (p packet) untranslated(service netip.AddrPort) (packet, bool) {
	if service.Addr().Is4() != p.destination.Is4() {
		return packet{}, false
	}
	p.destination = service.Addr()
	p.data = append([]byte(nil), p.data...)
	if p.destination.Is4() {
		copy(p.data[16:], p.destination.AsSlice())
		binary.BigEndian.PutUint16(p.data[10:], 0)
		binary.BigEndian.PutUint16(p.data[10:], checksum(0, p.data[:p.transport]))
	} else {
		copy(p.data[24:], p.destination.AsSlice())
	}
	hasPorts := p.protocol == unix.IPPROTO_TCP || p.protocol == unix.IPPROTO_UDP || p.protocol == unix.IPPROTO_SCTP
	if ports, ok := p.header(4); ok && hasPorts {
		binary.BigEndian.PutUint16(ports[2:], service.Port())
	}
	return p, true
}

// reset has the numbers that the sender of the packet takes for an answer to it.
func (p *packet) reset() ([]byte, bool) {
	header, ok := p.header(20)
	if !ok || header[13]&rst != 0 {
		return nil, false
	}
	offset := int(header[12]>>4) * 4
	if offset < 20 || p.transport+offset > p.end {
		return nil, false
	}
	segment := make([]byte, 20)
	copy(segment[0:], header[2:4])
	copy(segment[2:], header[0:2])
	segment[12] = 5 << 4
	if header[13]&ack != 0 {
		segment[13] = rst
		copy(segment[4:], header[8:12])
	} else {
		length := uint32(p.end - p.transport - offset)
		if header[13]&syn != 0 {
			length++
		}
		if header[13]&fin != 0 {
			length++
		}
		segment[13] = rst | ack
		binary.BigEndian.PutUint32(segment[8:], binary.BigEndian.Uint32(header[4:])+length)
	}
	binary.BigEndian.PutUint16(segment[16:], checksum(p.pseudoHeader(unix.IPPROTO_TCP, len(segment)), segment))
	return p.reply(unix.IPPROTO_TCP, segment), true
}

// prohibited quotes what was kept of the packet.
func (p *packet) prohibited() []byte {
	quoted := p.data[:min(len(p.data), p.end)]
	if p.source.Is4() {
		message := append([]byte{3, 13, 0, 0, 0, 0, 0, 0}, quoted...)
		binary.BigEndian.PutUint16(message[2:], checksum(0, message))
		return p.reply(unix.IPPROTO_ICMP, message)
	}
	message := append([]byte{1, 1, 0, 0, 0, 0, 0, 0}, quoted...)
	binary.BigEndian.PutUint16(message[2:], checksum(p.pseudoHeader(unix.IPPROTO_ICMPV6, len(message)), message))
	return p.reply(unix.IPPROTO_ICMPV6, message)
}

// hops is the time to live of answers.
const hops = 64

// reply puts an IP header in front that goes back to the sender.
func (p *packet) reply(protocol byte, payload []byte) []byte {
	if p.source.Is4() {
		b := []byte{0x45, 0, 0, 0, 0, 0, 0x40, 0, hops, protocol, 0, 0}
		b = append(append(b, p.destination.AsSlice()...), p.source.AsSlice()...)
		binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
		binary.BigEndian.PutUint16(b[10:], checksum(0, b))
		return append(b, payload...)
	}
	b := []byte{0x60, 0, 0, 0, 0, 0, protocol, hops}
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	b = append(append(b, p.destination.AsSlice()...), p.source.AsSlice()...)
	return append(b, payload...)
}

// pseudoHeader is the sum of what checksums of transport protocols cover besides the payload.
func (p *packet) pseudoHeader(protocol byte, length int) uint32 {
	return sum(sum(uint32(protocol)+uint32(length), p.source.AsSlice()), p.destination.AsSlice())
}

// checksum is the Internet checksum (RFC 1071) of b, added to a sum.
func checksum(initial uint32, b []byte) uint16 {
	s := sum(initial, b)
	for s>>16 != 0 {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}

func sum(s uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}
