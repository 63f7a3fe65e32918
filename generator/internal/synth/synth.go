// SPDX-License-Identifier: Apache-2.0

// Package synth writes the policies that allow what was observed and nothing else: one policy a
// workload, one rule a peer. Its output depends on nothing but its input.
package synth

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Namespace is what one namespace gets.
type Namespace struct {
	Name     string
	Baseline []*networkingv1.NetworkPolicy // default-deny and DNS
	Policies []Policy                      // ordered by file
	// Connections that a pod of the namespace is part of, those covered by the baseline included.
	Connections []evidence.Connection
}

// Policy is the policy of one workload and why each of its rules is there.
type Policy struct {
	File     string // without directory, e.g. api.yaml
	Workload edge.Endpoint
	Object   *networkingv1.NetworkPolicy
	Rules    []Rule // ingress in order of index, then egress
}

// Rule is the evidence of one rule.
type Rule struct {
	Path        string // spec.ingress[0]
	Connections []evidence.Connection
}

// All are the namespace's policies, baseline first.
func (n *Namespace) All() []*networkingv1.NetworkPolicy {
	all := slices.Clone(n.Baseline)
	for _, p := range n.Policies {
		all = append(all, p.Object)
	}
	return all
}

// Write makes the policies of one namespace from all connections of the cluster. sample must be
// of the same inventory.
func Write(name string, all []evidence.Connection, inv *inventory.Inventory, sample *inventory.Sample, dns baseline.DNSTargets) (*Namespace, error) {
	if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
		return nil, fmt.Errorf("namespace %q: %s", name, strings.Join(problems, "; "))
	}
	n := &Namespace{Name: name, Baseline: []*networkingv1.NetworkPolicy{baseline.DefaultDeny(name), baseline.DNS(name, dns)}}
	covered, err := covers(sample, n.Baseline)
	if err != nil {
		return nil, fmt.Errorf("baseline of namespace %s: %w", name, err)
	}
	sides := map[edge.Endpoint]*[2][]evidence.Connection{} // by netpol.Direction
	for _, c := range all {
		if !c.Touches(name) {
			continue
		}
		n.Connections = append(n.Connections, c)
		if c.To.IsPod() && c.To.Namespace == name {
			put(sides, c.To, netpol.Ingress, c)
		}
		if c.From.IsPod() && c.From.Namespace == name && !covered(c) {
			put(sides, c.From, netpol.Egress, c)
		}
	}
	files := fileNames(sides)
	for workload, side := range sides {
		p, err := policy(inv.Workload(workload), files[workload], side, inv)
		if err != nil {
			return nil, err
		}
		n.Policies = append(n.Policies, p)
	}
	slices.SortFunc(n.Policies, func(a, b Policy) int { return cmp.Compare(a.File, b.File) })
	return n, nil
}

func put(sides map[edge.Endpoint]*[2][]evidence.Connection, e edge.Endpoint, d netpol.Direction, c evidence.Connection) {
	if sides[e] == nil {
		sides[e] = &[2][]evidence.Connection{}
	}
	sides[e][d] = append(sides[e][d], c)
}

// covers says which connections a rule of the baseline allows at their source, so that DNS is not
// repeated in every policy.
func covers(sample *inventory.Sample, policies []*networkingv1.NetworkPolicy) (func(evidence.Connection) bool, error) {
	snapshot, err := sample.Compile(policies)
	if err != nil {
		return nil, err
	}
	return func(c evidence.Connection) bool {
		pairs, err := sample.Pairs(c.From, c.To)
		if err != nil {
			return false // the proof reports it
		}
		for _, p := range pairs {
			v := snapshot.Evaluate(netpol.Connection{From: p[0], To: p[1], Protocol: c.Protocol, Port: c.Port})
			if v.Egress.Reason != netpol.RuleMatched {
				return false
			}
		}
		return true
	}, nil
}

// fileNames names each workload's file, and with it its policy, after the workload. Two kinds of
// workload may share a name, and a workload may be called as one of our own files: then the kind
// is added.
func fileNames(sides map[edge.Endpoint]*[2][]evidence.Connection) map[edge.Endpoint]string {
	uses := map[string]int{"baseline": 1, "kustomization": 1, baseline.DefaultDenyName: 1, baseline.AllowDNSName: 1}
	for e := range sides {
		uses[e.Name]++
	}
	names := map[edge.Endpoint]string{}
	for e := range sides {
		names[e] = e.Name
		if uses[e.Name] > 1 {
			names[e] = e.Name + "-" + strings.ToLower(e.Kind)
		}
	}
	return names
}

func policy(w *inventory.Workload, name string, side *[2][]evidence.Connection, inv *inventory.Inventory) (Policy, error) {
	if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
		return Policy{}, fmt.Errorf("%s: its name cannot name a policy: %s", w.Endpoint(), strings.Join(problems, "; "))
	}
	p := Policy{File: name + ".yaml", Workload: w.Endpoint(), Object: &networkingv1.NetworkPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: networkingv1.SchemeGroupVersion.String(), Kind: "NetworkPolicy"},
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name},
		Spec:       networkingv1.NetworkPolicySpec{PodSelector: *w.Selector.DeepCopy()},
	}}
	spec := &p.Object.Spec
	// A direction without a rule is not named: isolating it is the baseline's business.
	for i, g := range group(side[netpol.Ingress], netpol.Ingress) {
		if i == 0 {
			spec.PolicyTypes = append(spec.PolicyTypes, networkingv1.PolicyTypeIngress)
		}
		spec.Ingress = append(spec.Ingress, networkingv1.NetworkPolicyIngressRule{From: peers(g.peers, inv), Ports: ports(g.ports)})
		p.Rules = append(p.Rules, Rule{fmt.Sprintf("spec.ingress[%d]", i), g.connections})
	}
	for i, g := range group(side[netpol.Egress], netpol.Egress) {
		if i == 0 {
			spec.PolicyTypes = append(spec.PolicyTypes, networkingv1.PolicyTypeEgress)
		}
		spec.Egress = append(spec.Egress, networkingv1.NetworkPolicyEgressRule{To: peers(g.peers, inv), Ports: ports(g.ports)})
		p.Rules = append(p.Rules, Rule{fmt.Sprintf("spec.egress[%d]", i), g.connections})
	}
	return p, nil
}
