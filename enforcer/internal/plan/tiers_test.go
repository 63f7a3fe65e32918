// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// TestRandomTiers compares small random clusters with the evaluator, and demands that every way through
// the tiers was taken in both directions.
func TestRandomTiers(t *testing.T) {
	reached := make(map[string]int)
	addrs := []netip.Addr{netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("10.9.0.2"), netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("fd09::1")}
	for seed := range uint64(150) {
		g := &dice{rand.New(rand.NewPCG(seed, 3))}
		snap, err := netpol.Compile(g.cluster())
		if err != nil {
			t.Fatal(err)
		}
		c := newTrial(t, fmt.Sprintf("seed %d", seed), snap)
		c.seen = func(self netpol.Endpoint, d netpol.Direction, want netpol.Decision) {
			reached[way(snap.RuleSet(self.Pod(), d), d, &want)]++
		}
		compare(t, c, addrs, []uint16{1, 80, 81, 90, 8080})
	}
	for _, d := range []netpol.Direction{netpol.Ingress, netpol.Egress} {
		for _, w := range []string{
			"RuleMatched by tier 0", "RuleMatched by tier 1", "RuleMatched by tier 2", "RuleDenied by tier 0", "RuleDenied by tier 2",
			"NoRule", "NotIsolated", "pass 0, RuleMatched by tier 1", "pass 0, NoRule", "pass 0, RuleMatched by tier 2",
			"pass 0, RuleDenied by tier 2", "pass 0, NotIsolated", "pass 2, NotIsolated",
		} {
			if key := d.String() + ": " + w; reached[key] < 10 {
				t.Errorf("%q was reached %d times, want at least 10", key, reached[key])
			}
		}
	}
}

// way is how a decision came about.
func way(rs netpol.RuleSet, d netpol.Direction, v *netpol.Decision) string {
	s := d.String() + ": "
	for tier, rules := range rs.Tiers {
		for _, r := range rules {
			if v.Passed != nil && r.Origin == *v.Passed {
				s += fmt.Sprintf("pass %d, ", tier)
			}
		}
	}
	s += string(v.Reason)
	for tier, rules := range rs.Tiers {
		for _, r := range rules {
			if v.Rule != nil && r.Origin == *v.Rule {
				s += fmt.Sprintf(" by tier %d", tier)
			}
		}
	}
	return s
}

// dice draws clusters of two namespaces, four pods and two nodes.
type dice struct{ *rand.Rand }

func pick[T any](g *dice, choices ...T) T { return choices[g.IntN(len(choices))] }

// several are 1 to most of what draw returns.
func several[T any](g *dice, most int, draw func() T) []T {
	all := make([]T, 0, most)
	for range 1 + g.IntN(most) {
		all = append(all, draw())
	}
	return all
}

func (g *dice) cluster() (objs netpol.Objects) {
	for i, ns := range []string{"a", "a", "b", "b"} {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: fmt.Sprintf("p%d", i), Labels: map[string]string{"app": pick(g, "x", "y")}}}
		p.Status.PodIPs = []corev1.PodIP{{IP: fmt.Sprintf("10.0.0.%d", i+1)}, {IP: fmt.Sprintf("fd00::%d", i+1)}}
		p.Spec.Containers = []corev1.Container{{Ports: several(g, 2, func() corev1.ContainerPort {
			protocol := pick(g, corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP)
			return corev1.ContainerPort{Name: "web", Protocol: protocol, ContainerPort: pick[int32](g, 80, 81, 8080)}
		})}}
		objs.Pods = append(objs.Pods, p)
	}
	for i, addr := range []string{"10.9.0.1", "10.9.0.2"} {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("n%d", i), Labels: map[string]string{"zone": pick(g, "x", "y")}}}
		n.Status.Addresses = []corev1.NodeAddress{{Address: addr}, {Address: "fd09::1"}}
		objs.Nodes = append(objs.Nodes, n)
	}
	for i := range 6 {
		objs.ClusterPolicies = append(objs.ClusterPolicies, g.clusterPolicy(i))
	}
	for i := range g.IntN(3) {
		objs.Policies = append(objs.Policies, g.policy(i))
	}
	return objs
}

func (g *dice) selector(key string) metav1.LabelSelector {
	return pick(g, metav1.LabelSelector{}, metav1.LabelSelector{MatchLabels: map[string]string{key: pick(g, "x", "y")}})
}

func (g *dice) namespaces() metav1.LabelSelector {
	return pick(g, metav1.LabelSelector{}, metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: pick(g, "a", "b")}})
}

func (g *dice) pods() *policyv1alpha2.NamespacedPod {
	return &policyv1alpha2.NamespacedPod{NamespaceSelector: g.namespaces(), PodSelector: g.selector("app")}
}

func (g *dice) clusterPolicy(i int) *policyv1alpha2.ClusterNetworkPolicy {
	p := &policyv1alpha2.ClusterNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("cnp%d", i)}}
	p.Spec.Tier = pick(g, policyv1alpha2.AdminTier, policyv1alpha2.BaselineTier)
	p.Spec.Priority = g.Int32N(3)
	p.Spec.Subject.Pods = g.pods()
	p.Spec.Ingress = several(g, 2, func() policyv1alpha2.ClusterNetworkPolicyIngressRule {
		from := policyv1alpha2.ClusterNetworkPolicyIngressPeer{Pods: g.pods()}
		return policyv1alpha2.ClusterNetworkPolicyIngressRule{
			Action: g.action(), Protocols: g.protocols(true), From: []policyv1alpha2.ClusterNetworkPolicyIngressPeer{from},
		}
	})
	p.Spec.Egress = several(g, 2, func() policyv1alpha2.ClusterNetworkPolicyEgressRule {
		to := several(g, 2, g.egressPeer)
		named := true // a port's name needs peers that are pods
		for i := range to {
			named = named && to[i].Pods != nil
		}
		return policyv1alpha2.ClusterNetworkPolicyEgressRule{Action: g.action(), Protocols: g.protocols(named), To: to}
	})
	return p
}

func (g *dice) action() policyv1alpha2.ClusterNetworkPolicyRuleAction {
	return pick(g, policyv1alpha2.ClusterNetworkPolicyRuleActionAccept, policyv1alpha2.ClusterNetworkPolicyRuleActionDeny, policyv1alpha2.ClusterNetworkPolicyRuleActionPass)
}

func (g *dice) egressPeer() (p policyv1alpha2.ClusterNetworkPolicyEgressPeer) {
	switch g.IntN(4) {
	case 0:
		nodes := g.selector("zone")
		p.Nodes = &nodes
	case 1:
		p.Networks = []policyv1alpha2.CIDR{pick[policyv1alpha2.CIDR](g, "10.0.0.0/30", "10.9.0.1/32", "0.0.0.0/0", "192.0.2.0/24", "fd00::/8")}
	default:
		p.Pods = g.pods()
	}
	return p
}

// protocols may be none, which is all of them.
func (g *dice) protocols(named bool) []policyv1alpha2.ClusterNetworkPolicyProtocol {
	if g.IntN(4) == 0 {
		return nil
	}
	return several(g, 2, func() (p policyv1alpha2.ClusterNetworkPolicyProtocol) {
		port := &policyv1alpha2.Port{Number: pick[int32](g, 80, 81)}
		if g.IntN(2) == 0 {
			port = &policyv1alpha2.Port{Range: &policyv1alpha2.PortRange{Start: 80, End: pick[int32](g, 81, 90, 65535)}}
		}
		switch n := g.IntN(6); {
		case n < 2 && named:
			p.DestinationNamedPort = "web"
		case n == 2:
			p.UDP = &policyv1alpha2.ClusterNetworkPolicyProtocolUDP{DestinationPort: port}
		case n == 3:
			p.SCTP = &policyv1alpha2.ClusterNetworkPolicyProtocolSCTP{DestinationPort: port}
		default:
			p.TCP = &policyv1alpha2.ClusterNetworkPolicyProtocolTCP{DestinationPort: port}
		}
		return p
	})
}

func (g *dice) policy(i int) *networkingv1.NetworkPolicy {
	np := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: pick(g, "a", "b"), Name: fmt.Sprintf("np%d", i)}}
	np.Spec.PodSelector = g.selector("app")
	np.Spec.PolicyTypes = []networkingv1.PolicyType{pick(g, networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress)}
	peers := []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{}}}
	port := pick(g, intstr.FromInt32(80), intstr.FromString("web"))
	ports := []networkingv1.NetworkPolicyPort{{Port: &port}}
	np.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{From: peers, Ports: ports}}
	np.Spec.Egress = []networkingv1.NetworkPolicyEgressRule{{To: peers, Ports: ports}}
	return np
}
