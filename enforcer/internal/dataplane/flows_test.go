// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"net/netip"
	"testing"
	"time"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

func TestFlowsSayWhatHappened(t *testing.T) {
	d := newDataplane(t)
	load(t, d, newWorld(plan.Enforce))
	from := time.Now()
	denied := ipPacket(v6.pod, v6.stranger, udp, udpDatagram(9, 10))
	d.play(t, []step{
		{fromPod, ipPacket(v4.pod, v4.friend, tcp, tcpSegment(5, tlsPort, syn)), pass},
		{fromPod, ipPacket(v4.pod, v4.friend, tcp, tcpSegment(6, tlsPort, syn)), pass},
		{fromPod, ipPacket(v4.pod, v4.friend, tcp, tcpSegment(6, tlsPort, ack)), pass},
		{toPod, ipPacket(v4.friend, v4.pod, tcp, tcpSegment(webPort, 7, ack)), drop},
		{fromPod, ipPacket(v4.pod, v4.friend, tcp, tcpSegment(webPort, 7, ack)), pass},
		{fromPod, denied, drop},
		{fromPod, denied, drop},
		{fromPod, ipPacket(v4.pod, v4.internet, 47, make([]byte, 4)), pass},
	})
	flows, lost := drained(t, d)
	want := []Flow{
		{Remote: netip.MustParseAddr(v4.friend), Protocol: tcp, Port: tlsPort, SourcePort: 6, Direction: netpol.Egress, Verdict: Allowed, Reason: ByRule, Rule: egressTLS, Connections: 2},
		{Remote: netip.MustParseAddr(v4.friend), Protocol: tcp, Port: 7, SourcePort: webPort, Direction: netpol.Ingress, Verdict: Denied, Reason: ByIsolation, Rule: -1, Connections: 1},
		{Remote: netip.MustParseAddr(v4.friend), Protocol: tcp, Port: webPort, SourcePort: 7, Direction: netpol.Ingress, Verdict: Allowed, Reason: ByRule, Rule: ingressWeb, Connections: 1, Adopted: 1},
		{Remote: netip.MustParseAddr(v6.stranger), Protocol: udp, Port: 10, SourcePort: 9, Direction: netpol.Egress, Verdict: Denied, Reason: ByIsolation, Rule: -1, Connections: 2},
		{Remote: netip.MustParseAddr(v4.internet), Protocol: 47, Direction: netpol.Egress, Verdict: Allowed, Reason: ByRule, Rule: egressTo, Connections: 1},
	}
	if len(flows) != len(want) || lost != 0 {
		t.Errorf("%d flows and %d lost, want %d", len(flows), lost, len(want))
	}
	for _, w := range want {
		w.Ifindex = 1
		w.Local = netip.MustParseAddr(v4.pod)
		if w.Remote.Is6() {
			w.Local = netip.MustParseAddr(v6.pod)
		}
		if !containsFlow(flows, w) {
			t.Errorf("missing %+v\nin %+v", w, flows)
		}
	}
	for _, f := range flows {
		// The coarse clock ticks every few milliseconds.
		if f.First.Before(from.Add(-20*time.Millisecond)) || f.Last.Before(f.First) || f.Last.After(time.Now()) {
			t.Errorf("seen from %s to %s, the test began %s", f.First, f.Last, from)
		}
	}
	if again, _ := drained(t, d); len(again) != 0 {
		t.Errorf("drained twice: %+v", again)
	}
}

func containsFlow(flows []Flow, want Flow) bool {
	for _, f := range flows {
		f.First, f.Last = time.Time{}, time.Time{}
		if f == want {
			return true
		}
	}
	return false
}

// A connection that lives on under a new world shows that its rule is in use.
func TestRejudgedConnectionsAreSeen(t *testing.T) {
	d := newDataplane(t)
	load(t, d, newWorld(plan.Enforce))
	d.play(t, []step{{fromPod, ipPacket(v4.pod, v4.friend, udp, udpDatagram(1, dnsPort)), pass}})
	drained(t, d)
	next := newWorld(plan.Enforce)
	next.FirstSet = 1
	for ifindex, ep := range next.Endpoints {
		ep.Set = 1
		next.Endpoints[ifindex] = ep
	}
	next.Peers, next.Ports = numbered(next.Peers, 1), numbered(next.Ports, 1)
	load(t, d, next)
	for range 3 {
		d.play(t, []step{{toPod, ipPacket(v4.friend, v4.pod, udp, udpDatagram(dnsPort, 1)), pass}})
	}
	flows, _ := drained(t, d)
	if len(flows) != 1 || flows[0].Connections != 0 || flows[0].Set != 1 || flows[0].Direction != netpol.Egress {
		t.Errorf("recorded %+v, want one flow of set 1 with no new connection", flows)
	}
}

func TestLostFlowsAreCounted(t *testing.T) {
	d := newDataplane(t)
	load(t, d, newWorld(plan.Enforce))
	const packets = 3000
	for port := range uint16(packets) {
		d.run(t, fromPod, ipPacket(v4.pod, v4.stranger, udp, udpDatagram(1, port)))
	}
	flows, lost := drained(t, d)
	if lost == 0 || uint64(len(flows))+lost != packets {
		t.Errorf("%d recorded, %d lost, %d packets", len(flows), lost, packets)
	}
	if _, lost := drained(t, d); lost != 0 {
		t.Errorf("%d reported as lost twice", lost)
	}
	counters, err := d.Counters()
	if err != nil || counters.LostFlows != lost || counters.Dropped[ByIsolation] != packets {
		t.Errorf("counters %+v: %v, want %d lost and %d dropped", counters, err, lost, packets)
	}
}
