// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"net/netip"
	"testing"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
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

// packet is the question as the pod's packet, or one to it.
func (q question) packet(local netip.Addr) (hook, []byte) {
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
		return fromPod, packetBetween(local, q.remote, q.protocol, payload)
	}
	return toPod, packetBetween(q.remote, local, q.protocol, payload)
}

// ask sends the packet and reports whether it passed.
func (d *Dataplane) ask(t *testing.T, local netip.Addr, q question) bool {
	t.Helper()
	at, packet := q.packet(local)
	return d.run(t, at, packet)
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
