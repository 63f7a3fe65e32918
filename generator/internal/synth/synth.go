// SPDX-License-Identifier: Apache-2.0

// Package synth writes the policies that allow what was observed and nothing else: one policy a
// workload, one rule a peer. Its output depends on nothing but its input.
package synth

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Namespace is what one namespace gets.
type Namespace struct {
	Name string
	// Directions that are governed: the others are neither isolated nor spoken of.
	Directions baseline.Directions
	Baseline   []*networkingv1.NetworkPolicy // default-deny, and DNS where egress is governed
	Policies   []*networkingv1.NetworkPolicy // one a workload, ordered by name
	// Connections that enter or leave a pod of the namespace in a governed direction, those covered by the baseline
	// included.
	Connections []evidence.Connection
	// Shared are the workloads whose policies apply to pods of others, too, ordered.
	Shared []*inventory.Workload

	covered func(*evidence.Connection) bool // at their source
}

// All are the namespace's policies, baseline first.
func (n *Namespace) All() []*networkingv1.NetworkPolicy {
	return slices.Concat(n.Baseline, n.Policies)
}

// Write makes the policies of one namespace from its connections in the governed directions; others are left out. sample
// must be of the same inventory. budget is how many addresses that were not seen a rule may allow, so that it has fewer blocks.
func Write(name string, governed baseline.Directions, all []evidence.Connection, inv *inventory.Inventory, sample *inventory.Sample, dns baseline.DNSTargets, budget uint64) (*Namespace, error) {
	if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
		return nil, fmt.Errorf("namespace %q: %s", name, strings.Join(problems, "; "))
	}
	n := &Namespace{Name: name, Directions: governed, Baseline: []*networkingv1.NetworkPolicy{baseline.Isolate(name, governed)}}
	if governed.Egress {
		n.Baseline = append(n.Baseline, baseline.DNS(name, dns))
	}
	var err error
	if n.covered, err = covers(sample, n.Baseline); err != nil {
		return nil, fmt.Errorf("baseline of namespace %s: %w", name, err)
	}
	n.Connections = n.governed(all)
	sides := map[edge.Endpoint]*sides{}
	for i := range n.Connections {
		c := &n.Connections[i]
		enters, leaves := Governs(name, governed, &c.From, &c.To)
		if enters {
			put(sides, c.To, netpol.Ingress, c)
		}
		if leaves && !n.covered(c) {
			put(sides, c.From, netpol.Egress, c)
		}
	}
	names, selectors := policyNames(sides), newSelectors(inv)
	for workload, side := range sides {
		p, err := policy(inv.Workload(workload), names[workload], side, selectors, budget)
		if err != nil {
			return nil, err
		}
		n.Policies = append(n.Policies, p)
		if w := inv.Workload(workload); len(w.Also) > 0 {
			n.Shared = append(n.Shared, w)
		}
	}
	slices.SortFunc(n.Shared, func(a, b *inventory.Workload) int { return a.Endpoint().Compare(b.Endpoint()) })
	slices.SortFunc(n.Policies, func(a, b *networkingv1.NetworkPolicy) int { return cmp.Compare(a.Name, b.Name) })
	return n, nil
}

// BaselineAllows reports whether a connection that leaves the namespace is allowed by its baseline, as questions to the
// cluster's DNS are.
func (n *Namespace) BaselineAllows(k edge.Key) bool {
	leaves := k.From.IsPod() && k.From.Namespace == n.Name && !(k.To.IsPod() && k.To.Namespace == n.Name)
	return leaves && n.covered(&evidence.Connection{From: k.From, To: k.To, Protocol: k.Protocol, Port: k.Port})
}

// Governs says in which governed direction a connection enters or leaves a pod of the namespace: in neither, its policies
// are not about it.
func Governs(namespace string, governed baseline.Directions, from, to *edge.Endpoint) (enters, leaves bool) {
	return governed.Ingress && to.IsPod() && to.Namespace == namespace, governed.Egress && from.IsPod() && from.Namespace == namespace
}

// governed are the connections that enter or leave in a governed direction: mostly all of them, and then the given ones.
func (n *Namespace) governed(all []evidence.Connection) []evidence.Connection {
	outside := func(c evidence.Connection) bool {
		enters, leaves := Governs(n.Name, n.Directions, &c.From, &c.To)
		return !enters && !leaves
	}
	if !slices.ContainsFunc(all, outside) {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), outside)
}

// sides are the connections of a workload, by netpol.Direction.
type sides [2][]*evidence.Connection

func put(all map[edge.Endpoint]*sides, e edge.Endpoint, d netpol.Direction, c *evidence.Connection) {
	of := all[e]
	if of == nil {
		of = &sides{}
		all[e] = of
	}
	of[d] = append(of[d], c)
}

// covers says which connections a rule of the baseline allows at their source, so that DNS is not
// repeated in every policy.
func covers(sample *inventory.Sample, policies []*networkingv1.NetworkPolicy) (func(*evidence.Connection) bool, error) {
	snapshot, err := sample.Compile(policies)
	if err != nil {
		return nil, err
	}
	ports, all := portsOf(policies)
	return func(c *evidence.Connection) bool {
		if !all && !ports[portKey{c.Protocol, c.Port}] {
			return false // as most are, and this takes less time
		}
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

// portsOf are the ports that egress rules name; true where one is about more than single ports by their numbers.
func portsOf(policies []*networkingv1.NetworkPolicy) (ports map[portKey]bool, more bool) {
	ports = map[portKey]bool{}
	for _, p := range policies {
		for _, r := range p.Spec.Egress {
			more = more || len(r.Ports) == 0
			for _, port := range r.Ports {
				if port.Port == nil || port.Port.Type != intstr.Int || port.EndPort != nil || port.Protocol == nil {
					return nil, true
				}
				ports[portKey{*port.Protocol, uint16(port.Port.IntVal)}] = true
			}
		}
	}
	return ports, more
}

// policyNames names each workload's policy, and with it its file, after the workload. Two kinds of
// workload may share a name, and a workload may be called as one of our own files: then the kind
// is added.
func policyNames[T any](all map[edge.Endpoint]T) map[edge.Endpoint]string {
	uses := map[string]int{"baseline": 1, "kustomization": 1, "plan": 1}
	for _, name := range []string{baseline.DefaultDenyName, baseline.DenyIngressName, baseline.DenyEgressName, baseline.AllowDNSName} {
		uses[name] = 1
	}
	for e := range all {
		uses[e.Name]++
	}
	names := map[edge.Endpoint]string{}
	for _, e := range slices.SortedFunc(maps.Keys(all), edge.Endpoint.Compare) {
		name := e.Name
		for uses[name] > 1 || name != e.Name && uses[name] > 0 { // the name with the kind may be another workload's
			name += "-" + strings.ToLower(e.Kind)
		}
		if name != e.Name {
			uses[name]++
		}
		names[e] = name
	}
	return names
}

func policy(w *inventory.Workload, name string, side *sides, selectors *selectors, budget uint64) (*networkingv1.NetworkPolicy, error) {
	if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
		return nil, fmt.Errorf("%s: its name cannot name a policy: %s", w.Endpoint(), strings.Join(problems, "; "))
	}
	spec := networkingv1.NetworkPolicySpec{PodSelector: *w.Selector.DeepCopy()}
	for _, r := range group(side[netpol.Ingress], netpol.Ingress, budget) {
		spec.Ingress = append(spec.Ingress, networkingv1.NetworkPolicyIngressRule{From: peers(r.peers, selectors), Ports: ports(r.ports)})
	}
	for _, r := range group(side[netpol.Egress], netpol.Egress, budget) {
		spec.Egress = append(spec.Egress, networkingv1.NetworkPolicyEgressRule{To: peers(r.peers, selectors), Ports: ports(r.ports)})
	}
	// A direction without a rule is not named: isolating it is the baseline's business.
	if len(spec.Ingress) > 0 {
		spec.PolicyTypes = append(spec.PolicyTypes, networkingv1.PolicyTypeIngress)
	}
	if len(spec.Egress) > 0 {
		spec.PolicyTypes = append(spec.PolicyTypes, networkingv1.PolicyTypeEgress)
	}
	return &networkingv1.NetworkPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: networkingv1.SchemeGroupVersion.String(), Kind: "NetworkPolicy"},
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name},
		Spec:       spec,
	}, nil
}
