// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"math"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/bulkhead-dev/bulkhead/bpf"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

func TestNumbersAgree(t *testing.T) {
	for what, pair := range map[string][2]int{
		"rules":             {plan.MaxRules, 64 * int(bpf.DatapathLimitRULE_WORDS)},
		"ports":             {len(plan.PortClasses{}) * 65536, int(bpf.DatapathLimitPORTS)},
		"ingress":           {int(netpol.Ingress), int(bpf.DatapathDirectionINGRESS)},
		"egress":            {int(netpol.Egress), int(bpf.DatapathDirectionEGRESS)},
		"mode audit":        {int(plan.Audit), int(bpf.DatapathModeAUDIT)},
		"mode enforce":      {int(plan.Enforce), int(bpf.DatapathModeENFORCE)},
		"device exempt":     {int(plan.Exempt), int(bpf.DatapathDeviceDEVICE_EXEMPT)},
		"device shared":     {int(plan.Shared), int(bpf.DatapathDeviceDEVICE_SHARED)},
		"protocol TCP":      {int(plan.TCP), int(bpf.DatapathProtocolTCP)},
		"protocol UDP":      {int(plan.UDP), int(bpf.DatapathProtocolUDP)},
		"protocol SCTP":     {int(plan.SCTP), int(bpf.DatapathProtocolSCTP)},
		"protocol other":    {int(plan.Other), int(bpf.DatapathProtocolOTHER)},
		"reasons of packet": {len(bpf.DatapathCounter{}.Passed), len(reasonNames)},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %d in Go, %d in C", what, pair[0], pair[1])
		}
	}
	for r, name := range reasonNames {
		if name == "" {
			t.Errorf("reason %d has no name", r)
		}
	}
}

func TestFailedLoadKeepsTheWorld(t *testing.T) {
	d := newDataplane(t)
	first := load(t, d, newWorld(plan.Enforce))
	opening := ipPacket(v4.pod, v4.friend, tcp, tcpSegment(1, tlsPort, syn))
	for problem, spoil := range map[string]func(*plan.World){
		"policy set 7":   func(w *plan.World) { w.Endpoints[1] = plan.Endpoint{Set: 7} },
		"has 1025 rules": func(w *plan.World) { w.Sets[0].Rules[0] = plan.MaxRules + 1 },
		"has 72 rules of the Admin tier among 71": func(w *plan.World) { w.Sets[0].Admin[1] = egressTo + 2 },
		"fe80::1%eth0": func(w *plan.World) { w.Identities[netip.MustParseAddr("fe80::1%eth0")] = plan.Identity{} },
		"10.0.0.1/8":   func(w *plan.World) { w.CIDRs[netip.MustParsePrefix("10.0.0.1/8")] = 1 },
		"endpoints do not": func(w *plan.World) {
			for i := range uint32(maxEndpoints + 1) {
				w.Endpoints[i] = plan.Endpoint{}
			}
		},
	} {
		w := newWorld(plan.Enforce)
		w.Peers = nil
		spoil(w)
		if _, err := d.Load(w); err == nil || !strings.Contains(err.Error(), problem) || !strings.Contains(err.Error(), "world 1 stays") {
			t.Errorf("want an error about %q, got %v", problem, err)
		}
		d.play(t, []step{{fromPod, opening, pass}})
	}
	// A failure of the kernel half way: the last kind of map cannot be installed.
	ports := d.objs.Ports
	d.objs.Ports = d.objs.Counters
	w := newWorld(plan.Enforce)
	w.Peers = nil
	if _, err := d.Load(w); err == nil || !strings.Contains(err.Error(), "install map ports") {
		t.Errorf("want an error about map ports, got %v", err)
	}
	d.play(t, []step{{fromPod, ipPacket(v4.pod, v4.friend, tcp, tcpSegment(2, tlsPort, syn)), pass}})
	d.objs.Ports = ports
	if second := load(t, d, w); second != first+1 {
		t.Errorf("generation %d after %d", second, first)
	}
	d.play(t, []step{{fromPod, ipPacket(v4.pod, v4.friend, tcp, tcpSegment(3, tlsPort, syn)), drop}})
}

// renumbered gives friends another class. A packet judged by parts of both worlds would be denied.
func renumbered(class uint32) *plan.World {
	w := newWorld(plan.Enforce)
	moved := map[plan.PeerKey]plan.Bitmap{}
	for k, v := range w.Peers {
		if k.Class == friends {
			k.Class = class
		}
		moved[k] = v
	}
	w.Peers = moved
	w.Identities[netip.MustParseAddr(v4.friend)] = plan.Identity{Class: class}
	return w
}

// While worlds are exchanged and flows drained, no packet falls between two worlds and none goes unrecorded.
func TestExchangeUnderTraffic(t *testing.T) {
	d := newDataplane(t)
	worlds := []*plan.World{renumbered(10), renumbered(20)}
	load(t, d, worlds[0])
	var exchange, drain repeater
	exchange.start(func(i int) error { _, err := d.Load(worlds[i%2]); return err })
	var recorded uint64
	drain.start(func(int) error {
		flows, lost, err := d.DrainFlows()
		recorded += lost
		for _, f := range flows {
			recorded += f.Connections
		}
		return err
	})
	connections := uint64(0)
	// With FIN in it, each SYN is another connection.
	opening := ipPacket(v4.pod, v4.friend, tcp, tcpSegment(1, tlsPort, syn|fin))
	for exchange.calls.Load() < 10 || drain.calls.Load() < 10 {
		connections++
		if !d.run(t, fromPod, opening) {
			t.Fatalf("connection %d was denied: judged by two worlds", connections)
		}
	}
	exchange.halt(t)
	drain.halt(t)
	flows, lost := drained(t, d)
	for _, f := range flows {
		recorded += f.Connections
	}
	if recorded+lost != connections {
		t.Errorf("%d of %d connections recorded", recorded, connections)
	}
}

// repeater repeats a call until it is halted.
type repeater struct {
	stop, done chan struct{}
	calls      atomic.Int64
	err        error
}

// start calls f with 1, 2, 3… and ends early when it fails.
func (r *repeater) start(f func(int) error) {
	r.stop, r.done = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(r.done)
		for r.err == nil {
			select {
			case <-r.stop:
				return
			default:
				r.err = f(int(r.calls.Add(1)))
			}
		}
		r.calls.Store(math.MaxInt64) // nobody waits for more
	}()
}

func (r *repeater) halt(t *testing.T) {
	t.Helper()
	close(r.stop)
	<-r.done
	if r.err != nil {
		t.Error(r.err)
	}
}
