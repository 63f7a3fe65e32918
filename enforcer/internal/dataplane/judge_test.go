// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"net/netip"
	"testing"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
)

// step is one packet and what must become of it.
type step struct {
	at     hook
	packet []byte
	passes bool
}

const (
	pass = true
	drop = false
)

func (d *Dataplane) play(t *testing.T, steps []step) {
	t.Helper()
	for i, s := range steps {
		if got := d.run(t, s.at, s.packet); got != s.passes {
			t.Errorf("packet %d, %s: passed %v, want %v", i, s.at, got, s.passes)
		}
	}
}

// conversations are short exchanges in the test world; port is a client's port that no other uses.
var conversations = map[string]func(a addresses, port uint16) []step{
	"TCP egress by a rule": func(a addresses, port uint16) []step {
		return []step{
			{fromPod, ipPacket(a.pod, a.friend, tcp, tcpSegment(port, tlsPort, syn)), pass},
			{forwarded, ipPacket(a.pod, a.friend, tcp, tcpSegment(port, tlsPort, syn)), pass},
			{toPod, ipPacket(a.friend, a.pod, tcp, tcpSegment(tlsPort, port, syn|ack)), pass},
			{fromPod, ipPacket(a.pod, a.friend, tcp, tcpSegment(port, tlsPort, ack)), pass},
			{fromPod, ipPacket(a.pod, a.friend, tcp, tcpSegment(port, tlsPort+1, syn)), drop},
		}
	},
	"TCP egress to a stranger": func(a addresses, port uint16) []step {
		return []step{
			{fromPod, ipPacket(a.pod, a.stranger, tcp, tcpSegment(port, tlsPort, syn)), drop},
			{forwarded, ipPacket(a.pod, a.stranger, tcp, tcpSegment(port, tlsPort, syn)), drop},
			{toPod, ipPacket(a.stranger, a.pod, tcp, tcpSegment(tlsPort, port, syn|ack)), drop},
			{toPod, ipPacket(a.stranger, a.pod, tcp, tcpSegment(tlsPort, port, ack)), drop},
		}
	},
	"TCP ingress": func(a addresses, port uint16) []step {
		return []step{
			{toPod, ipPacket(a.friend, a.pod, tcp, tcpSegment(port, webPort, syn)), pass},
			{fromPod, ipPacket(a.pod, a.friend, tcp, tcpSegment(webPort, port, syn|ack)), pass},
			{forwarded, ipPacket(a.pod, a.friend, tcp, tcpSegment(webPort, port, syn|ack)), pass},
			{toPod, ipPacket(a.friend, a.pod, tcp, tcpSegment(port, webPort+1, syn)), drop},
			{toPod, ipPacket(a.stranger, a.pod, tcp, tcpSegment(port, webPort, syn)), drop},
		}
	},
	"no opening through an entry of the other side": func(a addresses, port uint16) []step {
		return []step{
			{toPod, ipPacket(a.friend, a.pod, tcp, tcpSegment(port, webPort, syn)), pass},
			{fromPod, ipPacket(a.pod, a.friend, tcp, tcpSegment(webPort, port, syn)), drop},
			{fromPod, ipPacket(a.pod, a.friend, tcp, tcpSegment(webPort, port, ack)), pass},
		}
	},
	"a closed connection's ports again": func(a addresses, port uint16) []step {
		return []step{
			{fromPod, ipPacket(a.pod, a.friend, tcp, tcpSegment(port, tlsPort, syn)), pass},
			{fromPod, ipPacket(a.pod, a.friend, tcp, tcpSegment(port, tlsPort, fin|ack)), pass},
			{toPod, ipPacket(a.friend, a.pod, tcp, tcpSegment(tlsPort, port, rst)), pass},
			{fromPod, ipPacket(a.pod, a.friend, tcp, tcpSegment(port, tlsPort, syn)), pass},
		}
	},
	"UDP": func(a addresses, port uint16) []step {
		return []step{
			{toPod, ipPacket(a.friend, a.pod, udp, udpDatagram(dnsPort, port)), drop},
			{fromPod, ipPacket(a.pod, a.friend, udp, udpDatagram(port, dnsPort)), pass},
			{toPod, ipPacket(a.friend, a.pod, udp, udpDatagram(dnsPort, port)), pass},
			{toPod, ipPacket(a.friend, a.pod, udp, udpDatagram(port, dnsPort)), pass},
			{fromPod, ipPacket(a.pod, a.friend, tcp, tcpSegment(port, dnsPort, syn)), drop},
		}
	},
	"SCTP": func(a addresses, port uint16) []step {
		return []step{
			{toPod, ipPacket(a.friend, a.pod, sctp, sctpChunk(port, webPort)), pass},
			{fromPod, ipPacket(a.pod, a.friend, sctp, sctpChunk(webPort, port)), pass},
			{toPod, ipPacket(a.stranger, a.pod, sctp, sctpChunk(port, webPort)), drop},
		}
	},
	"an address range": func(a addresses, port uint16) []step {
		return []step{
			{fromPod, ipPacket(a.pod, a.internet, tcp, tcpSegment(port, 9, syn)), pass},
			{fromPod, ipPacket(a.pod, a.internet, 47, make([]byte, 4)), pass},
			{toPod, ipPacket(a.internet, a.pod, tcp, tcpSegment(port, webPort, syn)), drop},
			{fromPod, ipPacket(a.pod, a.friend, 47, make([]byte, 4)), drop},
		}
	},
	"the own node": func(a addresses, port uint16) []step {
		return []step{
			{toPod, ipPacket(a.node, a.pod, tcp, tcpSegment(port, 1, syn)), pass},
			{fromPod, ipPacket(a.pod, a.node, tcp, tcpSegment(1, port, syn|ack)), pass},
			// A port of the node's may be a Service's: what the packet is, is known further on.
			{fromPod, ipPacket(a.pod, a.node, tcp, tcpSegment(port, 2, syn)), pass},
		}
	},
	"itself": func(a addresses, port uint16) []step {
		return []step{
			{fromPod, ipPacket(a.pod, a.pod, tcp, tcpSegment(port, 1, syn)), pass},
			{toPod, ipPacket(a.pod, a.pod, udp, udpDatagram(port, 1)), pass},
		}
	},
	"a Service": func(a addresses, port uint16) []step {
		return []step{
			{toPod, ipPacket(a.service, a.pod, udp, udpDatagram(80, port)), drop},
			{fromPod, ipPacket(a.pod, a.service, udp, udpDatagram(port, 80)), pass},
			{toPod, ipPacket(a.service, a.pod, udp, udpDatagram(80, port)), pass},
			{fromPod, ipPacket(a.pod, a.service, tcp, tcpSegment(port, 80, syn)), pass},
			{toPod, ipPacket(a.service, a.pod, tcp, tcpSegment(80, port, syn|ack)), pass},
			{toPod, ipPacket(a.service, a.pod, tcp, tcpSegment(80, port, syn)), drop},
			// Not translated, though it should have been.
			{forwarded, ipPacket(a.pod, a.service, tcp, tcpSegment(port, 80, syn)), drop},
			{forwarded, ipPacket(a.pod, a.service, tcp, tcpSegment(port+1, 80, syn)), drop},
		}
	},
	"connections older than the datapath": func(a addresses, port uint16) []step {
		return []step{
			{fromPod, ipPacket(a.pod, a.friend, tcp, tcpSegment(port, tlsPort, ack)), pass},
			{toPod, ipPacket(a.friend, a.pod, tcp, tcpSegment(tlsPort, port+1, ack)), pass},
			{fromPod, ipPacket(a.pod, a.friend, tcp, tcpSegment(webPort, port, ack)), pass},
			{fromPod, ipPacket(a.pod, a.stranger, tcp, tcpSegment(port, tlsPort, ack)), drop},
			{fromPod, ipPacket(a.pod, a.friend, tcp, tcpSegment(port, 1, ack)), drop},
			// Taken over as opened by the other side: opening from this side is judged.
			{fromPod, ipPacket(a.pod, a.friend, tcp, tcpSegment(webPort, port, syn)), drop},
		}
	},
}

func TestConversations(t *testing.T) {
	d := newDataplane(t)
	load(t, d, newWorld(plan.Enforce))
	port := uint16(20000)
	for family, a := range families {
		for name, conversation := range conversations {
			port += 10
			t.Run(family+"/"+name, func(t *testing.T) { d.play(t, conversation(a, port)) })
		}
	}
}

// What audit lets pass it lets pass whole: replies and the netfilter hook included.
func TestAuditDropsNothing(t *testing.T) {
	d := newDataplane(t)
	load(t, d, newWorld(plan.Audit))
	port := uint16(20000)
	for _, a := range families {
		for name, conversation := range conversations {
			port += 10
			for _, s := range conversation(a, port) {
				if !d.run(t, s.at, s.packet) {
					t.Errorf("%s: %s dropped %x", name, s.at, s.packet)
				}
			}
		}
	}
	if !d.runFrame(t, fromPod, ethernet(0x88cc, make([]byte, 20))) || !d.runFrame(t, fromPod, ethernet(0x0800, make([]byte, 20))) {
		t.Error("dropped what cannot be judged")
	}
	flows, _ := drained(t, d)
	if countFlows(flows, WouldDeny) == 0 || countFlows(flows, Allowed) == 0 || countFlows(flows, Denied) != 0 {
		t.Errorf("recorded %d would-deny, %d allowed, %d denied", countFlows(flows, WouldDeny), countFlows(flows, Allowed), countFlows(flows, Denied))
	}
}

func drained(t testing.TB, d *Dataplane) ([]Flow, uint64) {
	t.Helper()
	flows, lost, err := d.DrainFlows()
	if err != nil {
		t.Fatal(err)
	}
	return flows, lost
}

func countFlows(flows []Flow, v Verdict) (n int) {
	for _, f := range flows {
		if f.Verdict == v {
			n++
		}
	}
	return n
}

func TestDefaultIsDeny(t *testing.T) {
	d := newDataplane(t)
	opening := ipPacket(v4.pod, v4.friend, tcp, tcpSegment(1, tlsPort, syn))
	d.play(t, []step{{fromPod, opening, drop}, {toPod, opening, drop}, {forwarded, opening, pass}})

	w := newWorld(plan.Enforce)
	w.Endpoints = nil
	load(t, d, w)
	d.play(t, []step{{fromPod, opening, drop}, {toPod, opening, drop}, {forwarded, opening, pass}})
	flows, _ := drained(t, d)
	for _, f := range flows {
		if f.Set != NoSet || f.Reason != ByUnknownEndpoint || f.Verdict != Denied {
			t.Errorf("recorded %+v", f)
		}
	}
	if len(flows) != 2 {
		t.Errorf("recorded %d flows, want one a direction", len(flows))
	}
}

func TestNotIsolated(t *testing.T) {
	d := newDataplane(t)
	w := newWorld(plan.Enforce)
	w.Sets[0] = plan.SetEntry{Isolated: [2]bool{false, true}}
	load(t, d, w)
	d.play(t, []step{
		{toPod, ipPacket(v4.stranger, v4.pod, tcp, tcpSegment(1, 1, syn)), pass},
		{fromPod, ipPacket(v4.pod, v4.stranger, tcp, tcpSegment(1, 2, syn)), drop},
	})
}

func TestAddressRanges(t *testing.T) {
	d := newDataplane(t)
	load(t, d, newWorld(plan.Enforce))
	for address, passes := range map[string]bool{
		"192.0.2.0": pass, "192.0.2.255": pass, "192.0.2.66": drop, "192.0.3.0": drop, "8.8.8.8": drop,
	} {
		d.play(t, []step{{fromPod, ipPacket(v4.pod, address, udp, udpDatagram(1, 2)), passes}})
	}
	// With 0.0.0.0/0 beside ::/0, both families have their own class.
	w := newWorld(plan.Enforce)
	w.CIDRs[netip.MustParsePrefix("0.0.0.0/0")] = internet
	load(t, d, w)
	d.play(t, []step{{fromPod, ipPacket(v4.pod, "8.8.8.8", udp, udpDatagram(1, 3)), pass}})
}

// A change of policy reaches connections that are open, on their next packet in either direction.
func TestRevocation(t *testing.T) {
	d := newDataplane(t)
	load(t, d, newWorld(plan.Enforce))
	out, reply := tcpSegment(1000, tlsPort, ack), tcpSegment(tlsPort, 1000, ack)
	for _, a := range families {
		d.play(t, []step{
			{fromPod, ipPacket(a.pod, a.friend, tcp, tcpSegment(1000, tlsPort, syn)), pass},
			{toPod, ipPacket(a.friend, a.pod, tcp, tcpSegment(1001, webPort, syn)), pass},
		})
	}
	load(t, d, newWorld(plan.Enforce))
	for _, a := range families {
		d.play(t, []step{{fromPod, ipPacket(a.pod, a.friend, tcp, out), pass}, {toPod, ipPacket(a.friend, a.pod, tcp, reply), pass}})
	}
	w := newWorld(plan.Enforce)
	w.Peers = nil
	load(t, d, w)
	for _, a := range families {
		d.play(t, []step{
			{toPod, ipPacket(a.friend, a.pod, tcp, reply), drop},
			{fromPod, ipPacket(a.pod, a.friend, tcp, out), drop},
			{fromPod, ipPacket(a.pod, a.friend, tcp, tcpSegment(webPort, 1001, ack)), drop},
			{forwarded, ipPacket(a.pod, a.friend, tcp, out), drop},
		})
	}
	load(t, d, newWorld(plan.Enforce))
	d.play(t, []step{{toPod, ipPacket(v4.friend, v4.pod, tcp, reply), pass}})
}

// denying is the test world in which the first rule each way is of the Admin tier and denies.
func denying(mode plan.Mode) *plan.World {
	w := newWorld(mode)
	set := &w.Sets[0]
	for d := range set.Admin {
		set.Admin[d] = 1
		set.Deny[d].Set(0)
	}
	return w
}

// A rule that denies reaches open connections as the lack of one that allows does.
func TestRevocationByDenyRule(t *testing.T) {
	d := newDataplane(t)
	load(t, d, newWorld(plan.Enforce))
	out, reply := tcpSegment(1000, tlsPort, ack), tcpSegment(tlsPort, 1000, ack)
	in, answer := tcpSegment(1001, webPort, ack), tcpSegment(webPort, 1001, ack)
	packets := func(a addresses, passes bool) []step {
		return []step{
			{toPod, ipPacket(a.friend, a.pod, tcp, reply), passes},
			{fromPod, ipPacket(a.pod, a.friend, tcp, out), passes},
			{toPod, ipPacket(a.friend, a.pod, tcp, in), passes},
			{fromPod, ipPacket(a.pod, a.friend, tcp, answer), passes},
			{forwarded, ipPacket(a.pod, a.friend, tcp, out), passes},
		}
	}
	for _, a := range families {
		d.play(t, []step{
			{fromPod, ipPacket(a.pod, a.friend, tcp, tcpSegment(1000, tlsPort, syn)), pass},
			{toPod, ipPacket(a.friend, a.pod, tcp, tcpSegment(1001, webPort, syn)), pass},
		})
		d.play(t, packets(a, pass))
	}
	drained(t, d)
	for mode, verdict := range map[plan.Mode]Verdict{plan.Audit: WouldDeny, plan.Enforce: Denied} {
		load(t, d, denying(mode))
		for _, a := range families {
			d.play(t, packets(a, verdict == WouldDeny))
		}
		flows, _ := drained(t, d)
		for _, f := range flows {
			if f.Verdict != verdict || f.Reason != ByDenyRule || f.Rule != 0 {
				t.Errorf("recorded %+v, want %s by rule 0", f, verdict)
			}
		}
		if len(flows) == 0 {
			t.Error("recorded nothing")
		}
	}
	load(t, d, newWorld(plan.Enforce))
	for _, a := range families {
		d.play(t, packets(a, pass))
	}
}

func TestAuditToEnforce(t *testing.T) {
	d := newDataplane(t)
	load(t, d, newWorld(plan.Audit))
	out, reply := udpDatagram(1000, 7), udpDatagram(7, 1000)
	d.play(t, []step{
		{fromPod, ipPacket(v4.pod, v4.stranger, udp, out), pass},
		{toPod, ipPacket(v4.stranger, v4.pod, udp, reply), pass},
	})
	flows, _ := drained(t, d)
	if len(flows) != 1 || flows[0].Verdict != WouldDeny || flows[0].Connections != 1 {
		t.Errorf("recorded %+v, want one would-be denial and nothing for its reply", flows)
	}
	load(t, d, newWorld(plan.Enforce))
	d.play(t, []step{
		{toPod, ipPacket(v4.stranger, v4.pod, udp, reply), drop},
		{fromPod, ipPacket(v4.pod, v4.stranger, udp, out), drop},
	})
}
