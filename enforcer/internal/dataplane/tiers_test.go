// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/corpus"
)

// question is one opening of a connection by or to the pod at a device; flows are recorded by the same.
type question struct {
	direction netpol.Direction
	remote    netip.Addr
	protocol  byte
	port      uint16 // 0 for ICMP
}

// clientPort is one that no question asks about.
const clientPort = 61000

// ask sends the packet and reports whether it passed.
func (d *Dataplane) ask(t *testing.T, local netip.Addr, q question) bool {
	t.Helper()
	var payload []byte
	switch q.protocol {
	case tcp:
		payload = tcpSegment(clientPort, q.port, syn)
	case udp:
		payload = udpDatagram(clientPort, q.port)
	case sctp:
		payload = sctpChunk(clientPort, q.port)
	case icmp4:
		payload = echo(8, 1)
	default:
		payload = echo(128, 1)
	}
	if q.direction == netpol.Egress {
		return d.run(t, fromPod, ipPacket(local.String(), q.remote.String(), q.protocol, payload))
	}
	return d.run(t, toPod, ipPacket(q.remote.String(), local.String(), q.protocol, payload))
}

// answers are the records of what was asked since the drain before, each of which was asked once. The kernel may
// lack memory for a record at that moment; then it is counted as lost.
func (d *Dataplane) answers(t *testing.T, asked int) map[question]Flow {
	t.Helper()
	flows, lost := drained(t, d)
	if len(flows)+int(lost) != asked {
		t.Errorf("%d recorded, %d lost, %d asked", len(flows), lost, asked)
	}
	byQuestion := make(map[question]Flow, len(flows))
	for _, f := range flows {
		byQuestion[question{f.Direction, f.Remote, f.Protocol, f.Port}] = f
	}
	return byQuestion
}

// reasonOf is how the datapath says what the evaluator says.
var reasonOf = map[netpol.Reason]Reason{
	netpol.RuleMatched: ByRule,
	netpol.RuleDenied:  ByDenyRule,
	netpol.NoRule:      ByIsolation,
	netpol.NotIsolated: ByNoIsolation,
	netpol.OwnNode:     ByOwnNode,
	netpol.SamePod:     ByItself,
}

// verdictOf is what the datapath must say in a mode.
func verdictOf(allowed bool, mode plan.Mode) Verdict {
	switch {
	case allowed:
		return Allowed
	case mode == plan.Audit:
		return WouldDeny
	}
	return Denied
}

// TestAgreesWithEvaluatorOnTiers puts the corpus' clusters with tiers into the kernel, and compares verdict, reason
// and rule of every pod with every address that occurs, one pod in mode enforce and the next in mode audit.
func TestAgreesWithEvaluatorOnTiers(t *testing.T) {
	files, err := corpus.Load("../../../policies/netpol/testdata/corpus")
	if err != nil {
		t.Fatal(err)
	}
	config := newConfig(t)
	config.Flows, config.Connections = 1<<15, 1<<16
	d := open(t, config)
	reached, pods := map[string]int{}, 0
	for _, f := range files {
		if matched, _ := filepath.Match("tiers-*.txtar", filepath.Base(f.Path)); !matched {
			continue
		}
		snap, err := netpol.Compile(f.Objects)
		if err != nil && len(f.Faults) == 0 {
			t.Fatalf("%s: %v", f.Path, err)
		}
		for pod := range snap.Endpoints() {
			pods++
			c := &cluster{d, snap, pod, plan.Mode(pods % 2), reached}
			t.Run(fmt.Sprintf("%s/%s/%s", filepath.Base(f.Path), pod.Pod(), pod.Addr), func(t *testing.T) { c.compare(t, f) })
		}
	}
	for _, reason := range []Reason{ByRule, ByDenyRule, ByIsolation, ByNoIsolation, ByOwnNode, ByItself} {
		for _, passed := range []bool{false, true} {
			if key := fmt.Sprintf("%s, passed %v", reason, passed); reached[key] == 0 && (!passed || reason != ByOwnNode && reason != ByItself) {
				t.Errorf("no decision by %s", key)
			}
		}
	}
}

// cluster is seen from one of its pods, which is behind the device of the test's packets.
type cluster struct {
	d       *Dataplane
	snap    *netpol.Snapshot
	pod     netpol.Endpoint
	mode    plan.Mode
	reached map[string]int
}

func (c *cluster) compare(t *testing.T, f *corpus.File) {
	wanted := c.questions(f)
	in := plan.Input{Endpoints: []plan.EndpointInput{{Pod: c.pod.Pod(), Ifindex: 1, Mode: c.mode}}}
	for q, want := range wanted {
		if want.Reason == netpol.OwnNode {
			in.NodeAddrs = append(in.NodeAddrs, q.remote)
		}
	}
	world, err := plan.Build(c.snap, in)
	if err != nil {
		t.Fatal(err)
	}
	load(t, c.d, world)
	passed := map[question]bool{}
	for q := range wanted {
		passed[q] = c.d.ask(t, c.pod.Addr, q)
	}
	got := c.d.answers(t, len(wanted))
	for q, want := range wanted {
		verdict := verdictOf(want.Allowed, c.mode)
		if passed[q] != (verdict != Denied) {
			t.Errorf("%s %+v: passed %v; evaluator %+v", q.direction, q, passed[q], want)
		}
		flow, recorded := got[q]
		if !recorded {
			continue
		}
		if flow.Verdict != verdict || flow.Reason != reasonOf[want.Reason] {
			t.Errorf("%s %+v: %s by %s; evaluator %+v", q.direction, q, flow.Verdict, flow.Reason, want)
		}
		if rule := world.Rule(flow.Set, q.direction, flow.Rule); (rule == nil) != (want.Rule == nil) || rule != nil && *rule != *want.Rule {
			t.Errorf("%s %+v: rule %v; evaluator %+v", q.direction, q, rule, want)
		}
		c.reached[fmt.Sprintf("%s, passed %v", flow.Reason, want.Passed != nil)]++
	}
}

// questions are about every address that occurs, with what the evaluator answers.
func (c *cluster) questions(f *corpus.File) map[question]netpol.Decision {
	ports, addrs := map[uint16]bool{}, map[netip.Addr]bool{}
	for e := range c.snap.Endpoints() {
		addrs[e.Addr] = true
	}
	for _, connection := range f.Connections {
		ports[connection.Port] = true
		addrs[connection.From.Addr.Unmap()], addrs[connection.To.Addr.Unmap()] = true, true
	}
	wanted := map[question]netpol.Decision{}
	for addr := range addrs {
		if !addr.IsValid() || addr.Is4() != c.pod.Addr.Is4() {
			continue
		}
		for port := range ports {
			c.add(wanted, addr, corev1.ProtocolTCP, tcp, port)
			c.add(wanted, addr, corev1.ProtocolUDP, udp, port)
			c.add(wanted, addr, corev1.ProtocolSCTP, sctp, port)
		}
		if addr.Is4() {
			c.add(wanted, addr, "ICMP", icmp4, 0)
		} else {
			c.add(wanted, addr, "ICMPv6", icmp6, 0)
		}
	}
	return wanted
}

func (c *cluster) add(wanted map[question]netpol.Decision, addr netip.Addr, protocol corev1.Protocol, number byte, port uint16) {
	me, other := netpol.Peer{Pod: c.pod.Pod(), Addr: c.pod.Addr}, netpol.Peer{Addr: addr}
	in := c.snap.Evaluate(netpol.Connection{From: other, To: me, Protocol: protocol, Port: port})
	out := c.snap.Evaluate(netpol.Connection{From: me, To: other, Protocol: protocol, Port: port})
	if in.Ingress.Reason == netpol.SamePod && addr != c.pod.Addr {
		return // the datapath knows only the address that a packet is from
	}
	wanted[question{netpol.Ingress, addr, number, port}] = in.Ingress
	if out.Resolved == nil { // a Service is judged after translation
		wanted[question{netpol.Egress, addr, number, port}] = out.Egress
	}
}
