// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/bulkhead-dev/bulkhead/policies/netpol/random"
)

// message is a packet before it is written down.
type message struct {
	at                  place
	source, destination netip.Addr
	protocol            byte
	payload             []byte
	hops                byte
	fragment            *piece // nil: whole
}

type piece struct {
	id     uint32
	offset int
	more   bool
}

// write is the packet as a frame, with options or extension headers at times.
func (g *traffic) write(m *message) []byte {
	if m.source.Is4() && g.percent(1) { // no address that may be on a wire
		mapped := *m
		mapped.source, mapped.destination = netip.AddrFrom16(m.source.As16()), netip.AddrFrom16(m.destination.As16())
		return frame(g.writeIPv6(&mapped))
	}
	if m.source.Is4() {
		return frame(g.writeIPv4(m))
	}
	return frame(g.writeIPv6(m))
}

func (g *traffic) writeIPv4(m *message) []byte {
	b := packetBetween(m.source, m.destination, m.protocol, m.payload)
	b[8] = m.hops
	if m.fragment != nil {
		b = ipv4Fragment(b, uint16(m.fragment.id), m.fragment.offset, m.fragment.more)
	}
	if g.percent(10) {
		b = withIPv4Options(b, 1+g.IntN(10))
	}
	return b
}

func (g *traffic) writeIPv6(m *message) []byte {
	next, payload := m.protocol, m.payload
	if m.fragment == nil || m.fragment.offset == 0 {
		next, payload = g.extend(next, payload)
	}
	if m.fragment != nil {
		payload = append(ipv6FragmentHeader(next, m.fragment.id, m.fragment.offset, m.fragment.more), payload...)
		next, payload = g.extend(44, payload)
	}
	b := packetBetween(m.source, m.destination, next, payload)
	b[7] = m.hops
	return b
}

// extend puts extension headers before a payload at times, and too many once in a while.
func (g *traffic) extend(next byte, payload []byte) (byte, []byte) {
	n := random.Pick(g.Generator, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3)
	if g.percent(1) {
		n = 6 + g.IntN(4)
	}
	for range n {
		kind := random.Pick[byte](g.Generator, 0, 60, 60, 43, 51, 44)
		header := extension(next, make([]byte, 6)...)
		switch kind {
		case 0, 60:
			if g.percent(30) {
				header[1] = byte(1 + g.IntN(3))
			}
			header = append(header, make([]byte, 8*int(header[1]))...)
		case 43:
			if g.percent(5) {
				header[3] = 1
			}
		case 51:
			header[1] = 4
			header = append(header, make([]byte, 16)...)
		case 44:
			header = ipv6FragmentHeader(next, 1, 0, false) // whole all the same
		}
		next, payload = kind, append(header, payload...)
	}
	return next, payload
}

// damage cuts a frame, its packet or both short, makes it longer, or changes some of its first bytes.
func (g *traffic) damage(frame []byte) []byte {
	least := 14 + 20
	if frame[14]>>4 == 6 {
		least = 14 + 40
	}
	switch g.IntN(4) {
	case 0:
		return frame[:least+g.IntN(len(frame)-least+1)]
	case 1:
		return shorten(frame[:least+g.IntN(len(frame)-least+1)])
	case 2:
		return append(frame, make([]byte, 1+g.IntN(46))...)
	}
	b := slices.Clone(frame)
	for range 1 + g.IntN(2) {
		b[12+g.IntN(len(b)-12)] = byte(g.IntN(256))
	}
	return b
}

// shorten makes a packet claim no more than there is.
func shorten(frame []byte) []byte {
	b := slices.Clone(frame)
	if b[14]>>4 == 6 {
		binary.BigEndian.PutUint16(b[18:], uint16(len(b)-14-40))
		return b
	}
	binary.BigEndian.PutUint16(b[16:], uint16(len(b)-14))
	return b
}
