// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"encoding/binary"
	"net/netip"
)

// Crafted packets. Checksums are left out: the datapath does not look at them.

const (
	icmp4, tcp, udp, icmp6, sctp = 1, 6, 17, 58, 132

	fin, syn, rst, ack = 0x01, 0x02, 0x04, 0x10
)

func words(values ...uint16) []byte {
	var b []byte
	for _, v := range values {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return b
}

func tcpSegment(from, to uint16, flags byte) []byte {
	return append(words(from, to), 0, 0, 0, 1, 0, 0, 0, 1, 5<<4, flags, 0xff, 0xff, 0, 0, 0, 0)
}

func udpDatagram(from, to uint16, data ...byte) []byte {
	return append(words(from, to, uint16(8+len(data)), 0), data...)
}

func sctpChunk(from, to uint16) []byte {
	return append(words(from, to), 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 4)
}

// ipPacket is IPv4 or IPv6 by the addresses' family.
func ipPacket(from, to string, protocol byte, payload []byte) []byte {
	return packetBetween(netip.MustParseAddr(from), netip.MustParseAddr(to), protocol, payload)
}

func packetBetween(source, destination netip.Addr, protocol byte, payload []byte) []byte {
	if source.Is4() {
		return ipv4Packet(source, destination, protocol, payload)
	}
	b := append([]byte{0x60, 0, 0, 0}, words(uint16(len(payload)))...)
	b = append(b, protocol, 64)
	b = append(append(b, source.AsSlice()...), destination.AsSlice()...)
	return append(b, payload...)
}

func ipv4Packet(source, destination netip.Addr, protocol byte, payload []byte) []byte {
	b := append([]byte{0x45, 0}, words(uint16(20+len(payload)), 7, 0)...)
	b = append(b, 64, protocol, 0, 0)
	b = append(append(b, source.AsSlice()...), destination.AsSlice()...)
	return append(b, payload...)
}

// withIPv4Options gives a packet n words of no-operation options.
func withIPv4Options(packet []byte, n int) []byte {
	options := make([]byte, 4*n)
	for i := range options {
		options[i] = 1
	}
	b := append(append(append([]byte{}, packet[:20]...), options...), packet[20:]...)
	b[0] = 0x40 | byte(5+n)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}

// ipv4Fragment makes a packet a fragment of datagram id at a byte offset.
func ipv4Fragment(packet []byte, id uint16, offset int, more bool) []byte {
	b := append([]byte{}, packet...)
	field := uint16(offset / 8)
	if more {
		field |= 0x2000
	}
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint16(b[6:], field)
	return b
}

// extension is an IPv6 extension header of 8 bytes; next follows it.
func extension(next byte, body ...byte) []byte {
	return append([]byte{next, 0}, append(body, make([]byte, 6-len(body))...)...)
}

func ipv6FragmentHeader(next byte, id uint32, offset int, more bool) []byte {
	field := uint16(offset)
	if more {
		field |= 1
	}
	return binary.BigEndian.AppendUint32(append([]byte{next, 0}, words(field)...), id)
}

// icmpError quotes a packet.
func icmpError(kind, code byte, quoted []byte) []byte {
	return append([]byte{kind, code, 0, 0, 0, 0, 0, 0}, quoted...)
}

func echo(kind byte, id uint16) []byte {
	return append([]byte{kind, 0, 0, 0}, words(id, 1)...)
}

func frame(ip []byte) []byte {
	ethertype := uint16(0x0800)
	if ip[0]>>4 == 6 {
		ethertype = 0x86dd
	}
	return ethernet(ethertype, ip)
}

func ethernet(ethertype uint16, payload []byte) []byte {
	return append(append(make([]byte, 12), words(ethertype)...), payload...)
}
