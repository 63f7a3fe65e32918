// SPDX-License-Identifier: Apache-2.0

package random

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"
)

type (
	clusterPolicy   = policyv1alpha2.ClusterNetworkPolicy
	clusterPeer     = policyv1alpha2.ClusterNetworkPolicyEgressPeer // an ingress peer is one with less to say
	clusterProtocol = policyv1alpha2.ClusterNetworkPolicyProtocol
	clusterAction   = policyv1alpha2.ClusterNetworkPolicyRuleAction
)

// roomFor is how many rules, peers, protocols and networks the API has room for.
const roomFor = 25

func (g *Generator) clusterPolicy(n int) *clusterPolicy {
	p := &clusterPolicy{TypeMeta: metav1.TypeMeta{APIVersion: "policy.networking.k8s.io/v1alpha2", Kind: "ClusterNetworkPolicy"}}
	p.Name = fmt.Sprintf("cnp%d", n)
	p.Spec.Tier = Pick(g, policyv1alpha2.AdminTier, policyv1alpha2.BaselineTier)
	p.Spec.Priority = Pick[int32](g, 0, 5, 5, 5, 7, 1000)
	p.Spec.Subject = g.subject()
	p.Spec.Ingress = many(g, 3, func() policyv1alpha2.ClusterNetworkPolicyIngressRule {
		r := policyv1alpha2.ClusterNetworkPolicyIngressRule{Name: g.ruleName(), Action: g.action()}
		for _, peer := range g.clusterPeers(g.podPeer) {
			r.From = append(r.From, policyv1alpha2.ClusterNetworkPolicyIngressPeer{Namespaces: peer.Namespaces, Pods: peer.Pods})
		}
		r.Protocols = many(g, 2, func() clusterProtocol { return g.clusterProtocol(true) })
		return r
	})
	p.Spec.Egress = many(g, 3, func() policyv1alpha2.ClusterNetworkPolicyEgressRule {
		r := policyv1alpha2.ClusterNetworkPolicyEgressRule{Name: g.ruleName(), Action: g.action(), To: g.clusterPeers(g.egressPeer)}
		named := !slices.ContainsFunc(r.To, beyondPods) || g.fault()
		r.Protocols = many(g, 2, func() clusterProtocol { return g.clusterProtocol(named) })
		return r
	})
	if g.fault() {
		g.spoilPolicy(p)
	}
	return p
}

// beyondPods: the peer has no ports with names.
func beyondPods(p clusterPeer) bool {
	return p.Nodes != nil || p.Networks != nil || p.DomainNames != nil
}

func (g *Generator) spoilPolicy(p *clusterPolicy) {
	switch g.IntN(6) {
	case 0, 1:
		p.Name = Pick(g, "cnp1", "cnp1", "cnp2", "Upper", "", strings.Repeat("n", 254))
	case 2:
		p.Namespace = "a"
	case 3:
		p.Spec.Tier = Pick[policyv1alpha2.Tier](g, "", "admin", "NetworkPolicy")
	case 4:
		p.Spec.Priority = Pick[int32](g, -1, 1001)
	default:
		p.Spec.Subject = Pick(g, policyv1alpha2.ClusterNetworkPolicySubject{},
			policyv1alpha2.ClusterNetworkPolicySubject{Namespaces: g.selector("env"), Pods: g.namespacedPod()})
	}
}

// many are up to n parts; once in a while, more than the API has room for.
func many[T any](g *Generator, n int, one func() T) []T {
	all := some(g, n, one)
	if len(all) > 0 && g.fault() && g.percent(10) {
		for len(all) <= roomFor {
			all = append(all, all[g.IntN(len(all))])
		}
	}
	return all
}

func (g *Generator) ruleName() string {
	if g.fault() {
		return Pick(g, strings.Repeat("r", 101), strings.Repeat("é", 100))
	}
	return Pick(g, "", "web", "dns")
}

func (g *Generator) action() clusterAction {
	if g.fault() {
		return Pick[clusterAction](g, "", "Allow", "deny")
	}
	return Pick[clusterAction](g, "Accept", "Accept", "Deny", "Deny", "Pass", "Pass", "Pass")
}

func (g *Generator) subject() (s policyv1alpha2.ClusterNetworkPolicySubject) {
	if g.percent(50) {
		s.Namespaces = g.selector("team", "env", corev1.LabelMetadataName)
	} else {
		s.Pods = g.namespacedPod()
	}
	return s
}

func (g *Generator) namespacedPod() *policyv1alpha2.NamespacedPod {
	return &policyv1alpha2.NamespacedPod{
		NamespaceSelector: *Pick(g, &metav1.LabelSelector{}, g.selector("team", "env", corev1.LabelMetadataName)),
		PodSelector:       *Pick(g, &metav1.LabelSelector{}, g.selector("app", "env", "example.com/tier")),
	}
}

// clusterPeers are one or two mostly; none at all is a fault.
func (g *Generator) clusterPeers(one func() clusterPeer) []clusterPeer {
	if g.fault() {
		return nil
	}
	peers := append(many(g, 1, one), one())
	if g.fault() {
		peers[0] = Pick(g, clusterPeer{}, clusterPeer{Namespaces: g.selector("env"), Pods: g.namespacedPod()})
	}
	return peers
}

func (g *Generator) podPeer() (p clusterPeer) {
	if g.percent(50) {
		p.Namespaces = g.selector("team", "env", corev1.LabelMetadataName)
	} else {
		p.Pods = g.namespacedPod()
	}
	return p
}

func (g *Generator) egressPeer() (p clusterPeer) {
	if g.fault() {
		return Pick(g, clusterPeer{DomainNames: []policyv1alpha2.DomainName{"example.com"}}, clusterPeer{Networks: g.networks(), Nodes: g.selector("env")})
	}
	switch g.IntN(5) {
	case 0:
		p.Networks = g.networks()
	case 1:
		p.Nodes = g.selector("app", "env")
	default:
		p = g.podPeer()
	}
	return p
}

func (g *Generator) networks() []policyv1alpha2.CIDR {
	one := func() policyv1alpha2.CIDR { return policyv1alpha2.CIDR(g.block().CIDR) }
	return append(many(g, 1, one), one())
}

// clusterProtocol may be the name of a port where that is no fault.
func (g *Generator) clusterProtocol(named bool) (p clusterProtocol) {
	if named && g.percent(40) {
		p.DestinationNamedPort = Pick(g, "http", "http", "dns", "nosuch")
		if g.fault() {
			p.DestinationNamedPort = Pick(g, "80", "HTTP", "sixteenletters16")
		}
	} else {
		port := g.clusterPort()
		switch g.IntN(4) {
		case 0:
			p.UDP = &policyv1alpha2.ClusterNetworkPolicyProtocolUDP{DestinationPort: port}
		case 1:
			p.SCTP = &policyv1alpha2.ClusterNetworkPolicyProtocolSCTP{DestinationPort: port}
		default:
			p.TCP = &policyv1alpha2.ClusterNetworkPolicyProtocolTCP{DestinationPort: port}
		}
	}
	if g.fault() {
		return Pick(g, clusterProtocol{}, clusterProtocol{
			TCP: &policyv1alpha2.ClusterNetworkPolicyProtocolTCP{DestinationPort: g.clusterPort()}, DestinationNamedPort: "http",
		})
	}
	return p
}

func (g *Generator) clusterPort() *policyv1alpha2.Port {
	number := Pick[int32](g, 1, 53, 80, 80, 80, 8080, 8080, 65534)
	if g.fault() {
		return Pick(g, nil, nil, &policyv1alpha2.Port{}, &policyv1alpha2.Port{Number: -1}, &policyv1alpha2.Port{Number: 65536}, &policyv1alpha2.Port{Number: 65536 + 80},
			&policyv1alpha2.Port{Number: number, Range: &policyv1alpha2.PortRange{Start: 1, End: 2}}, &policyv1alpha2.Port{Range: &policyv1alpha2.PortRange{}},
			&policyv1alpha2.Port{Range: &policyv1alpha2.PortRange{Start: 80, End: 80}}, &policyv1alpha2.Port{Range: &policyv1alpha2.PortRange{Start: 80, End: 65536}},
			&policyv1alpha2.Port{Range: &policyv1alpha2.PortRange{Start: 0, End: 80}}, &policyv1alpha2.Port{Range: &policyv1alpha2.PortRange{Start: 90, End: 80}})
	}
	if g.percent(40) {
		return &policyv1alpha2.Port{Range: &policyv1alpha2.PortRange{Start: number, End: min(number+Pick[int32](g, 1, 27, 65535), 65535)}}
	}
	return &policyv1alpha2.Port{Number: number}
}
