// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// BenchmarkPacket reports ns a packet, as the kernel times its own test runs.
func BenchmarkPacket(b *testing.B) {
	d := newDataplane(b)
	load(b, d, largeWorld())
	for family, a := range families {
		established := frame(ipPacket(a.pod, a.friend, tcp, tcpSegment(1, tlsPort, ack)))
		d.runFrame(b, fromPod, frame(ipPacket(a.pod, a.friend, tcp, tcpSegment(1, tlsPort, syn))))
		// With FIN in it, each SYN is another connection: judged, recorded and remembered each time.
		opening := frame(ipPacket(a.pod, a.friend, tcp, tcpSegment(2, tlsPort, syn|fin)))
		toRange := frame(ipPacket(a.pod, a.internet, tcp, tcpSegment(2, 7, syn|fin)))
		denied := frame(ipPacket(a.pod, a.stranger, tcp, tcpSegment(3, tlsPort, syn)))
		b.Run(family+"/established", func(b *testing.B) { measure(b, d.objs.FromPod, established) })
		b.Run(family+"/new", func(b *testing.B) { measure(b, d.objs.FromPod, opening) })
		b.Run(family+"/new-to-range", func(b *testing.B) { measure(b, d.objs.FromPod, toRange) })
		b.Run(family+"/denied", func(b *testing.B) { measure(b, d.objs.FromPod, denied) })
	}
}

// BenchmarkTiers reports ns a new connection that rules around the NetworkPolicies decide.
func BenchmarkTiers(b *testing.B) {
	d := newDataplane(b)
	w := largeWorld()
	set := &w.Sets[0]
	set.Admin[netpol.Egress] = egressDNS + 1
	set.Pass[netpol.Egress].Set(egressTLS)
	set.Deny[netpol.Egress].Set(egressDNS)
	allow(w, netpol.Egress, egressTo-1, friends, plan.PortKey{Protocol: plan.TCP, Class: 2})
	load(b, d, w)
	b.Run("deny", func(b *testing.B) {
		measure(b, d.objs.FromPod, frame(ipPacket(v4.pod, v4.friend, udp, udpDatagram(1, dnsPort))))
	})
	b.Run("pass-then-allow", func(b *testing.B) {
		measure(b, d.objs.FromPod, frame(ipPacket(v4.pod, v4.friend, tcp, tcpSegment(2, tlsPort, syn|fin))))
	})
}

// largeWorld is the test world with 20,000 more addresses and 1,000 more ranges.
func largeWorld() *plan.World {
	w := newWorld(plan.Enforce)
	for i := range 20000 {
		w.Identities[netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})] = plan.Identity{Class: uint32(i % 500)}
	}
	for i := range 1000 {
		w.CIDRs[netip.MustParsePrefix(fmt.Sprintf("172.%d.%d.0/24", 16+i>>8, i&255))] = uint32(i % 50)
	}
	return w
}

func measure(b *testing.B, p *ebpf.Program, data []byte) {
	_, perRun, err := p.Benchmark(data, b.N, b.ResetTimer)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(perRun.Nanoseconds()), "ns/packet")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkLoad measures a change of policy from World to enforced, with the large world.
func BenchmarkLoad(b *testing.B) {
	d := newDataplane(b)
	w := largeWorld()
	for b.Loop() {
		load(b, d, w)
	}
}
