// SPDX-License-Identifier: Apache-2.0

package netpol_test

import (
	"math/rand/v2"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

func tcp(from, to uint16) netpol.PortRange {
	return netpol.PortRange{Protocol: corev1.ProtocolTCP, From: from, To: to}
}

func udp(from, to uint16) netpol.PortRange {
	return netpol.PortRange{Protocol: corev1.ProtocolUDP, From: from, To: to}
}

func TestPortSetString(t *testing.T) {
	every := tcp(0, 65535)
	for want, s := range map[string]netpol.PortSet{
		"none":                         {},
		"all":                          netpol.AllPorts(),
		"TCP/80":                       netpol.Ports(tcp(80, 80)),
		"TCP/80-82":                    netpol.Ports(tcp(81, 82), tcp(80, 80)),
		"TCP/80,443-450 UDP/53":        netpol.Ports(udp(53, 53), tcp(443, 450), tcp(80, 80)),
		"TCP/*":                        netpol.Ports(every),
		"TCP/0-79,81-65535":            netpol.Ports(every).Subtract(netpol.Ports(tcp(80, 80))),
		"UDP/* SCTP/* other":           netpol.AllPorts().Subtract(netpol.Ports(every)),
		"TCP/1-9":                      netpol.Ports(tcp(1, 9), tcp(9, 1), netpol.PortRange{Protocol: "ICMP", To: 1}),
		"TCP/0,65535":                  netpol.Ports(tcp(0, 0), tcp(65535, 65535)),
		"TCP/65535 UDP/* SCTP/* other": netpol.AllPorts().Subtract(netpol.Ports(tcp(0, 65534))),
	} {
		if got := s.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// The operations agree with those on the members, one by one.
func TestPortSetOperations(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	protocols := []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP, "ICMP"}
	random := func() netpol.PortSet {
		var s netpol.PortSet
		if r.IntN(4) == 0 {
			s = netpol.AllPorts()
		}
		for range r.IntN(6) {
			from := r.IntN(40)
			one := netpol.Ports(netpol.PortRange{Protocol: protocols[r.IntN(3)], From: uint16(from), To: uint16(from + r.IntN(9))})
			if r.IntN(2) == 0 {
				s = s.Union(one)
			} else {
				s = s.Subtract(one)
			}
		}
		return s
	}
	for range 3000 {
		a, b := random(), random()
		union, both, less := a.Union(b), a.Intersect(b), a.Subtract(b)
		for _, protocol := range protocols {
			for port := range uint16(52) {
				inA, inB := a.Contains(protocol, port), b.Contains(protocol, port)
				if union.Contains(protocol, port) != (inA || inB) || both.Contains(protocol, port) != (inA && inB) || less.Contains(protocol, port) != (inA && !inB) {
					t.Fatalf("a %v, b %v: %s/%d: union %v, both %v, less %v", a, b, protocol, port, union, both, less)
				}
			}
		}
		if !netpol.Ports(union.Ranges()...).Equal(netpol.Ports(b.Union(a).Ranges()...)) || less.Union(both).String() != a.String() {
			t.Fatalf("a %v, b %v: the same set is written in two ways", a, b)
		}
		if union.Empty() != (a.Empty() && b.Empty()) || !less.Intersect(b).Empty() {
			t.Fatalf("a %v, b %v: union %v, less %v", a, b, union, less)
		}
	}
}

func TestPortsAt(t *testing.T) {
	s := compiled(t, podWeb, podAPI, policyIn)
	rules := s.RuleSet(shop("api"), netpol.Ingress).Tiers[netpol.NetworkPolicies]
	for _, tc := range []struct {
		rule        int
		destination string
		want        string
	}{
		{0, "api", "TCP/80,8080"},
		{0, "web", "none"}, // it names no port http
		{1, "api", "TCP/9090"},
	} {
		if got := rules[tc.rule].PortsAt(s.Endpoint(shop(tc.destination))).String(); got != tc.want {
			t.Errorf("rule %d at %s: %s, want %s", tc.rule, tc.destination, got, tc.want)
		}
	}
}
