// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"encoding/binary"
	"net/netip"
)

// packet is what a reader of the RFCs takes from a frame, for the reference to judge by.
type packet struct {
	source, destination netip.Addr
	protocol            byte
	sourcePort          uint16 // or the identifier of an ICMP echo; 0 for what has neither
	destinationPort     uint16
	opens               bool      // TCP SYN without ACK, ICMP echo request
	answers             bool      // TCP SYN with ACK
	closes              bool      // TCP FIN or RST
	more                bool      // the first of several fragments
	later               bool      // a fragment without the ports
	offset              int       // of a later fragment, in bytes
	read                int       // of a first fragment: how many bytes of the datagram lie before the end of its ports' header
	datagram            *datagram // nil: not a fragment
	quoted              []byte    // what an ICMP error quotes, from its IP header on; nil: no error
}

// datagram is what fragments belong to.
type datagram struct {
	source, destination netip.Addr
	id                  uint32
	protocol            byte // 0 in IPv6
}

// fate is what a frame is before any policy is asked.
type fate int

const (
	judgeable fate = iota
	ofTheLink      // ARP, neighbour discovery, multicast listeners
	malformed
	notIP // nor ARP
)

func parseFrame(frame []byte) (packet, fate) {
	switch binary.BigEndian.Uint16(frame[12:]) {
	case 0x0800:
		return parseIPv4(frame[14:], false)
	case 0x86dd:
		return parseIPv6(frame[14:], false)
	case 0x0806:
		return packet{}, ofTheLink
	}
	return packet{}, notIP
}

// parseQuoted reads a packet of which only the beginning is there.
func parseQuoted(b []byte, four bool) (packet, fate) {
	if four {
		return parseIPv4(b, true)
	}
	return parseIPv6(b, true)
}

func parseIPv4(b []byte, quoted bool) (p packet, f fate) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return p, malformed
	}
	header, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if quoted {
		total = len(b)
	}
	if header < 20 || total > len(b) || header > total {
		return p, malformed
	}
	p.protocol = b[9]
	p.source, p.destination = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
	flags := binary.BigEndian.Uint16(b[6:])
	offset, more := int(flags&0x1fff)*8, flags&0x2000 != 0
	if offset > 0 || more {
		id := uint32(binary.BigEndian.Uint16(b[4:]))
		p.datagram = &datagram{p.source, p.destination, id, p.protocol}
	}
	if offset > 0 {
		return p.laterFragment(offset)
	}
	p.more, p.read = more, transportSize(p.protocol)
	return p, p.parseTransport(b[header:total], icmp4, quoted)
}

// laterFragment must not reach back into the header that the first one showed.
func (p packet) laterFragment(offset int) (packet, fate) {
	p.later, p.offset = true, offset
	if offset < transportSize(p.protocol) {
		return p, malformed
	}
	return p, judgeable
}

// transportSize is how much of a header is judged.
func transportSize(protocol byte) int {
	if protocol == tcp {
		return 20
	}
	return 8
}

// mostExtensions is how many extension headers are walked.
const mostExtensions = 7

func parseIPv6(b []byte, quoted bool) (p packet, f fate) {
	if len(b) < 40 || b[0]>>4 != 6 {
		return p, malformed
	}
	end := 40 + int(binary.BigEndian.Uint16(b[4:]))
	if quoted {
		end = len(b)
	}
	if end > len(b) || end == 40 && len(b) > 40 { // a jumbogram says 0
		return p, malformed
	}
	p.protocol = b[6]
	p.source, p.destination = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
	if p.source.Is4In6() || p.destination.Is4In6() {
		return p, malformed
	}
	return p.walk(b, end, quoted)
}

// walk goes through the extension headers of a packet that ends at end; behind it is padding.
func (p packet) walk(b []byte, end int, quoted bool) (packet, fate) {
	rest, data := b[40:end], b[40:end]
	for range mostExtensions + 1 {
		size := 0
		if len(rest) >= 2 {
			size = (int(rest[1]) + 1) * 8
		}
		switch p.protocol {
		case 0, 60: // hop-by-hop and destination options
		case 43:
			if len(rest) >= 4 && rest[3] != 0 { // not yet where it is going
				return p, malformed
			}
		case 44:
			size = 8
		case 51:
			if len(rest) >= 2 {
				size = (int(rest[1]) + 2) * 4
			}
		default:
			if !quoted && !p.more && isLinkProtocol(p.protocol, rest, b[7]) {
				return p, ofTheLink
			}
			p.read = len(data) - len(rest) + transportSize(p.protocol)
			return p, p.parseTransport(rest, icmp6, quoted)
		}
		if len(rest) < max(8, size) {
			return p, malformed
		}
		isFragment := p.protocol == 44
		p.protocol = rest[0]
		if isFragment {
			if offset := p.fragment(rest); offset > 0 {
				return p.laterFragment(offset)
			}
		}
		if rest = rest[size:]; isFragment {
			data = rest
		}
	}
	return p, malformed
}

// fragment reads a fragment header and returns the offset.
func (p *packet) fragment(header []byte) int {
	field := binary.BigEndian.Uint16(header[2:])
	p.more = p.more || field&1 != 0
	p.datagram = &datagram{source: p.source, destination: p.destination, id: binary.BigEndian.Uint32(header[4:])}
	return int(field &^ 7)
}

// isLinkProtocol: neighbour discovery (RFC 4861) has hop limit 255, multicast listener discovery (RFC 3810) 1.
func isLinkProtocol(protocol byte, b []byte, hops byte) bool {
	if protocol != icmp6 || len(b) < 8 {
		return false
	}
	kind := b[0]
	return hops == 255 && kind >= 133 && kind <= 137 || hops == 1 && (kind >= 130 && kind <= 132 || kind == 143)
}

// parseTransport reads ports and what opens a connection.
func (p *packet) parseTransport(b []byte, icmp byte, quoted bool) fate {
	switch p.protocol {
	case tcp:
		if len(b) < 8 || !quoted && (len(b) < 20 || b[12]>>4 < 5 || len(b) < int(b[12]>>4)*4) {
			return malformed
		}
		if !quoted {
			p.opens, p.answers, p.closes = b[13]&(syn|ack) == syn, b[13]&(syn|ack) == syn|ack, b[13]&(fin|rst) != 0
		}
	case udp:
		if len(b) < 8 {
			return malformed
		}
	case sctp:
		if len(b) < 8 || !quoted && len(b) < 12 {
			return malformed
		}
	case icmp:
		return p.parseICMP(b, icmp == icmp6)
	default:
		return judgeable
	}
	p.sourcePort, p.destinationPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	return judgeable
}

func (p *packet) parseICMP(b []byte, six bool) fate {
	if len(b) < 8 {
		return malformed
	}
	request, reply := byte(8), byte(0)
	errors := []byte{3, 4, 11, 12}
	if six {
		request, reply, errors = 128, 129, []byte{1, 2, 3, 4}
	}
	switch kind := b[0]; {
	case kind == request || kind == reply:
		p.opens = kind == request
		p.sourcePort = binary.BigEndian.Uint16(b[4:])
		p.destinationPort = p.sourcePort
	case kind == errors[0] || kind == errors[1] || kind == errors[2] || kind == errors[3]:
		p.quoted = b[8:]
	}
	return judgeable
}
