// SPDX-License-Identifier: Apache-2.0

package reject

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// packet is what was kept of an IP packet, taken apart as far as an answer needs.
type packet struct {
	source, destination netip.Addr
	protocol            byte   // IP protocol number
	data                []byte // from the IP header on, as much as was kept
	transport           int    // offset of the transport header in data
	end                 int    // where the packet ends, counted as in data; data may be shorter
}

// parse fails for what is cut short before its transport header, or is a fragment: RFC 1122, 3.2.2 allows no
// answer to fragments but the first, and the first alone is no reason to tell the sender.
func parse(data []byte, length int) (packet, bool) {
	if len(data) == 0 {
		return packet{}, false
	}
	switch data[0] >> 4 {
	case 4:
		return parseIPv4(data)
	case 6:
		return parseIPv6(data, length)
	}
	return packet{}, false
}

func parseIPv4(data []byte) (packet, bool) {
	if len(data) < 20 {
		return packet{}, false
	}
	p := packet{
		source: netip.AddrFrom4([4]byte(data[12:])), destination: netip.AddrFrom4([4]byte(data[16:])),
		protocol: data[9], data: data, transport: int(data[0]&15) * 4, end: int(binary.BigEndian.Uint16(data[2:])),
	}
	isFragment := binary.BigEndian.Uint16(data[6:])&0x3fff != 0
	return p, !isFragment && p.transport >= 20 && p.transport <= len(data) && p.transport <= p.end
}

// mostExtensions is how many extension headers the datapath follows.
const mostExtensions = 8

func parseIPv6(data []byte, length int) (packet, bool) {
	if len(data) < 40 {
		return packet{}, false
	}
	p := packet{
		source: netip.AddrFrom16([16]byte(data[8:])), destination: netip.AddrFrom16([16]byte(data[24:])),
		protocol: data[6], data: data, transport: 40, end: 40 + int(binary.BigEndian.Uint16(data[4:])),
	}
	if p.end == 40 { // joined by the kernel beyond what the field holds
		p.end = length
	}
	for range mostExtensions {
		if !slices.Contains([]byte{unix.IPPROTO_HOPOPTS, unix.IPPROTO_ROUTING, unix.IPPROTO_DSTOPTS, unix.IPPROTO_AH}, p.protocol) {
			break
		}
		if p.transport+8 > len(data) {
			return packet{}, false
		}
		units, unit := int(data[p.transport+1])+1, 8
		if p.protocol == unix.IPPROTO_AH {
			units, unit = units+1, 4
		}
		p.protocol = data[p.transport]
		p.transport += units * unit
	}
	return p, p.protocol != unix.IPPROTO_FRAGMENT && p.transport <= len(data) && p.transport <= p.end
}

// header is the transport header, if so many bytes of it were kept and are the packet's own.
func (p *packet) header(size int) ([]byte, bool) {
	if p.transport+size > min(len(p.data), p.end) {
		return nil, false
	}
	return p.data[p.transport:], true
}

// isErrorICMP is true for what RFC 1122, 3.2.2 and RFC 4443, 2.4 (e) let nobody answer with an error.
func (p *packet) isErrorICMP() bool {
	switch p.protocol {
	case unix.IPPROTO_ICMP:
		kind, ok := p.header(1)
		return !ok || slices.Contains([]byte{3, 4, 5, 11, 12}, kind[0])
	case unix.IPPROTO_ICMPV6:
		kind, ok := p.header(1)
		return !ok || kind[0] < 128 || kind[0] == 137
	}
	return false
}

var limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// isHost is false for what no single host has: groups, broadcasts and no address at all.
func isHost(addr netip.Addr) bool {
	return !addr.IsMulticast() && !addr.IsUnspecified() && !addr.IsLoopback() && addr != limitedBroadcast
}
