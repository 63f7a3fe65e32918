// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"net"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"github.com/bulkhead-dev/bulkhead/bpf"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

// clientOnlyToServer isolates the client alone, and nobody's ingress.
const clientOnlyToServer = `
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: shop, name: client}, spec: {podSelector: {matchLabels: {app: client}},
  policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {app: server}}}]}]}}
`

// redirect sends what is for the server's port 8081 to the other server, and for 8082 to the server's 8080.
const redirect = `
  chain prerouting {
    type nat hook prerouting priority dstnat;
    ip daddr 10.99.1.2 meta l4proto { tcp, udp } th dport 8081 dnat ip to 10.99.1.3:8080
    ip6 daddr fd99:1::2 meta l4proto { tcp, udp } th dport 8081 dnat ip6 to [fd99:1::3]:8080
    ip daddr 10.99.1.2 meta l4proto { tcp, udp } th dport 8082 dnat ip to 10.99.1.2:8080
    ip6 daddr fd99:1::2 meta l4proto { tcp, udp } th dport 8082 dnat ip6 to [fd99:1::2]:8080
  }
`

// from_pod allows the address that the pod sends to, and knows of no Service there. Where the node leads the
// connection elsewhere, that counts. What it leaves to be judged later is judged, though nobody redirects it.
func TestRedirectedAddressOfPod(t *testing.T) {
	c := newCluster(t, newConfig(t), clientOnlyToServer)
	node.LoadTable(t, "elsewhere", redirect)
	c.serve(t, "server", 8080)
	c.serve(t, "other", 8080)
	serveOnTheNode(t)
	client := c.pods["client"]
	must(t, map[string]attemptWanted{
		"TCP":                              {attempt{from: client, network: "tcp", to: "10.99.1.2:8080"}, true},
		"TCP to the other server":          {attempt{from: client, network: "tcp", to: "10.99.1.3:8080"}, false},
		"TCP led to the other server":      {attempt{from: client, network: "tcp", to: "10.99.1.2:8081"}, false},
		"UDP led to the other server":      {attempt{from: client, network: "udp", to: "10.99.1.2:8081"}, false},
		"IPv6 TCP led to the other server": {attempt{from: client, network: "tcp", to: "[fd99:1::2]:8081"}, false},
		"IPv6 UDP led to the other server": {attempt{from: client, network: "udp", to: "[fd99:1::2]:8081"}, false},
		"TCP to the node":                  {attempt{from: client, network: "tcp", to: "10.99.0.1:8080"}, false},
		"UDP to the node":                  {attempt{from: client, network: "udp", to: "10.99.0.1:8080"}, false},
		"TCP led to the server":            {attempt{from: client, network: "tcp", to: "10.99.1.2:8082"}, true},
		"IPv6 UDP led to the server":       {attempt{from: client, network: "udp", to: "[fd99:1::2]:8082"}, true},
	})
}

// pretend has a pod mark all that it sends as judged.
func pretend(t *testing.T, pod *node.Pod) {
	t.Helper()
	const offsetOfIndex = 44 // in struct __sk_buff
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "Apache-2.0", Instructions: asm.Instructions{
		asm.Mov.Imm(asm.R2, int32(bpf.DatapathTcIndexJUDGED)),
		asm.StoreMem(asm.R1, offsetOfIndex, asm.R2, asm.Word),
		asm.Mov.Imm(asm.R0, -1), // TCX_NEXT
		asm.Return(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	if err := pod.Do(func() error {
		inner, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		l, err := link.AttachTCX(link.TCXOptions{Interface: inner.Index, Program: p, Attach: ebpf.AttachTCXEgress})
		if err == nil {
			t.Cleanup(func() { l.Close() })
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// A pod may mark its packets as it likes, known or not.
func TestPretendedJudgement(t *testing.T) {
	n := newNode(t, newConfig(t))
	late := newLateness(t, n)
	pretend(t, late.client)
	load(t, n.Dataplane, n.openWorld(false))
	late.check(t, "no gate", pass)
	load(t, n.Dataplane, n.openWorld(true))
	late.check(t, "an unknown veth", drop)

	pretend(t, n.client)
	translate(t)
	load(t, n.Dataplane, n.world(false))
	if !n.isCut(t, "tcp", serviceAddrs[0], 80) || !n.isCut(t, "udp", serviceAddrs[1], 80) {
		t.Error("connected to a Service whose backend is denied")
	}
}

// What from_pod has judged for good is neither judged nor counted again where it is forwarded.
func TestForwardedLeavesWhatIsSettled(t *testing.T) {
	n := newNode(t, newConfig(t))
	n.serve(t, 8080)
	translate(t) // has the kernel track connections
	load(t, n.Dataplane, n.world(true))
	for _, addr := range serverAddrs {
		conn := n.connect(t, "udp", addr, 8080)
		if !answers(conn) {
			t.Fatalf("no answer from %s", addr)
		}
		before, err := n.Counters()
		if err != nil {
			t.Fatal(err)
		}
		const exchanges = 100
		for range exchanges {
			if !answers(conn) {
				t.Fatalf("no answer from %s", addr)
			}
		}
		after, err := n.Counters()
		if err != nil {
			t.Fatal(err)
		}
		// A request and its answer leave one pod and enter the other.
		if got, want := after.Passed[byConnection]-before.Passed[byConnection], uint64(4*exchanges); got != want {
			t.Errorf("%s: %d packets counted in %d exchanges, want %d", addr, got, exchanges, want)
		}
	}
}
