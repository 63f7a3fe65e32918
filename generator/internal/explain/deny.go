// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// beforeDeny puts a rule before one that denies: one that leaves the decision to the next tier, or one that
// accepts. No NetworkPolicy can overrule the tier of administrators.
func (w *World) beforeDeny(objs *netpol.Objects, side *netpol.Side) (all []candidate) {
	denies := side.Decision.Rule
	cnp := findClusterPolicy(objs, denies.Name)
	ports, ok := clusterPorts(side)
	if cnp == nil || !ok || w.faultOf(denies) != nil {
		return nil
	}
	for _, action := range []policyv1alpha2.ClusterNetworkPolicyRuleAction{policyv1alpha2.ClusterNetworkPolicyRuleActionPass, policyv1alpha2.ClusterNetworkPolicyRuleActionAccept} {
		for _, peer := range w.clusterPeers(side) {
			next := cnp.DeepCopy()
			var rule any
			if side.Direction == netpol.Egress {
				r := policyv1alpha2.ClusterNetworkPolicyEgressRule{Action: action, To: []policyv1alpha2.ClusterNetworkPolicyEgressPeer{peer}, Protocols: ports}
				next.Spec.Egress, rule = slices.Insert(next.Spec.Egress, denies.Index, r), r
			} else {
				r := policyv1alpha2.ClusterNetworkPolicyIngressRule{Action: action, From: []policyv1alpha2.ClusterNetworkPolicyIngressPeer{{Pods: peer.Pods}}, Protocols: ports}
				next.Spec.Ingress, rule = slices.Insert(next.Spec.Ingress, denies.Index, r), r
			}
			index := denies.Index
			all = append(all, candidate{
				Step: Step{
					Verb: PutBefore, Side: side.Direction, Kind: denies.Kind, Name: denies.Name,
					Path: "spec." + strings.ToLower(side.Direction.String()), Index: &index, Fragment: toYAML([]any{rule}),
				},
				set:  netpol.Objects{ClusterPolicies: []*policyv1alpha2.ClusterNetworkPolicy{next}},
				tier: tierOf(cnp), index: index,
			})
		}
	}
	return all
}

func tierOf(cnp *policyv1alpha2.ClusterNetworkPolicy) netpol.Tier {
	if cnp.Spec.Tier == policyv1alpha2.BaselineTier {
		return netpol.Baseline
	}
	return netpol.Admin
}

// clusterPeers are the ways to name the peer in a ClusterNetworkPolicy. Who connects from an address
// cannot be named in one.
func (w *World) clusterPeers(side *netpol.Side) (peers []policyv1alpha2.ClusterNetworkPolicyEgressPeer) {
	if side.Peer.Pod.Name == "" {
		if side.Direction == netpol.Ingress {
			return nil
		}
		return []policyv1alpha2.ClusterNetworkPolicyEgressPeer{{Networks: []policyv1alpha2.CIDR{policyv1alpha2.CIDR(block(side).String())}}}
	}
	for _, selector := range w.selectors(&side.Peer) {
		pods := policyv1alpha2.NamespacedPod{NamespaceSelector: *namespaceSelector(side.Peer.Pod.Namespace), PodSelector: *selector}
		peers = append(peers, policyv1alpha2.ClusterNetworkPolicyEgressPeer{Pods: &pods})
	}
	return peers
}

// clusterPorts is the port as a ClusterNetworkPolicy gives it: nil for a protocol that has no ports, false for
// port 0, which cannot be given.
func clusterPorts(side *netpol.Side) ([]policyv1alpha2.ClusterNetworkPolicyProtocol, bool) {
	port := &policyv1alpha2.Port{Number: int32(side.Port)}
	var p policyv1alpha2.ClusterNetworkPolicyProtocol
	switch side.Protocol {
	case corev1.ProtocolTCP:
		p.TCP = &policyv1alpha2.ClusterNetworkPolicyProtocolTCP{DestinationPort: port}
	case corev1.ProtocolUDP:
		p.UDP = &policyv1alpha2.ClusterNetworkPolicyProtocolUDP{DestinationPort: port}
	case corev1.ProtocolSCTP:
		p.SCTP = &policyv1alpha2.ClusterNetworkPolicyProtocolSCTP{DestinationPort: port}
	default:
		return nil, true
	}
	return []policyv1alpha2.ClusterNetworkPolicyProtocol{p}, side.Port != 0
}
