// SPDX-License-Identifier: Apache-2.0

package netpol_test

import (
	"cmp"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// The Admin and Baseline tiers, as the oracle reads them.

type (
	clusterPolicy   = policyv1alpha2.ClusterNetworkPolicy
	clusterPeer     = policyv1alpha2.ClusterNetworkPolicyEgressPeer // an ingress peer is one with less to say
	clusterProtocol = policyv1alpha2.ClusterNetworkPolicyProtocol
	clusterAction   = policyv1alpha2.ClusterNetworkPolicyRuleAction
)

// clusterRule is a rule of a ClusterNetworkPolicy, of either direction.
type clusterRule struct {
	author
	policy    *clusterPolicy
	action    clusterAction
	peers     []clusterPeer
	protocols []clusterProtocol
	everyone  bool // whatever peers and protocols say
}

// rulesOf are the rules as they are written.
func rulesOf(p *clusterPolicy, d networkingv1.PolicyType) (all []clusterRule) {
	by := author{kind: "ClusterNetworkPolicy", name: p.Name, direction: d, tier: string(p.Spec.Tier)}
	if d == networkingv1.PolicyTypeEgress {
		for i, r := range p.Spec.Egress {
			by.index, by.title = i, r.Name
			all = append(all, clusterRule{author: by, policy: p, action: r.Action, peers: r.To, protocols: r.Protocols})
		}
		return all
	}
	for i, r := range p.Spec.Ingress {
		by.index, by.title = i, r.Name
		rule := clusterRule{author: by, policy: p, action: r.Action, protocols: r.Protocols}
		for _, peer := range r.From {
			rule.peers = append(rule.peers, clusterPeer{Namespaces: peer.Namespaces, Pods: peer.Pods})
		}
		all = append(all, rule)
	}
	return all
}

// readTiers keeps the rules that take part, and the faults of all.
func (o *oracle) readTiers() {
	seen := map[string]bool{}
	var part []*clusterPolicy
	for _, p := range o.ClusterPolicies {
		if p.Annotations["bulkhead.dev/staged"] == "true" {
			continue
		}
		faults := clusterFaults(p)
		if seen[p.Name] {
			faults = append(faults, "metadata.name")
		} else if takesPart(p) {
			part = append(part, p)
		}
		seen[p.Name] = true
		for _, path := range faults {
			o.sound, o.faults = false, append(o.faults, fault{"ClusterNetworkPolicy " + p.Name, path})
		}
	}
	slices.SortStableFunc(part, func(a, b *clusterPolicy) int {
		return cmp.Or(cmp.Compare(a.Spec.Priority, b.Spec.Priority), strings.Compare(a.Name, b.Name))
	})
	for _, p := range part {
		tier := 0
		if p.Spec.Tier == policyv1alpha2.BaselineTier {
			tier = 1
		}
		for _, d := range []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress} {
			for _, r := range rulesOf(p, d) {
				if failClosed(&r) {
					o.tiers[tier] = append(o.tiers[tier], r)
				}
			}
		}
	}
}

func takesPart(p *clusterPolicy) bool {
	return soundTier(p.Spec.Tier) && soundPriority(p.Spec.Priority) && subjectFaults(&p.Spec.Subject) == nil
}

// failClosed makes of a rule with a fault one that denies everything; false for one that would accept,
// which then matches nothing.
func failClosed(r *clusterRule) bool {
	faulty := !soundAction(r.action) || len(r.peers) == 0 || emptyList(r.protocols)
	for i := range r.peers {
		faulty = faulty || peerFaults(&r.peers[i], "") != nil
	}
	for i := range r.protocols {
		faulty = faulty || protocolFaults(r, &r.protocols[i], "") != nil
	}
	if !faulty {
		return true
	}
	accepts := r.action == policyv1alpha2.ClusterNetworkPolicyRuleActionAccept
	r.action, r.everyone = policyv1alpha2.ClusterNetworkPolicyRuleActionDeny, true
	return !accepts
}

// tierDecides writes the decision of a tier into s; false when it leaves it to the next.
func (o *oracle) tierDecides(tier int, d networkingv1.PolicyType, s *sideOpinion, self, other, to *party, f flow) bool {
	for i := range o.tiers[tier] {
		r := &o.tiers[tier][i]
		if r.direction != d || !o.isSubject(&r.policy.Spec.Subject, self) || !o.clusterRuleMatches(r, s, other, to, f) {
			continue
		}
		switch r.action {
		case policyv1alpha2.ClusterNetworkPolicyRuleActionPass:
			s.passed = r.author
			return false
		case policyv1alpha2.ClusterNetworkPolicyRuleActionAccept:
			s.reason, s.rule = netpol.RuleMatched, r.author
		default:
			s.reason, s.rule = netpol.RuleDenied, r.author
		}
		return true
	}
	return false
}

func (o *oracle) isSubject(s *policyv1alpha2.ClusterNetworkPolicySubject, p *party) bool {
	return o.clusterPeerIncludes(&clusterPeer{Namespaces: s.Namespaces, Pods: s.Pods}, p)
}

func (o *oracle) clusterRuleMatches(r *clusterRule, s *sideOpinion, other, to *party, f flow) bool {
	if r.everyone {
		s.match = "everyone, for a fault"
		return true
	}
	peer := slices.IndexFunc(r.peers, func(p clusterPeer) bool { return o.clusterPeerIncludes(&p, other) })
	entry := slices.IndexFunc(r.protocols, func(p clusterProtocol) bool { return protocolIncludes(&p, f, to) })
	if peer < 0 || entry < 0 && len(r.protocols) > 0 {
		return false
	}
	s.match = kindOf(&r.peers[peer])
	if entry >= 0 {
		s.match = s.match + ", " + entryOf(&r.protocols[entry])
	}
	return true
}

func kindOf(p *clusterPeer) string {
	switch {
	case p.Namespaces != nil:
		return "namespaces"
	case p.Pods != nil:
		return "pods"
	case p.Nodes != nil:
		return "nodes"
	}
	return "networks"
}

func entryOf(p *clusterProtocol) string {
	name, at := portOf(p)
	switch {
	case at == nil:
		return "named port"
	case at.Range != nil:
		return name + " range"
	}
	return name
}

func (o *oracle) clusterPeerIncludes(peer *clusterPeer, p *party) bool {
	switch {
	case peer.Namespaces != nil:
		return p.pod != nil && o.labelsMatch(peer.Namespaces, o.labelsOfNamespace(p.pod.Namespace))
	case peer.Pods != nil:
		return p.pod != nil && o.labelsMatch(&peer.Pods.NamespaceSelector, o.labelsOfNamespace(p.pod.Namespace)) &&
			o.labelsMatch(&peer.Pods.PodSelector, p.pod.Labels)
	case peer.Nodes != nil:
		n := o.nodeOf(p.ip)
		return n != nil && p.pod == nil && o.owner(p.ip) == nil && o.labelsMatch(peer.Nodes, n.Labels)
	}
	return slices.ContainsFunc(peer.Networks, func(n policyv1alpha2.CIDR) bool { return inRange(string(n), p.ip) })
}

func protocolIncludes(p *clusterProtocol, f flow, to *party) bool {
	if p.DestinationNamedPort != "" {
		return to.pod != nil && slices.Contains(namedNumbers(to.pod, p.DestinationNamedPort, f.protocol), int32(f.port))
	}
	name, at := portOf(p)
	if name != string(f.protocol) {
		return false
	}
	if at.Range != nil {
		return at.Range.Start <= int32(f.port) && int32(f.port) <= at.Range.End
	}
	return at.Number == int32(f.port)
}

// portOf is the first protocol of an entry that is set, and its port.
func portOf(p *clusterProtocol) (protocol string, at *policyv1alpha2.Port) {
	switch {
	case p.TCP != nil:
		return "TCP", p.TCP.DestinationPort
	case p.UDP != nil:
		return "UDP", p.UDP.DestinationPort
	case p.SCTP != nil:
		return "SCTP", p.SCTP.DestinationPort
	}
	return "", nil
}
