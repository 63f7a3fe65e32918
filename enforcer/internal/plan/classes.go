// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// predicate is a question about a peer that rules ask.
type predicate struct {
	peer *netpol.PeerMatch // nil: does the pod give port this number?
	port *netpol.PortMatch
	at   portRange
}

// isSelector: pods of the same labels and namespace answer it alike.
func (p *predicate) isSelector() bool { return p.peer != nil && p.peer.Pods != nil }

func (p *predicate) holds(e netpol.Endpoint) bool {
	if p.peer != nil {
		return p.peer.Matches(e)
	}
	return p.port.Matches(protocols[p.at.protocol], p.at.from, e)
}

func (t *tables) predicate(key string, p predicate) int {
	n, ok := t.byTest[key]
	if !ok {
		n = len(t.tests)
		t.byTest[key] = n
		t.tests = append(t.tests, p)
	}
	return n
}

// classify numbers the classes of the addresses that the change is about, and, if rules ask new questions, of all
// others.
func (t *tables) classify(before *tables) {
	touched := t.touched(before)
	for addr := range touched {
		t.identify(addr)
	}
	if len(t.tests) > t.new.tests {
		for addr, identity := range t.identities {
			if !touched[addr] {
				t.refine(addr, identity)
			}
		}
	}
	t.classifyPrefixes()
}

// touched are the addresses about which anything but the questions of rules has changed.
func (t *tables) touched(before *tables) map[netip.Addr]bool {
	touched := make(map[netip.Addr]bool)
	for _, addr := range t.snap.Changed(before.snap) {
		touched[addr] = true
	}
	t.touchServices(touched, before.in.ServiceAddrs)
	differ(touched, t.nodes, before.nodes)
	differ(touched, t.own, before.own)
	for pod, p := range t.local {
		if before.local[pod] != p {
			t.touchPod(touched, pod)
		}
	}
	for pod, p := range before.local {
		if t.local[pod] != p {
			before.touchPod(touched, pod)
		}
	}
	return touched
}

// touchPod adds all addresses of a local pod.
func (t *tables) touchPod(touched map[netip.Addr]bool, pod types.NamespacedName) {
	for _, addr := range t.snap.Addresses(pod) {
		touched[addr] = true
	}
	for addr, owner := range t.own {
		if owner == pod {
			touched[addr] = true
		}
	}
}

func (t *tables) touchServices(touched map[netip.Addr]bool, before []netip.Addr) {
	if slices.Equal(t.in.ServiceAddrs, before) {
		return
	}
	now := setOf(t.in.ServiceAddrs)
	for addr := range t.services {
		if !now[addr] {
			delete(t.services, addr)
			touched[addr], t.new.services[addr] = true, true
		}
	}
	for addr := range now {
		if _, found := t.services[addr]; !found {
			t.services[addr] = struct{}{}
			touched[addr], t.new.services[addr] = true, true
		}
	}
}

// differ adds the keys that two maps do not agree on.
func differ[V comparable](touched map[netip.Addr]bool, a, b map[netip.Addr]V) {
	for addr, in := range a {
		if other, found := b[addr]; !found || in != other {
			touched[addr] = true
		}
	}
	for addr := range b {
		if _, found := a[addr]; !found {
			touched[addr] = true
		}
	}
}

// at is who has an address, and what else is known of it; ok is false if it is nobody's. The node knows its own
// addresses better than any object: what comes from one is let in even if a pod claims it. Then come its pods'.
func (t *tables) at(addr netip.Addr) (e netpol.Endpoint, identity Identity, ok bool) {
	e = t.snap.EndpointAt(addr)
	if t.nodes[addr] {
		return e, Identity{Node: true}, true
	}
	if pod, found := t.own[addr]; found {
		self := t.snap.Endpoint(pod)
		self.Addr = addr
		return self, Identity{Ifindex: t.local[pod].main}, true
	}
	if !e.IsKnown() {
		return e, Identity{}, false
	}
	if p := t.local[e.Pod()]; !p.known {
		identity.Ifindex = p.main
	}
	return e, identity, true
}

// identify looks an address up again.
func (t *tables) identify(addr netip.Addr) {
	e, identity, ok := t.at(addr)
	before, known := t.identities[addr]
	if ok {
		identity.Class = t.class(t.answers(e, 0, nil))
		t.identities[addr] = identity
	} else {
		delete(t.identities, addr)
	}
	if known != ok || identity != before || t.new.services[addr] {
		t.write(addr)
	}
}

// write tells the world all that is known of an address.
func (t *tables) write(addr netip.Addr) {
	identity, known := t.identities[addr]
	_, service := t.services[addr]
	if known {
		t.new.world.Identities[addr] = identity
	}
	if service {
		t.new.world.Services[addr] = struct{}{}
	}
	if !known && !service {
		t.new.world.Gone = append(t.new.world.Gone, addr)
	}
}

// refine asks the new questions about an address.
func (t *tables) refine(addr netip.Addr, identity Identity) {
	e, _, _ := t.at(addr)
	class := t.class(t.answers(e, t.new.tests, t.members[identity.Class]))
	if class == identity.Class {
		return
	}
	identity.Class = class
	t.identities[addr] = identity
	t.write(addr)
}

// answers are the predicates that hold for an endpoint: those from number from on, and the known ones before it.
func (t *tables) answers(e netpol.Endpoint, from int, known []uint64) []uint64 {
	bits := make([]uint64, (len(t.tests)+63)/64)
	copy(bits, known)
	group, isPod := e.Group()
	if isPod {
		for i, word := range t.selectors(group, e) {
			bits[i] |= word
		}
	}
	for i := from; i < len(t.tests); i++ {
		if p := &t.tests[i]; !p.isSelector() && p.holds(e) {
			bits[i/64] |= 1 << (i % 64)
		}
	}
	return bits
}

// selectors are the selectors that hold for the pods of a group.
func (t *tables) selectors(g netpol.Group, e netpol.Endpoint) []uint64 {
	bits, found := t.new.memo[g]
	if !found {
		bits = make([]uint64, (len(t.tests)+63)/64)
		for i := range t.tests {
			if p := &t.tests[i]; p.isSelector() && p.holds(e) {
				bits[i/64] |= 1 << (i % 64)
			}
		}
		t.new.memo[g] = bits
	}
	return bits
}

// class is the number of the class for which exactly these predicates hold.
func (t *tables) class(bits []uint64) uint32 {
	for len(bits) > 0 && bits[len(bits)-1] == 0 {
		bits = bits[:len(bits)-1]
	}
	key := make([]byte, 0, 8*len(bits))
	for _, w := range bits {
		key = binary.LittleEndian.AppendUint64(key, w)
	}
	n, ok := t.classes[string(key)]
	if !ok {
		n = uint32(len(t.members))
		t.classes[string(key)] = n
		t.members = append(t.members, bits)
	}
	return n
}

func (t *tables) holdsIn(class, predicate int) bool {
	bits := t.members[class]
	return predicate/64 < len(bits) && bits[predicate/64]&(1<<(predicate%64)) != 0
}

// classifyPrefixes numbers the classes of the ranges in use.
func (t *tables) classifyPrefixes() {
	for _, prefix := range t.prefixes() {
		before, found := t.cidrs[prefix]
		bits := make([]uint64, (len(t.tests)+63)/64)
		copy(bits, t.members[before])
		from := t.new.tests
		if !found {
			from = 0
		}
		for i := from; i < len(t.tests); i++ {
			if m := t.tests[i].peer; m != nil && m.MatchesPrefix(prefix) {
				bits[i/64] |= 1 << (i % 64)
			}
		}
		if class := t.class(bits); !found || class != before {
			t.cidrs[prefix], t.new.world.CIDRs[prefix] = class, class
		}
	}
}

// prefixes are all ranges in use, if some are new. The trie is keyed by 16-byte addresses, in which ::/0 also
// covers IPv4; a range of all IPv4 addresses keeps the families apart.
func (t *tables) prefixes() []netip.Prefix {
	if len(t.tests) == t.new.tests && len(t.cidrs) > 0 {
		return nil
	}
	all := []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0)}
	for i := range t.tests {
		if m := t.tests[i].peer; m != nil && m.Block.IsValid() {
			all = append(append(all, m.Block), m.Except...)
		}
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	return slices.Compact(all)
}

// lowerPeers adds the rows of new classes for all sets, and of all classes for new sets.
func (t *tables) lowerPeers() {
	for i, s := range t.sets {
		from := t.new.classes
		if i >= t.new.sets {
			from = 0
		}
		for class := from; class < len(t.members); class++ {
			for d := range s.rows {
				if bits, ok := t.peerRow(s, d, class); ok {
					t.new.world.Peers[PeerKey{t.firstSet + uint32(i), uint32(class), netpol.Direction(d)}] = bits
				}
			}
		}
	}
}

// peerRow are the rules of a set that match a class; ok is false if only those match that match whatever peer.
func (t *tables) peerRow(s *policySet, d, class int) (bits Bitmap, ok bool) {
	for _, a := range s.asks[d] {
		if !t.holdsIn(class, a.predicate) || a.also != none && !t.holdsIn(class, a.also) {
			continue
		}
		if !ok {
			bits, ok = s.entry.Everyone[d], true
		}
		bits.Set(a.row)
	}
	return bits, ok
}
