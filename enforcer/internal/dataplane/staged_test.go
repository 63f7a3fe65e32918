// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"maps"
	"net/netip"
	"testing"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// stagedWorld is the test world, in which staged policies would let strangers in at TCP 8080 and nobody else, and
// would let the pod go nowhere.
func stagedWorld(mode plan.Mode) *plan.World {
	w := newWorld(mode)
	for ifindex, e := range w.Endpoints {
		e.Staged, e.IsStaged = 1, true
		w.Endpoints[ifindex] = e
	}
	w.Sets = append(w.Sets, plan.SetEntry{Isolated: [2]bool{true, true}, Rules: [2]uint16{1, 0}})
	w.Peers[plan.PeerKey{Set: 1, Class: strangers, Direction: netpol.Ingress}] = plan.Bitmap{1}
	w.Ports[plan.PortKey{Set: 1, Class: 1, Direction: netpol.Ingress, Protocol: plan.TCP}] = plan.Bitmap{1}
	return w
}

// wouldAllow and wouldDeny are what the staged policies of the test world say.
var (
	wouldAllow = &StagedJudgement{Verdict: Allowed, Rule: 0, Set: 1}
	wouldDeny  = &StagedJudgement{Verdict: Denied, Rule: -1, Set: 1}
)

// stagedRow is a packet of the test world, what becomes of it, and what staged policies say; nil: nothing.
type stagedRow struct {
	what   string
	at     hook
	packet []byte
	live   Verdict // Deferred: nothing is recorded
	staged *StagedJudgement
}

func stagedRows(a addresses, mode plan.Mode) []stagedRow {
	return []stagedRow{
		{"allowed", fromPod, ipPacket(a.pod, a.friend, tcp, tcpSegment(1, tlsPort, syn)), Allowed, wouldDeny},
		{"denied", fromPod, ipPacket(a.pod, a.stranger, udp, udpDatagram(1, 7)), denied(mode), wouldDeny},
		{"allowed in", toPod, ipPacket(a.friend, a.pod, tcp, tcpSegment(1, webPort, syn)), Allowed, wouldDeny},
		{"allowed by both", toPod, ipPacket(a.node, a.pod, tcp, tcpSegment(1, webPort, syn)), Allowed, &StagedJudgement{Allowed, -1, 1}},
		{"staged alone allows", toPod, ipPacket(a.stranger, a.pod, tcp, tcpSegment(1, webPort, syn)), denied(mode), wouldAllow},
		{"adopted", toPod, ipPacket(a.stranger, a.pod, tcp, tcpSegment(2, webPort, ack)), denied(mode), wouldAllow},
		{"adopted the other way", fromPod, ipPacket(a.pod, a.friend, tcp, tcpSegment(webPort, 3, ack)), Allowed, wouldDeny},
		{"foreign", fromPod, ipPacket(a.friend, a.internet, udp, udpDatagram(1, 7)), denied(mode), nil},
		{"a Service", fromPod, ipPacket(a.pod, a.service, udp, udpDatagram(1, 7)), Deferred, nil},
		{"translated", forwarded, ipPacket(a.pod, a.internet, udp, udpDatagram(1, 7)), Allowed, wouldDeny},
	}
}

func TestStaged(t *testing.T) {
	d := newDataplane(t)
	for _, mode := range []plan.Mode{plan.Enforce, plan.Audit} {
		for family, a := range families {
			load(t, d, stagedWorld(mode))
			for _, row := range stagedRows(a, mode) {
				passed := d.run(t, row.at, row.packet)
				flows, _ := drained(t, d)
				if row.live == Deferred {
					if !passed || len(flows) > 0 {
						t.Errorf("%s mode %d %s: passed %v, recorded %+v", family, mode, row.what, passed, flows)
					}
					continue
				}
				if len(flows) != 1 || passed != (row.live != Denied) || flows[0].Verdict != row.live || !sameStaged(flows[0].Staged, row.staged) {
					t.Errorf("%s mode %d %s: passed %v, recorded %+v", family, mode, row.what, passed, flows)
				}
			}
		}
	}
}

func sameStaged(a, b *StagedJudgement) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}

// Staging reaches connections that are open, and cuts none.
func TestStagedUnderOpenConnections(t *testing.T) {
	d := newDataplane(t)
	load(t, d, newWorld(plan.Enforce))
	d.play(t, []step{{fromPod, ipPacket(v4.pod, v4.friend, tcp, tcpSegment(1, tlsPort, syn)), pass}})
	if flows, _ := drained(t, d); len(flows) != 1 || flows[0].Staged != nil {
		t.Errorf("with nothing staged: %+v", flows)
	}
	load(t, d, stagedWorld(plan.Enforce))
	for range 3 {
		d.play(t, []step{{toPod, ipPacket(v4.friend, v4.pod, tcp, tcpSegment(tlsPort, 1, ack)), pass}})
	}
	flows, _ := drained(t, d)
	if len(flows) != 1 || flows[0].Connections != 0 || flows[0].Direction != netpol.Egress || !sameStaged(flows[0].Staged, wouldDeny) {
		t.Errorf("once staged: %+v", flows)
	}
}

func TestJudgeStaged(t *testing.T) {
	d := newDataplane(t)
	load(t, d, stagedWorld(plan.Enforce))
	for _, row := range []struct {
		remote    string
		direction netpol.Direction
		port      uint16
		staged    *StagedJudgement
	}{
		{v4.friend, netpol.Egress, tlsPort, wouldDeny},
		{v4.friend, netpol.Ingress, webPort, wouldDeny},
		{v4.stranger, netpol.Ingress, webPort, wouldAllow},
		{v4.service, netpol.Egress, webPort, nil},
	} {
		q := Question{
			Ifindex: 1, Local: netip.MustParseAddr(v4.pod), Remote: netip.MustParseAddr(row.remote),
			Direction: row.direction, Protocol: tcp, Port: row.port,
		}
		if j := judged(t, d, q); !sameStaged(j.Staged, row.staged) {
			t.Errorf("%+v: staged %+v, want %+v", q, j.Staged, row.staged)
		}
	}
}

// A staged set that is not there is as wrong as a live one.
func TestStagedSetMustExist(t *testing.T) {
	d := newDataplane(t)
	w := stagedWorld(plan.Enforce)
	w.Sets = w.Sets[:1]
	if _, err := d.Load(w); err == nil {
		t.Error("loaded")
	}
}

// BenchmarkStaged reports ns a new connection with and without staged policies.
func BenchmarkStaged(b *testing.B) {
	d := newDataplane(b)
	opening := frame(ipPacket(v4.pod, v4.friend, tcp, tcpSegment(2, tlsPort, syn|fin)))
	staged := stagedWorld(plan.Enforce)
	staged.Sets[1] = staged.Sets[0]
	for k, bits := range maps.Clone(staged.Peers) {
		k.Set = 1
		staged.Peers[k] = bits
	}
	for k, bits := range maps.Clone(staged.Ports) {
		k.Set = 1
		staged.Ports[k] = bits
	}
	for name, w := range map[string]*plan.World{"none": newWorld(plan.Enforce), "staged": staged} {
		load(b, d, w)
		b.Run(name, func(b *testing.B) { measure(b, d.objs.FromPod, opening) })
	}
}
