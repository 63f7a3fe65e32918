// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"net/netip"
	"slices"

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
	// Addrs are the pod's addresses, as this node knows them; what others claim of them is not believed.
	// nil: not known, those that the snapshot has.
	Addrs []netip.Addr
}

// Equal reports whether nothing about the endpoint has changed.
func (e EndpointInput) Equal(other EndpointInput) bool {
	return e.Pod == other.Pod && e.Ifindex == other.Ifindex && e.Mode == other.Mode && slices.Equal(e.Addrs, other.Addrs)
}

// Build lowers a snapshot for one node. It fails, naming the pod, when the rules do not fit.
func Build(snap *netpol.Snapshot, in Input) (*World, error) {
	b := &builder{
		snap:       snap,
		sets:       make(map[string]uint32),
		predicates: make(map[string]int),
		named:      make(map[string][]portRange),
		local:      locate(in.Endpoints),
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
		b.world.Endpoints[e.Ifindex] = Endpoint{Set: set, Mode: e.Mode, Main: b.local[e.Pod].main}
	}
	for _, addr := range in.ServiceAddrs {
		b.world.Services[addr.Unmap()] = struct{}{}
	}
	b.classify(in)
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

	sets       map[string]uint32      // content of a policy set → its number
	rows       [][2][]row             // by set and direction
	predicates map[string]int         // key of a predicate → its number
	tests      []predicate            // by predicate number
	named      map[string][]portRange // port that a rule names → what it is among all pods
	local      map[types.NamespacedName]localPod
	classes    map[string]uint32 // predicates that hold → class
	members    [][]uint64        // by class: the predicates that hold
}

// localPod is where a pod of this node is found.
type localPod struct {
	main  uint32 // its first interface
	known bool   // the node knows its addresses
}

func locate(endpoints []EndpointInput) map[types.NamespacedName]localPod {
	local := make(map[types.NamespacedName]localPod, len(endpoints))
	for _, e := range endpoints {
		p, found := local[e.Pod]
		if !found {
			p.main = e.Ifindex
		}
		p.known = p.known || e.Addrs != nil
		local[e.Pod] = p
	}
	return local
}

// row is one numbered rule of a set: a bit of the bitmaps. A rule takes several when it names ports
// that differ between the peers.
type row struct {
	origin   *netpol.Origin
	action   netpol.Action
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
	peer *netpol.PeerMatch // nil: does the pod give port this number?
	port *netpol.PortMatch
	at   portRange
}

func (p *predicate) holds(e netpol.Endpoint) bool {
	if p.peer != nil {
		return p.peer.Matches(e)
	}
	return p.port.Matches(protocols[p.at.protocol], p.at.from, e)
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
	key := directions[0].Key() + "|" + directions[1].Key() + "|" + namedPortsKey(&directions[0], self)
	if n, ok := b.sets[key]; ok {
		return n, nil
	}
	var entry SetEntry
	var origins setOrigins
	var rows [2][]row
	for d := range directions {
		direction, rs := netpol.Direction(d), &directions[d]
		admin := b.lowerRules(rs.Tiers[netpol.Admin], direction, self)
		rows[d] = append(admin, b.lowerRules(afterAdmin(rs), direction, self)...)
		if len(rows[d]) > MaxRules {
			return 0, fmt.Errorf("pod %s: %s has %d rules, more than the %d that fit; merge policies or rules that select it",
				pod, direction, len(rows[d]), MaxRules)
		}
		entry.Isolated[d], entry.Admin[d] = rs.Isolated, uint16(len(admin))
		entry.addRows(direction, rows[d])
		origins.add(direction, rows[d], rs.By)
	}
	n := uint32(len(b.world.Sets))
	b.sets[key] = n
	b.rows = append(b.rows, rows)
	b.world.Sets = append(b.world.Sets, entry)
	b.world.origins = append(b.world.origins, origins)
	return n, nil
}

// afterAdmin are the rules that are asked after those of the Admin tier. Of the two tiers that are
// left, one alone can be: isolation by a NetworkPolicy decides before Baseline is asked.
func afterAdmin(rs *netpol.RuleSet) []*netpol.Rule {
	if rs.Isolated {
		return rs.Tiers[netpol.NetworkPolicies]
	}
	return rs.Tiers[netpol.Baseline]
}

func (s *SetEntry) addRows(d netpol.Direction, rows []row) {
	s.Rules[d] = uint16(len(rows))
	for i := range rows {
		switch rows[i].action {
		case netpol.Deny:
			s.Deny[d].Set(i)
		case netpol.Pass:
			s.Pass[d].Set(i)
		}
	}
}

func (o *setOrigins) add(d netpol.Direction, rows []row, by []*netpol.Origin) {
	o.by[d] = by
	for i := range rows {
		o.rules[d] = append(o.rules[d], rows[i].origin)
	}
}

// namedPortsKey tells apart pods that the same policies select but whose port names mean
// different numbers.
func namedPortsKey(rs *netpol.RuleSet, self netpol.Endpoint) string {
	var key string
	for _, rules := range rs.Tiers {
		for _, r := range rules {
			for i := range r.Ports {
				if p := &r.Ports[i]; p.Name != "" {
					key += fmt.Sprintf("%s=%v;", p, namedPorts(self, p))
				}
			}
		}
	}
	return key
}
