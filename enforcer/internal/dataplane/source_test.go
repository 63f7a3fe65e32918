// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"net/netip"
	"testing"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// foreignTo are addresses that the test world's pod must not send from: of another pod, the node, a Service, and
// nobody.
func foreignTo(a addresses) []string { return []string{a.friend, a.node, a.service, a.internet} }

// A pod sends from its own addresses alone, whatever its policies allow.
func TestForeignSources(t *testing.T) {
	d := newDataplane(t)
	for mode, verdict := range map[plan.Mode]Verdict{plan.Enforce: Denied, plan.Audit: WouldDeny} {
		w := newWorld(mode)
		w.Sets[0] = plan.SetEntry{} // not isolated: everything is allowed
		load(t, d, w)
		passes := mode == plan.Audit
		for _, a := range families {
			for _, source := range foreignTo(a) {
				d.play(t, []step{
					{fromPod, ipPacket(source, a.stranger, tcp, tcpSegment(1, 2, syn)), passes},
					{fromPod, ipPacket(source, a.stranger, tcp, tcpSegment(3, 2, ack)), passes},
					{fromPod, ipPacket(source, a.stranger, udp, udpDatagram(1, 2)), passes},
					{fromPod, ipPacket(source, a.service, udp, udpDatagram(1, 2)), passes},
					{fromPod, ipPacket(source, source, udp, udpDatagram(1, 2)), passes},
				})
				d.play(t, []step{
					{fromPod, ipPacket(source, a.stranger, udp, udpDatagram(1, 2)), passes},
					{toPod, ipPacket(source, a.pod, tcp, tcpSegment(1, 2, syn)), pass},
				})
			}
			d.play(t, []step{{fromPod, ipPacket(a.pod, a.stranger, tcp, tcpSegment(1, 2, syn)), pass}})
		}
		checkForeign(t, d, verdict)
	}
}

// checkForeign expects one record a connection where packets pass, and one a packet where they do not.
func checkForeign(t *testing.T, d *Dataplane, verdict Verdict) {
	t.Helper()
	udpTwice := map[Verdict]uint64{Denied: 2, WouldDeny: 1}[verdict]
	seen := 0
	flows, _ := drained(t, d)
	for _, f := range flows {
		if f.Verdict == Allowed {
			continue
		}
		seen++
		if f.Verdict != verdict || f.Reason != ByForeignSource || f.Set != NoSet || f.Rule != -1 || f.Direction != netpol.Egress {
			t.Errorf("recorded %+v", f)
		}
		for _, a := range families {
			if f.Remote.String() == a.stranger && f.Protocol == udp && f.Connections != udpTwice {
				t.Errorf("recorded %+v, want %d connections", f, udpTwice)
			}
		}
	}
	// A family and source: TCP, UDP, the Service, itself; the Service is its own source once.
	if want := 2 * (4*4 - 1); seen != want {
		t.Errorf("recorded %d denials, want %d", seen, want)
	}
}

// Link-local addresses are nobody's: policies decide.
func TestLinkLocalSources(t *testing.T) {
	d := newDataplane(t)
	load(t, d, newWorld(plan.Enforce))
	d.play(t, []step{
		{fromPod, ipPacket("fe80::1", v6.friend, tcp, tcpSegment(1, tlsPort, syn)), pass},
		{fromPod, ipPacket("febf::1", v6.friend, tcp, tcpSegment(1, tlsPort, syn)), pass},
		{fromPod, ipPacket("fe80::1", v6.stranger, tcp, tcpSegment(1, tlsPort, syn)), drop},
		{fromPod, ipPacket("fec0::1", v6.friend, tcp, tcpSegment(1, tlsPort, syn)), drop},
	})
}

// What another pod is given is no longer the pod's own, open connections included.
func TestAddressMoves(t *testing.T) {
	d := newDataplane(t)
	load(t, d, newWorld(plan.Enforce))
	open := []step{
		{fromPod, ipPacket(v4.pod, v4.friend, tcp, tcpSegment(1, tlsPort, ack)), pass},
		{fromPod, ipPacket(v6.pod, v6.friend, tcp, tcpSegment(1, tlsPort, ack)), pass},
	}
	d.play(t, open)
	moved := newWorld(plan.Enforce)
	moved.Identities[netip.MustParseAddr(v4.pod)] = plan.Identity{Ifindex: 7}
	load(t, d, moved)
	open[0].passes = drop
	d.play(t, open)
	// The pod's second interface has the addresses of the first.
	second := newWorld(plan.Enforce)
	second.Endpoints[1] = plan.Endpoint{Mode: plan.Enforce, Main: 7}
	for _, a := range families {
		second.Identities[netip.MustParseAddr(a.pod)] = plan.Identity{Ifindex: 7}
	}
	load(t, d, second)
	open[0].passes = pass
	d.play(t, open)
}
