// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// classify numbers the classes of pods, of nodes' addresses, and of the ranges in use.
func (b *builder) classify(in Input) {
	for e := range b.snap.Endpoints() {
		b.identify(e, Identity{Ifindex: b.ownerInSnapshot(e)})
	}
	for _, e := range b.snap.NodeEndpoints() {
		b.identify(e, Identity{})
	}
	b.identifyLocal(in.Endpoints)
	// The node knows its own addresses better than any object: what comes from one is let in even if a
	// pod claims it.
	for _, addr := range in.NodeAddrs {
		b.identify(b.snap.EndpointAt(addr), Identity{Node: true})
	}
	for _, prefix := range b.prefixes() {
		b.world.CIDRs[prefix] = b.class(func(p *predicate) bool { return p.peer != nil && p.peer.MatchesPrefix(prefix) })
	}
}

// ownerInSnapshot is the interface of the local pod that has the address if the snapshot is to be believed; 0
// if the node knows better.
func (b *builder) ownerInSnapshot(e netpol.Endpoint) uint32 {
	if p := b.local[e.Pod()]; !p.known {
		return p.main
	}
	return 0
}

// identifyLocal identifies what the node itself knows of its pods' addresses. A link-local address says nothing
// about who has it.
func (b *builder) identifyLocal(endpoints []EndpointInput) {
	for _, e := range endpoints {
		self := b.snap.Endpoint(e.Pod)
		for _, addr := range e.Addrs {
			if self.Addr = addr.Unmap(); !isLinkLocal(self.Addr) {
				b.identify(self, Identity{Ifindex: b.local[e.Pod].main})
			}
		}
	}
}

func isLinkLocal(addr netip.Addr) bool { return addr.Is6() && addr.IsLinkLocalUnicast() }

// identify adds the class to what else is known of the endpoint's address.
func (b *builder) identify(e netpol.Endpoint, identity Identity) {
	identity.Class = b.class(func(p *predicate) bool { return p.holds(e) })
	b.world.Identities[e.Addr] = identity
}

// prefixes are all ranges in use. The trie is keyed by 16-byte addresses, in which ::/0 also
// covers IPv4; a range of all IPv4 addresses keeps the families apart.
func (b *builder) prefixes() []netip.Prefix {
	all := []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0)}
	for i := range b.tests {
		if m := b.tests[i].peer; m != nil && m.Block.IsValid() {
			all = append(append(all, m.Block), m.Except...)
		}
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	return slices.Compact(all)
}

// class is the number of the class for which exactly these predicates hold.
func (b *builder) class(holds func(*predicate) bool) uint32 {
	bits := make([]uint64, (len(b.tests)+63)/64)
	none := true
	for i := range b.tests {
		if holds(&b.tests[i]) {
			bits[i/64] |= 1 << (i % 64)
			none = false
		}
	}
	if none {
		return 0
	}
	key := make([]byte, 0, 8*len(bits))
	for _, w := range bits {
		key = binary.LittleEndian.AppendUint64(key, w)
	}
	n, ok := b.classes[string(key)]
	if !ok {
		n = uint32(len(b.members))
		b.classes[string(key)] = n
		b.members = append(b.members, bits)
	}
	return n
}

func (b *builder) holdsIn(class, predicate int) bool {
	bits := b.members[class]
	return predicate/64 < len(bits) && bits[predicate/64]&(1<<(predicate%64)) != 0
}

func (r *row) matchesClass(b *builder, class int) bool {
	if r.named >= 0 && !b.holdsIn(class, r.named) {
		return false
	}
	return r.everyone || slices.ContainsFunc(r.peers, func(p int) bool { return b.holdsIn(class, p) })
}

// lowerPeers fills World.Peers.
func (b *builder) lowerPeers() {
	for set := range b.rows {
		for d, rows := range b.rows[set] {
			for class := range b.members {
				var bits Bitmap
				for i := range rows {
					if rows[i].matchesClass(b, class) {
						bits.Set(i)
					}
				}
				if bits != (Bitmap{}) {
					b.world.Peers[PeerKey{uint32(set), uint32(class), netpol.Direction(d)}] = bits
				}
			}
		}
	}
}

// lowerPorts numbers the port classes and fills World.PortClasses and World.Ports.
func (b *builder) lowerPorts() error {
	for protocol := TCP; protocol <= SCTP; protocol++ {
		starts := b.portStarts(protocol)
		if len(starts) > 65535 {
			return fmt.Errorf("%d different port ranges are in use, more than the 65535 that fit", len(starts))
		}
		for class, start := range starts {
			end := 65536
			if class+1 < len(starts) {
				end = int(starts[class+1])
			}
			for port := int(start); port < end; port++ {
				b.world.PortClasses[protocol][port] = uint16(class)
			}
			b.lowerPort(protocol, uint16(class), func(r *row) bool { return r.matchesPort(protocol, start) })
		}
	}
	b.lowerPort(Other, 0, func(r *row) bool { return r.allPorts })
	return nil
}

// portStarts are the first ports of the ranges that every rule treats alike, ascending, from 0.
func (b *builder) portStarts(protocol Protocol) []uint16 {
	starts := map[uint16]bool{0: true}
	for set := range b.rows {
		for _, rows := range b.rows[set] {
			for i := range rows {
				for _, p := range rows[i].ports {
					if p.protocol != protocol {
						continue
					}
					starts[p.from] = true
					if p.to < 65535 {
						starts[p.to+1] = true
					}
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(starts))
}

func (r *row) matchesPort(protocol Protocol, port uint16) bool {
	return r.allPorts || slices.ContainsFunc(r.ports, func(p portRange) bool {
		return p.protocol == protocol && p.from <= port && port <= p.to
	})
}

func (b *builder) lowerPort(protocol Protocol, class uint16, matches func(*row) bool) {
	for set := range b.rows {
		for d := range b.rows[set] {
			var bits Bitmap
			rows := b.rows[set][d]
			for i := range rows {
				if matches(&rows[i]) {
					bits.Set(i)
				}
			}
			if bits != (Bitmap{}) {
				b.world.Ports[PortKey{uint32(set), class, netpol.Direction(d), protocol}] = bits
			}
		}
	}
}
