// SPDX-License-Identifier: Apache-2.0

package netpol_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/corpus"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/random"
)

// pairsAllowed of endpoints are asked in each cluster, for each port.
const pairsAllowed = 30

// What may pass as a whole is what may pass port by port.
func TestAllowedAgreesWithEvaluate(t *testing.T) {
	clusters := 500
	if testing.Short() {
		clusters = 50
	}
	seen := tally{}
	for i := range clusters {
		g := random.New(*oracleSeed, uint64(i))
		objs := g.Objects()
		s, _ := netpol.Compile(objs)
		o, ends, ports := newOracle(objs), endpointsOf(s, objs), boundaries(objs)
		for range pairsAllowed {
			from, to := random.Pick(g, ends...), random.Pick(g, ends...)
			if what := checkAllowed(s, o, from, to, ports); what != "" {
				c := shrinkAllowed(objs, from, to, ports)
				t.Fatalf("seed %d cluster %d: %s\n%s", *oracleSeed, i, what, dump(t, c))
			}
			seen.addSet(s.Allowed(from, to))
		}
	}
	t.Logf("%d pairs\n%v", clusters*pairsAllowed, seen)
	for _, what := range []string{"all", "none", "some", "other protocols in part"} {
		if seen[what] < clusters*pairsAllowed/100 {
			t.Errorf("%s: %d of %d pairs", what, seen[what], clusters*pairsAllowed)
		}
	}
}

func (n tally) addSet(set netpol.PortSet) {
	switch {
	case set.All():
		n["all"]++
	case set.Empty():
		n["none"]++
	default:
		n["some"]++
		if set.Other() {
			n["other protocols in part"]++
		}
	}
}

// endpointsOf are mostly those of pods, with and without an address; then those of nodes and of nobody.
func endpointsOf(s *netpol.Snapshot, objs netpol.Objects) (all []netpol.Endpoint) {
	for range 3 {
		all = slices.AppendSeq(all, s.Endpoints())
	}
	for _, pod := range objs.Pods {
		if hasIdentity(pod) {
			all = append(all, s.Endpoint(nameOf(pod)))
		}
	}
	all = append(all, s.NodeEndpoints()...)
	for _, addr := range []string{"192.0.2.1", "2001:db8::1", "10.0.2.1"} {
		all = append(all, s.EndpointAt(netip.MustParseAddr(addr)))
	}
	return all
}

// checkAllowed says where the two differ; empty when nowhere.
func checkAllowed(s *netpol.Snapshot, o *oracle, from, to netpol.Endpoint, ports []uint16) string {
	set := s.Allowed(from, to)
	// differs is false for a Service: what it leads to is another endpoint.
	differs := func(protocol corev1.Protocol, port uint16, contained bool) (netpol.Connection, bool) {
		c := netpol.Connection{From: peerOf(from), To: peerOf(to), Protocol: protocol, Port: port}
		_, isService := o.serviceFor(c.To, flow{protocol, port})
		return c, !isService && s.Evaluate(c).Allowed != contained
	}
	for _, protocol := range []corev1.Protocol{"TCP", "UDP", "SCTP"} {
		for _, port := range ports {
			for _, contained := range []bool{set.Contains(protocol, port), inRanges(set, protocol, port)} {
				if c, bad := differs(protocol, port, contained); bad {
					return caseLine(c, corpus.WantOf(s.Evaluate(c))) + ", but Allowed says " + set.String()
				}
			}
		}
	}
	if sides := s.SideAllows(from, netpol.Egress, to).Intersect(s.SideAllows(to, netpol.Ingress, from)); !sides.Equal(set) && !samePod(from, to) {
		return fmt.Sprintf("Allowed says %s, its sides say %s", set, sides)
	}
	if c, bad := differs("ICMP", 0, set.Other()); bad {
		return caseLine(c, corpus.WantOf(s.Evaluate(c))) + ", but Allowed says " + set.String()
	}
	return ""
}

func samePod(a, b netpol.Endpoint) bool {
	return a.Pod() == b.Pod() && a.Pod() != types.NamespacedName{}
}

func peerOf(e netpol.Endpoint) netpol.Peer { return netpol.Peer{Pod: e.Pod(), Addr: e.Addr} }

func inRanges(set netpol.PortSet, protocol corev1.Protocol, port uint16) bool {
	return slices.ContainsFunc(set.Ranges(), func(r netpol.PortRange) bool {
		return r.Protocol == protocol && r.From <= port && port <= r.To
	})
}

func shrinkAllowed(objs netpol.Objects, from, to netpol.Endpoint, ports []uint16) netpol.Objects {
	again := func(s *netpol.Snapshot, e netpol.Endpoint) netpol.Endpoint {
		if e.Pod() == (types.NamespacedName{}) {
			return s.EndpointAt(e.Addr)
		}
		for same := range s.Endpoints() {
			if same.Pod() == e.Pod() && same.Addr == e.Addr {
				return same
			}
		}
		return s.Endpoint(e.Pod())
	}
	return random.Shrink(objs, func(objs netpol.Objects) bool {
		s, _ := netpol.Compile(objs)
		a, b := again(s, from), again(s, to)
		return peerOf(a) == peerOf(from) && peerOf(b) == peerOf(to) && checkAllowed(s, newOracle(objs), a, b, ports) != ""
	})
}

// boundaries are the ports on and beside all ends of ranges in the objects.
func boundaries(objs netpol.Objects) []uint16 {
	var all []int32
	for _, pod := range objs.Pods {
		for _, c := range append(slices.Clone(pod.Spec.Containers), pod.Spec.InitContainers...) {
			for _, p := range c.Ports {
				all = append(all, p.ContainerPort)
			}
		}
	}
	for _, d := range []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress} {
		for _, np := range objs.Policies {
			for _, r := range policyRules(np, d) {
				all = append(all, endsOf(r.ports)...)
			}
		}
		for _, p := range objs.ClusterPolicies {
			for _, r := range rulesOf(p, d) {
				all = append(all, clusterEnds(r.protocols)...)
			}
		}
	}
	ports := []uint16{0, 65535}
	for _, n := range all {
		for _, beside := range []int32{n - 1, n, n + 1} {
			if beside >= 0 && beside <= 65535 {
				ports = append(ports, uint16(beside))
			}
		}
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

func endsOf(ports []networkingv1.NetworkPolicyPort) (all []int32) {
	for _, p := range ports {
		if p.Port != nil {
			all = append(all, p.Port.IntVal)
		}
		if p.EndPort != nil {
			all = append(all, *p.EndPort)
		}
	}
	return all
}

func clusterEnds(protocols []clusterProtocol) (all []int32) {
	for i := range protocols {
		if _, p := portOf(&protocols[i]); p != nil {
			all = append(all, p.Number)
			if p.Range != nil {
				all = append(all, p.Range.Start, p.Range.End)
			}
		}
	}
	return all
}
