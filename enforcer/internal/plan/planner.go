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
	// Gate cuts off every veth that no endpoint has, and every pod behind Bridges that is no endpoint: what
	// they send to the node or through it, and what is forwarded to them. A pod that starts is not let
	// through before it is known, even if nobody is there to learn of it. The node may send to any pod, but
	// hears only of TCP connections that it has opened.
	Gate bool
	// Exempt are the interfaces of veths that are not pods', which Gate would cut off: the uplink of a node
	// that is a container itself is one.
	Exempt []uint32
	// Bridges are the interfaces of bridges whose ports are all pods'.
	Bridges []uint32
	// Staged is the same cluster as the snapshot, with staged policies as if they were live; nil: there are
	// none. Make it by Stage.On from the snapshot, so that what both have is lowered once.
	Staged *netpol.Snapshot
}

// EndpointInput is a local pod whose interface is known.
type EndpointInput struct {
	Pod     types.NamespacedName
	Ifindex uint32 // of the host's side of the pod's link
	Mode    Mode
	// Addrs are the pod's addresses, as this node knows them; what others claim of them is not believed.
	// nil: not known, those that the snapshot has.
	Addrs []netip.Addr
	// Reject: what is denied is answered, and not only dropped. It has no meaning in mode Audit.
	Reject bool
}

// Equal reports whether nothing about the endpoint has changed.
func (e EndpointInput) Equal(other EndpointInput) bool {
	return e.Pod == other.Pod && e.Ifindex == other.Ifindex && e.Mode == other.Mode && e.Reject == other.Reject && slices.Equal(e.Addrs, other.Addrs)
}

// Build lowers a snapshot for one node.
func Build(snap *netpol.Snapshot, in Input) (*World, error) { return new(Planner).Next(snap, in) }

// Planner makes the worlds of one node, one after the other. The zero Planner makes a complete one first.
type Planner struct {
	tables  *tables                        // as of the world before; nil: the next world is complete
	sets    uint32                         // number of the next policy set
	fitting map[types.NamespacedName]rules // what the pods of the world before are under
}

// NewPlanner numbers policy sets from firstSet on.
func NewPlanner(firstSet uint32) *Planner { return &Planner{sets: firstSet} }

// Next makes the world of the snapshot: the world before with what is new, or a complete one where there is none
// before, or where too much of the one before is not needed any more. When it fails, the next world is
// complete.
func (p *Planner) Next(snap *netpol.Snapshot, in Input) (*World, error) {
	t, partial := p.tables, true
	if t == nil || t.isWasteful() {
		t, partial = newTables(p.sets), false
	}
	p.tables = nil // until it is known to be as the world says
	t.before, t.fitting = p.fitting, make(map[types.NamespacedName]rules, len(in.Endpoints))
	w, err := t.next(snap, in, partial)
	p.sets = t.firstSet + uint32(len(t.sets))
	if err != nil {
		return nil, err
	}
	p.tables, p.fitting = t, t.fitting
	return w, nil
}

// Forget makes the next world a complete one. It must be called when a world was not loaded.
func (p *Planner) Forget() { p.tables = nil }

// tables are the numbers that have been given, and what the datapath's maps hold.
type tables struct {
	snap *netpol.Snapshot
	in   Input

	firstSet uint32
	sets     []*policySet      // by number, from firstSet on
	byKey    map[string]uint32 // number of a policy set by what it is made of
	inUse    int               // sets that endpoints are under

	before, fitting map[types.NamespacedName]rules // what local pods were under, and are now

	tests   []predicate // by number
	byTest  map[string]int
	named   map[string][]portRange // port that a rule names → what it is among all pods
	members [][]uint64             // by class: the predicates that hold
	classes map[string]uint32      // predicates that hold → class
	needed  int                    // classes of the last complete world

	identities map[netip.Addr]Identity
	services   map[netip.Addr]struct{}
	cidrs      map[netip.Prefix]uint32
	ports      [3]portClasses

	local map[types.NamespacedName]localPod
	own   map[netip.Addr]types.NamespacedName // addresses of local pods, as the node knows them
	nodes map[netip.Addr]bool                 // this node's addresses
	new   fresh
}

// fresh is what a world adds to the tables.
type fresh struct {
	world    *World
	complete bool
	sets     int // how many sets there were before
	tests    int // predicates before
	classes  int // classes before
	ports    []portClass
	services map[netip.Addr]bool       // that came or went
	memo     map[netpol.Group][]uint64 // selectors that hold for the pods of a group
}

func newTables(firstSet uint32) *tables {
	t := &tables{
		snap: new(netpol.Snapshot), firstSet: firstSet,
		byKey: make(map[string]uint32), byTest: make(map[string]int),
		members: [][]uint64{nil}, classes: map[string]uint32{"": 0}, // class 0: no predicate holds
		identities: make(map[netip.Addr]Identity), services: make(map[netip.Addr]struct{}), cidrs: make(map[netip.Prefix]uint32),
	}
	for protocol := range t.ports {
		t.ports[protocol] = newPortClasses()
	}
	return t
}

// isWasteful says that most of the tables is not in use any more.
func (t *tables) isWasteful() bool {
	return len(t.sets) > 2*t.inUse+256 || len(t.members) > 2*t.needed+1024
}

// next goes to the tables of the snapshot.
func (t *tables) next(snap *netpol.Snapshot, in Input, partial bool) (*World, error) {
	before := *t
	t.snap, t.in = snap, in
	t.local, t.own, t.nodes = locate(in.Endpoints), ownAddrs(in.Endpoints), setOf(in.NodeAddrs)
	t.named = make(map[string][]portRange)
	t.new = fresh{
		sets: len(t.sets), tests: len(t.tests), classes: len(t.members), memo: make(map[netpol.Group][]uint64), services: make(map[netip.Addr]bool),
		complete: !partial,
		world: &World{
			Partial: partial, Gate: in.Gate, Devices: devices(in),
			Endpoints:  make(map[uint32]Endpoint, len(in.Endpoints)),
			Identities: make(map[netip.Addr]Identity), Services: make(map[netip.Addr]struct{}),
			CIDRs: make(map[netip.Prefix]uint32), Peers: make(map[PeerKey]Bitmap), Ports: make(map[PortKey]Bitmap),
			FirstSet: t.firstSet + uint32(len(t.sets)),
		},
	}
	if err := t.endpoints(); err != nil {
		return nil, err
	}
	t.classify(&before)
	if t.new.complete {
		t.needed = len(t.members)
	}
	if err := t.cutPorts(); err != nil {
		return nil, err
	}
	t.lowerPeers()
	t.lowerPorts()
	w := t.new.world
	w.Addresses = len(t.identities) + len(t.services)
	t.new = fresh{}
	return w, nil
}

func devices(in Input) map[uint32]Device {
	all := make(map[uint32]Device, len(in.Exempt)+len(in.Bridges))
	for _, ifindex := range in.Bridges {
		all[ifindex] = Shared
	}
	for _, ifindex := range in.Exempt {
		all[ifindex] = Exempt
	}
	return all
}

// endpoints gives every endpoint its policy sets.
func (t *tables) endpoints() error {
	live := make(map[uint32]bool)
	for _, e := range t.in.Endpoints {
		set, err := t.live(e.Pod)
		if err != nil {
			return err
		}
		endpoint := Endpoint{Set: set, Mode: e.Mode, Main: t.local[e.Pod].main, Reject: e.Reject}
		endpoint.Staged, endpoint.IsStaged = t.staged(e.Pod, set)
		live[set] = true
		live[endpoint.Staged] = live[endpoint.Staged] || endpoint.IsStaged
		t.new.world.Endpoints[e.Ifindex] = endpoint
	}
	t.inUse = len(live)
	return nil
}

// staged is the number of the set that a pod would be under; ok is false if it says what the live one says.
func (t *tables) staged(pod types.NamespacedName, live uint32) (set uint32, ok bool) {
	if t.in.Staged == nil {
		return 0, false
	}
	set, err := t.set(rulesOf(t.in.Staged, pod), pod)
	if err != nil {
		t.new.world.Unstaged = append(t.new.world.Unstaged, fmt.Errorf("staged policies of %w", err))
		return 0, false
	}
	if set == live || t.sets[set-t.firstSet].saysWhat(t.sets[live-t.firstSet]) {
		return 0, false
	}
	return set, true
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

// ownAddrs are what the node itself knows of its pods' addresses. A link-local address says nothing about who
// has it.
func ownAddrs(endpoints []EndpointInput) map[netip.Addr]types.NamespacedName {
	own := make(map[netip.Addr]types.NamespacedName, len(endpoints))
	for _, e := range endpoints {
		for _, addr := range e.Addrs {
			if addr = addr.Unmap(); !isLinkLocal(addr) {
				own[addr] = e.Pod
			}
		}
	}
	return own
}

func isLinkLocal(addr netip.Addr) bool { return addr.Is6() && addr.IsLinkLocalUnicast() }

func setOf(addrs []netip.Addr) map[netip.Addr]bool {
	set := make(map[netip.Addr]bool, len(addrs))
	for _, addr := range addrs {
		set[addr.Unmap()] = true
	}
	return set
}
