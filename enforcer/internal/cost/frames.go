// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"net/netip"
)

// TCP's flags.
const fin, syn, ack = 0x01, 0x02, 0x10

// Where in a frame the source port is, by family.
var sourcePortAt = map[string]int{"IPv4": 14 + 20, "IPv6": 14 + 40}

// segment is a frame with a TCP segment that carries nothing. Checksums are left out: the datapath does not look at
// them.
func segment(source, destination netip.AddrPort, flags byte) []byte {
	frame := make([]byte, 12, 14+40+20)
	if source.Addr().Is4() {
		frame = append(frame, 8, 0, 0x45, 0, 0, 40, 0, 7, 0, 0, 64, 6, 0, 0)
	} else {
		frame = append(frame, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64)
	}
	frame = append(append(frame, source.Addr().AsSlice()...), destination.Addr().AsSlice()...)
	frame = binary.BigEndian.AppendUint16(frame, source.Port())
	frame = binary.BigEndian.AppendUint16(frame, destination.Port())
	return append(frame, 0, 0, 0, 1, 0, 0, 0, 1, 5<<4, flags, 0xff, 0xff, 0, 0, 0, 0)
}
