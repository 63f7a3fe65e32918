// SPDX-License-Identifier: Apache-2.0

// Package plan lowers compiled policies and the endpoints of one node to the contents of the
// datapath's maps. It is pure: no kernel and no cluster is needed to test it.
//
// A verdict is found by bit vectors. The rules that govern a pod in a direction are numbered in
// order of precedence. Peers that every rule treats alike form a class, and so do ports. For each
// policy set, {direction, class of the peer} gives the bitmap of rules whose peers match, and
// {direction, protocol, class of the port} the bitmap of rules whose ports match. The lowest common
// bit is the rule that decides. The cost of a verdict therefore does not depend on the number of
// pods, ranges or ports.
//
// A [Planner] goes from one world to the next by what is new. Numbers keep their meaning: a policy set never
// changes, and what the rules treat alike is only ever cut finer. So all that the next world needs can be added
// beside what is in use, and endpoints then change to their new sets in one step.
//
// Rules of the Admin tier come first, then those of one other tier: of NetworkPolicies where one
// isolates the pod, and of Baseline where none does, because the one tier is never asked after the
// other. A rule of the Admin tier that passes makes the search start again behind that tier, and
// what passes there or is not found is left to isolation. So two searches are the most.
package plan

import (
	"net/netip"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// MaxRules is how many rules can govern one pod in one direction.
const MaxRules = 1024

// Bitmap has one bit a rule; bit 0 of word 0 is the first rule.
type Bitmap [MaxRules / 64]uint64

// Set sets the bit of rule i.
func (b *Bitmap) Set(i int) { b[i/64] |= 1 << (i % 64) }

// Mode is what the datapath does with a denied packet.
type Mode uint8

// The modes, numbered as the datapath numbers them.
const (
	Audit   Mode = 0 // record it and let it pass
	Enforce Mode = 1 // record it and drop it
)

// Protocol numbers the protocols that rules can name.
type Protocol uint8

// The protocols, numbered as the datapath numbers them. Other stands for every protocol without
// ports; only rules that name no port match it.
const (
	TCP   Protocol = 0
	UDP   Protocol = 1
	SCTP  Protocol = 2
	Other Protocol = 3
)

// Endpoint is a local pod, found by the host's interface that leads to it.
type Endpoint struct {
	Set  uint32 // number of the policy set
	Mode Mode
	// Main is the pod's first interface, by which Identity names the pod: a pod may have several.
	Main uint32
	// Staged is the number of the policy set that is judged beside Set, and only recorded, if IsStaged.
	Staged   uint32
	IsStaged bool
	Reject   bool // as in EndpointInput
}

// Identity is what an address is to the rules.
type Identity struct {
	Class uint32
	Node  bool // an address of this very node: what comes from it is always let in
	// Ifindex is the first interface of the local pod that has the address; 0: it is not a local pod's.
	Ifindex uint32
}

// Device is what an interface is that leads to no single pod.
type Device uint8

// The kinds of devices, numbered as the datapath numbers them.
const (
	Exempt Device = 1 // a veth that is no pod's
	Shared Device = 2 // a bridge whose every port is a pod's
)

// PeerKey finds the rules whose peers match.
type PeerKey struct {
	Set, Class uint32
	Direction  netpol.Direction
}

// PortKey finds the rules whose ports match.
type PortKey struct {
	Set       uint32
	Class     uint16 // 0 for Other
	Direction netpol.Direction
	Protocol  Protocol
}

// SetEntry describes a policy set to the datapath. Arrays are indexed by netpol.Direction.
type SetEntry struct {
	Isolated [2]bool
	Rules    [2]uint16 // how many bits of the bitmaps are in use
	Admin    [2]uint16 // how many of them, from the first on, are of the Admin tier
	// Deny and Pass are the rules with these actions, which the NetworkPolicies tier has none of; all
	// others allow.
	Deny, Pass [2]Bitmap
	// Everyone are the rules that match whatever peer, and AllPorts those that match whatever port.
	Everyone, AllPorts [2]Bitmap
}

// PortClasses are the classes of ports, by Protocol and port.
type PortClasses [3][65536]uint16

// World is everything that packets are judged by, or what is new of it.
type World struct {
	// Partial: what is not in the tables is as it was in the world before. Endpoints are complete all the same.
	Partial   bool
	Endpoints map[uint32]Endpoint // by interface index
	// Gate and Devices (by interface index; only Gate asks for them) are as in Input, and complete.
	Gate       bool
	Devices    map[uint32]Device
	Identities map[netip.Addr]Identity
	Services   map[netip.Addr]struct{} // virtual addresses: judged after translation
	// Gone are the addresses that are neither an identity nor a Service any more. What is said of an address
	// replaces all that was known of it.
	Gone []netip.Addr
	// Addresses bounds how many have an identity or are a Service's in all; 0: those given here.
	Addresses int
	// CIDRs give the class of the addresses in no narrower prefix; it is 0 when they are in none.
	CIDRs map[netip.Prefix]uint32
	// PortClasses are all of them; nil: as before.
	PortClasses *PortClasses
	Peers       map[PeerKey]Bitmap // a key that is missing means SetEntry.Everyone
	Ports       map[PortKey]Bitmap // a key that is missing means SetEntry.AllPorts
	// Sets are the new policy sets. The first has the number FirstSet, and so on.
	Sets     []SetEntry
	FirstSet uint32
	// Unfit names the pods whose policies have too many rules. Each stays under those that it had in the world
	// before; one that had none is denied everything.
	Unfit []error
	// Unstaged names the pods whose staged policies have too many rules: they are judged by the live ones alone.
	Unstaged []error

	origins []setOrigins // by set
}

// setOrigins says where the numbers of a set come from. Arrays are indexed by netpol.Direction.
type setOrigins struct {
	rules [2][]*netpol.Origin
	by    [2][]*netpol.Origin
}

// Rule is the origin of a rule number of a set that is new in this world; nil when there is no such rule.
func (w *World) Rule(set uint32, d netpol.Direction, rule int) *netpol.Origin {
	o := w.originsOf(set)
	if o == nil || rule < 0 || rule >= len(o.rules[d]) {
		return nil
	}
	return o.rules[d][rule]
}

// Isolation lists the policies that isolate the pods of a set that is new in this world; nil when none does.
func (w *World) Isolation(set uint32, d netpol.Direction) []*netpol.Origin {
	if o := w.originsOf(set); o != nil {
		return o.by[d]
	}
	return nil
}

func (w *World) originsOf(set uint32) *setOrigins {
	if i := int(set) - int(w.FirstSet); i >= 0 && i < len(w.origins) {
		return &w.origins[i]
	}
	return nil
}
