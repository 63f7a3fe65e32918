// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/corpus"
)

// decide reads the maps as the datapath does; rule is the one that decided, or -1.
func (w *World) decide(ifindex uint32, d netpol.Direction, peer netip.Addr, protocol corev1.Protocol, port uint16) (allowed bool, rule int) {
	set := w.Endpoints[ifindex].Set
	p, class := Other, uint16(0)
	if protocol != icmp {
		p = protocolOf(protocol)
		class = w.PortClasses[p][port]
	}
	entry := &w.Sets[set-w.FirstSet]
	peers, ok := w.Peers[PeerKey{set, w.classOf(peer), d}]
	if !ok {
		peers = entry.Everyone[d]
	}
	ports, ok := w.Ports[PortKey{set, class, d, p}]
	if !ok {
		ports = entry.AllPorts[d]
	}
	rule = firstCommon(peers, ports, 0)
	if rule >= 0 && rule < int(entry.Admin[d]) && entry.Pass[d].has(rule) {
		rule = firstCommon(peers, ports, int(entry.Admin[d]))
	}
	if rule >= 0 && !entry.Pass[d].has(rule) {
		return !entry.Deny[d].has(rule), rule
	}
	return !entry.Isolated[d], -1
}

func (b *Bitmap) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }

// firstCommon is the first rule from one on that is in both; -1 if none is.
func firstCommon(a, b Bitmap, from int) int {
	for i := from; i < MaxRules; i++ {
		if a.has(i) && b.has(i) {
			return i
		}
	}
	return -1
}

// classOf looks an address up as the datapath does: 16 bytes, pods first, then the longest prefix.
func (w *World) classOf(addr netip.Addr) uint32 {
	if id, ok := w.Identities[addr]; ok {
		return id.Class
	}
	best, class := -1, uint32(0)
	for prefix, c := range w.CIDRs {
		length := prefix.Bits()
		if prefix.Addr().Is4() {
			length += 96
		}
		wide := netip.PrefixFrom(netip.AddrFrom16(prefix.Addr().As16()), length)
		if length > best && wide.Contains(netip.AddrFrom16(addr.As16())) {
			best, class = length, c
		}
	}
	return class
}

// ports that some policy of the corpus could treat differently from its neighbours.
var probes = []uint16{1, 52, 53, 80, 81, 443, 3000, 5353, 5432, 8080, 8081, 8443, 9090, 32000, 32768, 65535}

// icmp stands for all protocols without ports.
const icmp corev1.Protocol = "ICMP"

// TestAgreesWithEvaluator lowers every case file of the corpus, and compares every pod × every
// address × every port with the evaluator, side by side.
func TestAgreesWithEvaluator(t *testing.T) {
	files, err := corpus.Load("../../../policies/netpol/testdata/corpus")
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, f := range files {
		snap, err := netpol.Compile(f.Objects)
		if err != nil && len(f.Faults) == 0 {
			t.Fatalf("%s: %v", f.Path, err)
		}
		addrs, ports := make(map[netip.Addr]bool), make(map[uint16]bool)
		for _, p := range probes {
			ports[p] = true
		}
		for _, c := range f.Connections {
			addrs[c.From.Addr.Unmap()], addrs[c.To.Addr.Unmap()] = true, true
			ports[c.Port] = true
		}
		delete(addrs, netip.Addr{})
		compared += compare(t, newTrial(t, f.Path, snap), slices.Collect(maps.Keys(addrs)), slices.Collect(maps.Keys(ports)))
	}
	if compared < 300_000 {
		t.Errorf("only %d decisions compared: the corpus has become too small for this test", compared)
	}
	t.Logf("%d decisions compared", compared)
}

// trial is a cluster of which one node has all pods, and every other of the Nodes' addresses.
type trial struct {
	name  string
	snap  *netpol.Snapshot
	world *World
	pods  map[uint32]netpol.Endpoint // by interface
	seen  func(self netpol.Endpoint, d netpol.Direction, want netpol.Decision)
}

func newTrial(t *testing.T, name string, snap *netpol.Snapshot) *trial {
	t.Helper()
	c, in := unplanned(name, snap)
	var err error
	if c.world, err = Build(snap, in); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if _, found := c.world.CIDRs[netip.Prefix{}]; found {
		t.Errorf("%s: a peer that is not a range became one", name)
	}
	return c
}

// unplanned is a trial without its world, which is to be made of the input.
func unplanned(name string, snap *netpol.Snapshot) (*trial, Input) {
	c := &trial{name: name, snap: snap, pods: make(map[uint32]netpol.Endpoint), seen: func(netpol.Endpoint, netpol.Direction, netpol.Decision) {}}
	var in Input
	for e := range snap.Endpoints() {
		ifindex := uint32(len(in.Endpoints) + 1)
		in.Endpoints = append(in.Endpoints, EndpointInput{Pod: e.Pod(), Ifindex: ifindex, Mode: Enforce})
		c.pods[ifindex] = e
	}
	for i, e := range snap.NodeEndpoints() {
		if i%2 == 0 { // known to be the node's own, and not only from the Node
			in.NodeAddrs = append(in.NodeAddrs, e.Addr)
		}
	}
	return c, in
}

// compare asks about every pod with every other and every address given, at every port, and returns how
// many decisions it compared.
func compare(t *testing.T, c *trial, addrs []netip.Addr, ports []uint16) (compared int) {
	t.Helper()
	for _, e := range c.pods {
		addrs = append(addrs, e.Addr)
	}
	for ifindex := range c.pods {
		for _, addr := range addrs {
			compared += c.comparePair(t, ifindex, addr, icmp, 0)
			for _, protocol := range protocols {
				for _, port := range ports {
					compared += c.comparePair(t, ifindex, addr, protocol, port)
				}
			}
		}
	}
	return compared
}

func (c *trial) comparePair(t *testing.T, ifindex uint32, addr netip.Addr, protocol corev1.Protocol, port uint16) (compared int) {
	t.Helper()
	self := c.pods[ifindex]
	me, other := netpol.Peer{Pod: self.Pod(), Addr: self.Addr}, netpol.Peer{Addr: addr}
	in := c.snap.Evaluate(netpol.Connection{From: other, To: me, Protocol: protocol, Port: port})
	out := c.snap.Evaluate(netpol.Connection{From: me, To: other, Protocol: protocol, Port: port})
	for d, v := range []netpol.Verdict{netpol.Ingress: in, netpol.Egress: out} {
		want := []netpol.Decision{netpol.Ingress: v.Ingress, netpol.Egress: v.Egress}[d]
		// The datapath knows its own node by Identity.Node, sees no pod talk to itself, and judges
		// a Service after translation.
		if want.Reason == netpol.OwnNode || want.Reason == netpol.SamePod || v.Resolved != nil {
			continue
		}
		compared++
		c.seen(self, netpol.Direction(d), want)
		if problem := c.problem(ifindex, netpol.Direction(d), addr, protocol, port, &want); problem != "" {
			t.Errorf("%s: %s of %s with %s %s/%d: %s, evaluator %+v", c.name, netpol.Direction(d), self.Pod(), addr, protocol, port, problem, want)
		}
	}
	return compared
}

// problem is what the maps say other than wanted; empty when they agree.
func (c *trial) problem(ifindex uint32, d netpol.Direction, addr netip.Addr, protocol corev1.Protocol, port uint16, want *netpol.Decision) string {
	set := c.world.Endpoints[ifindex].Set
	allowed, number := c.world.decide(ifindex, d, addr, protocol, port)
	rule, by := c.world.Rule(set, d, number), c.world.Isolation(set, d)
	switch {
	case allowed != want.Allowed:
		return fmt.Sprintf("maps say %v", allowed)
	case (rule == nil) != (want.Rule == nil) || rule != nil && *rule != *want.Rule:
		return fmt.Sprintf("maps name %v", rule)
	case want.Reason == netpol.NoRule && !slices.Equal(by, want.By):
		return fmt.Sprintf("maps are isolated by %v", by)
	}
	return ""
}
