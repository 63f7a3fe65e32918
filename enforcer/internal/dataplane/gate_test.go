// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"net"
	"net/netip"
	"testing"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

var lateAddrs = []string{"10.99.1.3", "fd99:1::3"}

// openWorld isolates nobody: what does not pass is stopped by the gate.
func (n *testNode) openWorld(gate bool) *plan.World {
	w := n.world(true)
	w.Sets = []plan.SetEntry{clientSet: {}, serverSet: {}}
	w.Gate, w.Devices = gate, map[uint32]plan.Device{}
	return w
}

// knows adds the pod to the world as an endpoint.
func knows(w *plan.World, pod *node.Pod) *plan.World {
	w.Endpoints[pod.Ifindex] = plan.Endpoint{Set: clientSet, Mode: plan.Enforce, Main: pod.Ifindex}
	for _, addr := range pod.Addrs {
		w.Identities[addr] = plan.Identity{Class: clientClass, Ifindex: pod.Ifindex}
	}
	return w
}

// lateness is a pod that started when nobody was there to learn of it.
type lateness struct {
	*testNode // whose client is the late pod
	early     *node.Pod
}

// newLateness has the server and the node listen at port 8080, and the late pod at 8081.
func newLateness(t *testing.T, n *testNode) *lateness {
	t.Helper()
	n.serve(t, 8080)
	serveOnTheNode(t)
	late := node.NewPod(t, "late", lateAddrs...)
	if err := late.Do(func() error { return listenAt(t, ":8081") }); err != nil {
		t.Fatal(err)
	}
	return &lateness{&testNode{n.Dataplane, late, n.server}, n.client}
}

func serveOnTheNode(t *testing.T) {
	t.Helper()
	if err := listenAt(t, ":8080"); err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenPacket("udp", node.Gateway4.String()+":8080")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go node.EchoDatagrams(conn)
}

func listenAt(t *testing.T, addr string) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	t.Cleanup(func() { listener.Close() })
	go node.EchoStreams(listener)
	return nil
}

// check expects all that the late pod tries to pass, or nothing; the node reaches it in either case.
func (l *lateness) check(t *testing.T, when string, passes bool) {
	t.Helper()
	for _, try := range []struct {
		what          string
		from          *node.Pod
		network, addr string
		port          int
	}{
		{"UDP to a pod", l.client, "udp", serverAddrs[0], 8080},
		{"TCP to a pod", l.client, "tcp", serverAddrs[0], 8080},
		{"IPv6 UDP to a pod", l.client, "udp", serverAddrs[1], 8080},
		{"UDP to the node", l.client, "udp", node.Gateway4.String(), 8080},
		{"TCP to the node", l.client, "tcp", node.Gateway4.String(), 8080},
		{"IPv6 TCP to the node", l.client, "tcp", node.Gateway6.String(), 8080},
		{"TCP from a pod", l.early, "tcp", lateAddrs[0], 8081},
		{"IPv6 TCP from a pod", l.early, "tcp", lateAddrs[1], 8081},
	} {
		from := &testNode{l.Dataplane, try.from, l.server}
		if passes && !answers(from.connect(t, try.network, try.addr, try.port)) {
			t.Errorf("%s: %s: no answer", when, try.what)
		} else if !passes && !from.isCut(t, try.network, try.addr, try.port) {
			t.Errorf("%s: %s: passed", when, try.what)
		}
	}
	for _, addr := range lateAddrs {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(addr, "8081"), generous)
		if err != nil || !answers(conn) {
			t.Errorf("%s: the node does not reach the pod at %s: %v", when, addr, err)
		} else {
			conn.Close()
		}
	}
}

// With the agent dead, a pod that starts is cut off until an agent is back and knows it.
func TestGateWithoutAgent(t *testing.T) {
	config := newConfig(t)
	n := newNode(t, config)
	load(t, n.Dataplane, n.openWorld(true))
	n.Close()
	late := newLateness(t, n)
	late.check(t, "with no agent", drop)
	n.Dataplane = open(t, config)
	late.Dataplane = n.Dataplane
	late.check(t, "before the first world of the new run", drop)
	checkUnknown(t, late)
	if err := n.Attach(late.client.Ifindex); err != nil {
		t.Fatal(err)
	}
	load(t, n.Dataplane, knows(n.openWorld(true), late.client))
	late.check(t, "known", pass)
	load(t, n.Dataplane, n.openWorld(true))
	if err := n.Detach(late.client.Ifindex); err != nil {
		t.Fatal(err)
	}
	late.check(t, "forgotten", drop)
}

// checkUnknown expects records of both directions at the late pod's interface, and the packets counted.
func checkUnknown(t *testing.T, l *lateness) {
	t.Helper()
	seen := map[netpol.Direction]bool{}
	flows, _ := drained(t, l.Dataplane)
	for _, f := range flows {
		if f.Ifindex != l.client.Ifindex {
			continue
		}
		seen[f.Direction] = true
		if f.Reason != ByUnknownInterface || f.Set != NoSet || f.Verdict != Denied || f.Local.String() != lateAddrs[0] && f.Local.String() != lateAddrs[1] {
			t.Errorf("recorded %+v", f)
		}
	}
	if !seen[netpol.Ingress] || !seen[netpol.Egress] {
		t.Errorf("recorded directions %v of the unknown pod, want both", seen)
	}
	if counters, err := l.Counters(); err != nil || counters.Dropped[ByUnknownInterface] == 0 {
		t.Errorf("counted %+v: %v", counters, err)
	}
}

// Who is cut off, and who is not.
func TestGate(t *testing.T) {
	n := newNode(t, newConfig(t))
	late := newLateness(t, n)
	ifindex := late.client.Ifindex

	load(t, n.Dataplane, n.openWorld(false))
	late.check(t, "no gate", pass)
	load(t, n.Dataplane, n.openWorld(true))
	late.check(t, "an unknown veth", drop)
	w := n.openWorld(true)
	w.Devices[ifindex] = plan.Exempt
	load(t, n.Dataplane, w)
	late.check(t, "an exempt veth", pass)

	// With the address of a known pod, an unknown veth is still one.
	w = n.openWorld(true)
	for _, addr := range lateAddrs {
		w.Identities[netip.MustParseAddr(addr)] = plan.Identity{Class: clientClass, Ifindex: n.client.Ifindex}
	}
	load(t, n.Dataplane, w)
	late.check(t, "an unknown veth that claims an address", drop)
}

// Behind a bridge the device tells nothing; only addresses of known pods pass where all ports are pods'.
func TestGateOfABridge(t *testing.T) {
	n := newNode(t, newConfig(t))
	late := newLateness(t, n)
	bridge := node.NewBridge(t, "pods", n.client, n.server, late.client)
	load(t, n.Dataplane, n.openWorld(true))
	late.check(t, "a bridge of others", pass)
	w := n.openWorld(true)
	w.Devices[bridge] = plan.Shared
	load(t, n.Dataplane, w)
	late.check(t, "a bridge of pods", drop)
	if !answers(n.connect(t, "tcp", serverAddrs[0], 8080)) {
		t.Error("a known pod behind the bridge is cut off")
	}
	if err := n.Attach(late.client.Ifindex); err != nil {
		t.Fatal(err)
	}
	w = knows(n.openWorld(true), late.client)
	w.Devices[bridge] = plan.Shared
	load(t, n.Dataplane, w)
	late.check(t, "known", pass)
}
