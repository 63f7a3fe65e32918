// SPDX-License-Identifier: Apache-2.0

package netpol_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// The faults of a ClusterNetworkPolicy, in the order of its fields.

type fault struct{ object, path string }

// longestList is of rules, peers, protocols and networks; longestRuleName is in characters.
const (
	longestList     = 25
	longestRuleName = 100
)

// clusterFaults are the paths of all faults but of a name that another policy has.
func clusterFaults(p *clusterPolicy) (paths []string) {
	add := func(bad bool, path string) {
		if bad {
			paths = append(paths, path)
		}
	}
	add(!dnsName(p.Name, 253, true), "metadata.name")
	add(p.Namespace != "", "metadata.namespace")
	add(!soundTier(p.Spec.Tier), "spec.tier")
	add(!soundPriority(p.Spec.Priority), "spec.priority")
	paths = append(paths, subjectFaults(&p.Spec.Subject)...)
	for _, d := range []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress} {
		field, rules := "spec."+strings.ToLower(string(d)), rulesOf(p, d)
		add(len(rules) > longestList, field)
		for i := range rules {
			paths = append(paths, ruleFaults(&rules[i], fmt.Sprintf("%s[%d]", field, i))...)
		}
	}
	return paths
}

func soundTier(t policyv1alpha2.Tier) bool { return t == "Admin" || t == "Baseline" }

func soundPriority(n int32) bool { return n >= 0 && n <= 1000 }

func soundAction(a clusterAction) bool { return a == "Accept" || a == "Deny" || a == "Pass" }

func subjectFaults(s *policyv1alpha2.ClusterNetworkPolicySubject) []string {
	return peerFaults(&clusterPeer{Namespaces: s.Namespaces, Pods: s.Pods}, "spec.subject")
}

func ruleFaults(r *clusterRule, at string) (paths []string) {
	add := func(bad bool, path string) {
		if bad {
			paths = append(paths, at+path)
		}
	}
	peers := ".from"
	if r.direction == networkingv1.PolicyTypeEgress {
		peers = ".to"
	}
	add(!soundAction(r.action), ".action")
	add(utf8.RuneCountInString(r.title) > longestRuleName, ".name")
	add(len(r.peers) == 0 || len(r.peers) > longestList, peers)
	for i := range r.peers {
		here := fmt.Sprintf("%s%s[%d]", at, peers, i)
		if len(r.peers[i].Networks) > longestList && onlyOneSet(&r.peers[i]) {
			paths = append(paths, here+".networks")
		}
		paths = append(paths, peerFaults(&r.peers[i], here)...)
	}
	add(emptyList(r.protocols) || len(r.protocols) > longestList, ".protocols")
	for i := range r.protocols {
		paths = append(paths, protocolFaults(r, &r.protocols[i], fmt.Sprintf("%s.protocols[%d]", at, i))...)
	}
	return paths
}

// onlyOneSet: a list that is given and empty is set, too.
func onlyOneSet(p *clusterPeer) bool {
	return count(p.Namespaces != nil, p.Pods != nil, p.Nodes != nil, p.Networks != nil, p.DomainNames != nil) == 1
}

// peerFaults are those for which a peer matches nothing.
func peerFaults(p *clusterPeer, at string) (paths []string) {
	selector := func(s *metav1.LabelSelector, path string) {
		if s != nil && !soundSelector(s) {
			paths = append(paths, at+path)
		}
	}
	if !onlyOneSet(p) {
		return []string{at}
	}
	selector(p.Namespaces, ".namespaces")
	if p.Pods != nil {
		selector(&p.Pods.NamespaceSelector, ".pods.namespaceSelector")
		selector(&p.Pods.PodSelector, ".pods.podSelector")
	}
	selector(p.Nodes, ".nodes")
	for i, n := range p.Networks {
		if parseRange(string(n)) == nil {
			paths = append(paths, fmt.Sprintf("%s.networks[%d]", at, i))
		}
	}
	if emptyList(p.Networks) {
		paths = append(paths, at+".networks")
	}
	if p.DomainNames != nil {
		paths = append(paths, at+".domainNames")
	}
	return paths
}

func protocolFaults(r *clusterRule, p *clusterProtocol, at string) (paths []string) {
	if count(p.TCP != nil, p.UDP != nil, p.SCTP != nil, p.DestinationNamedPort != "") != 1 {
		return []string{at}
	}
	if name := p.DestinationNamedPort; name != "" {
		for _, bad := range []bool{!portName(name), reachesBeyondPods(r)} {
			if bad {
				paths = append(paths, at+".destinationNamedPort")
			}
		}
		return paths
	}
	name, port := portOf(p)
	at += "." + strings.ToLower(name)
	switch {
	case port == nil:
		return []string{at}
	case (port.Number == 0) == (port.Range == nil):
		return []string{at + ".destinationPort"}
	case port.Range == nil && (port.Number < 1 || port.Number > 65535):
		return []string{at + ".destinationPort.number"}
	case port.Range != nil && (port.Range.Start < 1 || port.Range.Start >= port.Range.End || port.Range.End > 65535):
		return []string{at + ".destinationPort.range"}
	}
	return nil
}

// reachesBeyondPods: a peer of the rule has no ports with names.
func reachesBeyondPods(r *clusterRule) bool {
	for _, p := range r.peers {
		if p.Nodes != nil || p.Networks != nil || p.DomainNames != nil {
			return true
		}
	}
	return false
}

// emptyList is one that is given, and has nothing.
func emptyList[T any](list []T) bool { return list != nil && len(list) == 0 }

func count(set ...bool) (n int) {
	for _, s := range set {
		if s {
			n++
		}
	}
	return n
}

// What Go leaves out when it writes an object, YAML may have: lists and structures that are given and empty.
func TestOracleAgreesOnEmptyFields(t *testing.T) {
	const policy = `{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: {name: a},
	 spec: {tier: Admin, priority: 1, subject: %s, %s}}`
	for _, tc := range []struct{ subject, rules string }{
		{"{}", "egress: [{action: Deny, to: [{namespaces: {}}]}]"},
		{"{namespaces: {}, pods: {}}", "egress: [{action: Deny, to: [{namespaces: {}}]}]"},
		{"{pods: {}}", "ingress: [], egress: []"},
		{"{namespaces: {}}", "egress: [{action: Deny, to: []}]"},
		{"{namespaces: {}}", "egress: [{action: Accept}]"},
		{"{namespaces: {}}", "ingress: [{}]"},
		{"{namespaces: {}}", "egress: [{action: Deny, to: [{}]}]"},
		{"{namespaces: {}}", "egress: [{action: Deny, to: [{networks: []}]}]"},
		{"{namespaces: {}}", "egress: [{action: Deny, to: [{domainNames: []}]}]"},
		{"{namespaces: {}}", "egress: [{action: Deny, to: [{namespaces: {}, networks: []}]}]"},
		{"{namespaces: {}}", "egress: [{action: Accept, to: [{networks: []}, {nodes: {}}], protocols: [{destinationNamedPort: http}]}]"},
		{"{namespaces: {}}", "egress: [{action: Accept, to: [{networks: []}], protocols: [{destinationNamedPort: http}]}]"},
		{"{namespaces: {}}", `egress: [{action: Deny, to: [{networks: ["", 10.0.0.0/08, 010.0.0.0/8, 10.0.0.0/8, fe80::1%eth0/64]}]}]`},
		{"{namespaces: {}}", "ingress: [{action: Pass, from: [{pods: {}}], protocols: []}]"},
		{"{namespaces: {}}", "egress: [{action: Accept, to: [{pods: {}}], protocols: []}, {action: Deny, to: [{pods: {}}]}]"},
		{"{namespaces: {}}", "ingress: [{action: Pass, from: [{pods: {}}], protocols: [{}, {tcp: {}}, {udp: {destinationPort: {}}}, {sctp: {destinationPort: {range: {}}}}]}]"},
		{"{namespaces: {}}", `ingress: [{action: Pass, from: [{pods: {}}], protocols: [{destinationNamedPort: ""}, {tcp: {destinationPort: {number: 0, range: {start: 1, end: 2}}}}]}]`},
	} {
		objs := objectsOf(t, fmt.Sprintf(policy, tc.subject, tc.rules),
			"{apiVersion: v1, kind: Pod, metadata: {namespace: a, name: a}}", "{apiVersion: v1, kind: Pod, metadata: {namespace: a, name: b}}")
		if _, err := netpol.Compile(objs); !newOracle(objs).agreesOnFaults(err) {
			t.Errorf("subject %s, %s:\n%v\nwant %q", tc.subject, tc.rules, err, newOracle(objs).faults)
		}
		c := netpol.Connection{From: netpol.Peer{Pod: nameOf(objs.Pods[0])}, To: netpol.Peer{Pod: nameOf(objs.Pods[1])}, Port: 80}
		if !agree(objs, c) {
			t.Errorf("subject %s, %s:\n%s", tc.subject, tc.rules, disagreement(t, objs, c))
		}
	}
}
