// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"net/netip"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Input is what a node adds to a snapshot.
type Input struct {
	// Endpoints are the pods of this node.
	Endpoints []EndpointInput
	// NodeAddrs are the addresses of this node.
	NodeAddrs []netip.Addr
	// ServiceAddrs are the virtual addresses of Services.
	ServiceAddrs []netip.Addr
}

// EndpointInput is a local pod whose interface is known.
type EndpointInput struct {
	Pod     types.NamespacedName
	Ifindex uint32 // of the host's side of the pod's link
	Mode    Mode
}

// Build lowers a snapshot for one node. It fails, naming the pod, when the rules do not fit.
func Build(snap *netpol.Snapshot, in Input) (*World, error) {
	b := &builder{
		snap:       snap,
		sets:       make(map[string]uint32),
		predicates: make(map[string]int),
		classes:    map[string]uint32{"": 0},
		world: &World{
			Endpoints:  make(map[uint32]Endpoint, len(in.Endpoints)),
			Identities: make(map[netip.Addr]Identity),
			CIDRs:      make(map[netip.Prefix]uint32),
			Services:   make(map[netip.Addr]struct{}, len(in.ServiceAddrs)),
			Peers:      make(map[PeerKey]Bitmap),
			Ports:      make(map[PortKey]Bitmap),
		},
	}
	b.members = append(b.members, nil) // class 0: no predicate holds
	for _, e := range in.Endpoints {
		set, err := b.set(e.Pod)
		if err != nil {
			return nil, err
		}
		b.world.Endpoints[e.Ifindex] = Endpoint{Set: set, Mode: e.Mode}
	}
	for _, addr := range in.ServiceAddrs {
		b.world.Services[addr.Unmap()] = struct{}{}
	}
	b.classify(in.NodeAddrs)
	b.lowerPeers()
	if err := b.lowerPorts(); err != nil {
		return nil, err
	}
	return b.world, nil
}

// builder carries the numbering from one step of Build to the next.
type builder struct {
	snap  *netpol.Snapshot
	world *World

	sets       map[string]uint32 // content of a policy set → its number
	rows       [][2][]row        // by set and direction
	predicates map[string]int    // key of a predicate → its number
	tests      []predicate       // by predicate number
	classes    map[string]uint32 // predicates that hold → class
	members    [][]uint64        // by class: the predicates that hold
}

// row is one numbered rule of a set: a bit of the bitmaps. A rule takes several when it names ports
// that differ between the peers.
type row struct {
	origin   *netpol.Origin
	everyone bool
	peers    []int // predicates; one of them must hold
	named    int   // predicate on the peer's named port that must hold as well; -1: none
	allPorts bool  // every protocol and port
	ports    []portRange
}

type portRange struct {
	protocol Protocol
	from, to uint16
}

// predicate is a question about a peer that rules ask.
type predicate struct {
	peer *netpol.PeerMatch // nil: does the pod give name this number?
	port *netpol.PortMatch
	num  uint16
}

func (p *predicate) holds(e netpol.Endpoint) bool {
	if p.peer != nil {
		return p.peer.Matches(e)
	}
	return p.port.Matches(p.port.Protocol, p.num, e)
}

func (b *builder) predicate(key string, p predicate) int {
	n, ok := b.predicates[key]
	if !ok {
		n = len(b.tests)
		b.predicates[key] = n
		b.tests = append(b.tests, p)
	}
	return n
}

// set numbers the policy set of a pod. Pods with the same content share one.
func (b *builder) set(pod types.NamespacedName) (uint32, error) {
	directions := [2]netpol.RuleSet{b.snap.RuleSet(pod, netpol.Ingress), b.snap.RuleSet(pod, netpol.Egress)}
	self := b.snap.Endpoint(pod)
	key := directions[0].Key() + "|" + directions[1].Key() + "|" + namedPortsKey(directions[0].Rules, self)
	if n, ok := b.sets[key]; ok {
		return n, nil
	}
	var entry SetEntry
	var origins setOrigins
	var rows [2][]row
	for d, rs := range directions {
		direction := netpol.Direction(d)
		rows[d] = b.lowerRules(rs.Rules, direction, self)
		if len(rows[d]) > MaxRules {
			return 0, fmt.Errorf("pod %s: %s has %d rules, more than the %d that fit; merge policies or rules that select it",
				pod, direction, len(rows[d]), MaxRules)
		}
		entry.Isolated[d], entry.Rules[d] = rs.Isolated, uint16(len(rows[d]))
		origins.by[d] = rs.By
		for _, r := range rows[d] {
			origins.rules[d] = append(origins.rules[d], r.origin)
		}
	}
	n := uint32(len(b.world.Sets))
	b.sets[key] = n
	b.rows = append(b.rows, rows)
	b.world.Sets = append(b.world.Sets, entry)
	b.world.origins = append(b.world.origins, origins)
	return n, nil
}

// namedPortsKey tells apart pods that the same policies select but whose port names mean
// different numbers.
func namedPortsKey(rules []*netpol.Rule, self netpol.Endpoint) string {
	var key string
	for _, r := range rules {
		for i := range r.Ports {
			if p := &r.Ports[i]; p.Name != "" {
				key += fmt.Sprintf("%s=%v;", p, self.NamedPorts(p.Name, p.Protocol))
			}
		}
	}
	return key
}
