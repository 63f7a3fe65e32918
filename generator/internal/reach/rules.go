// SPDX-License-Identifier: Apache-2.0

package reach

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// rules numbers what the rules in use consist of, so that a peer is matched once with each point, and
// not again for each pair of points.
type rules struct {
	numbered map[*netpol.Rule]*rule
	peers    map[string]int // by key
	matchers []*netpol.PeerMatch
	shapes   map[string]uint64
	names    map[string]bool // of ports
	// denyNames: some rule that does not allow is about named ports.
	denyNames bool
}

// rule is a rule of some tier.
type rule struct {
	shape uint64 // the same for rules of one tier, action and list of ports; never 0
	peers []int  // nil: everyone
}

// side is what governs a point in one direction.
type side struct {
	isolated bool
	rules    []*rule // of all tiers, in order
}

// bits is a set of small numbers.
type bits []uint64

func (b bits) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }

func newRules() *rules {
	return &rules{numbered: map[*netpol.Rule]*rule{}, peers: map[string]int{}, shapes: map[string]uint64{}, names: map[string]bool{}}
}

func (rs *rules) side(set *netpol.RuleSet) side {
	s := side{isolated: set.Isolated}
	for tier, list := range set.Tiers {
		for _, r := range list {
			s.rules = append(s.rules, rs.number(tier, r))
		}
	}
	return s
}

func (rs *rules) number(tier int, r *netpol.Rule) *rule {
	if known := rs.numbered[r]; known != nil {
		return known
	}
	n := &rule{}
	rs.numbered[r] = n
	for i := range r.Peers {
		n.peers = append(n.peers, rs.peer(&r.Peers[i]))
	}
	shape := fmt.Sprint(tier, r.Action)
	for i := range r.Ports {
		p := &r.Ports[i]
		shape += fmt.Sprintf(" %s %d %d %q", p.Protocol, p.From, p.To, p.Name)
		rs.names[p.Name] = true
		rs.denyNames = rs.denyNames || p.Name != "" && r.Action != netpol.Allow
	}
	if _, ok := rs.shapes[shape]; !ok {
		rs.shapes[shape] = uint64(len(rs.shapes) + 1)
	}
	n.shape = rs.shapes[shape]
	return n
}

func (rs *rules) peer(m *netpol.PeerMatch) int {
	key := m.Key()
	i, ok := rs.peers[key]
	if !ok {
		i = len(rs.matchers)
		rs.peers[key] = i
		rs.matchers = append(rs.matchers, m)
	}
	return i
}

// match asks each peer about each point.
func (rs *rules) match(ends [][]*point) {
	names := slices.Sorted(func(yield func(string) bool) {
		for name := range rs.names {
			if name != "" && !yield(name) {
				return
			}
		}
	})
	parallel(len(ends), func() func(int) {
		return func(i int) {
			for _, p := range ends[i] {
				p.matches = make(bits, len(rs.matchers)/64+1)
				for n, m := range rs.matchers {
					if m.Matches(p.source) {
						p.matches[n/64] |= 1 << (n % 64)
					}
				}
				p.ports = namedPorts(p.destination, names)
			}
		}
	})
}

// namedPorts is which numbers the names stand for at a point.
func namedPorts(e netpol.Endpoint, names []string) string {
	var key []byte
	for _, name := range names {
		for _, protocol := range []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP} {
			if numbers := e.NamedPorts(name, protocol); len(numbers) > 0 {
				key = fmt.Appendf(key, "%s %s %v;", name, protocol, numbers)
			}
		}
	}
	return string(key)
}

// includes says whether the rule is about the point, whatever the port.
func (r *rule) includes(p *point) bool {
	if r.peers == nil {
		return true
	}
	for _, n := range r.peers {
		if p.matches.has(n) {
			return true
		}
	}
	return false
}

// matched appends which kinds of rules of a point's side are about a peer: where it is the same, so is what
// the side allows, for the same named ports.
func (p *point) matched(key []byte, d netpol.Direction, peer *point) []byte {
	if !p.identity {
		return append(key, 2)
	}
	s := &p.sides[d]
	if s.isolated {
		key = append(key, 1)
	} else {
		key = append(key, 0)
	}
	for _, r := range s.rules {
		if r.includes(peer) {
			key = binary.AppendUvarint(key, r.shape)
		}
	}
	return append(key, 0)
}

// parallel calls with each number below n, on all processors. Each of them makes its own function.
func parallel(n int, worker func() func(int)) {
	var group sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		do := worker()
		group.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	group.Wait()
}
