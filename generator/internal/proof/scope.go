// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// scope is all that a change of one policy can reach: the pods that it selects, the other policies
// of those pods, and the connections that they take part in. What is outside decides the same
// with the policy and without it, so it need not be compiled again for every part taken away.
type scope struct {
	selected    map[types.NamespacedName]bool
	beside      []*networkingv1.NetworkPolicy
	connections []evidence.Connection // allowed by all policies together
	sample      *inventory.Sample     // the ends of connections
}

// scopeOf finds the scope of p in full, which is compiled from policies or from more than those.
func scopeOf(p *networkingv1.NetworkPolicy, full *netpol.Snapshot, policies []*networkingv1.NetworkPolicy, connections []evidence.Connection, sample *inventory.Sample) scope {
	s, names := scope{selected: map[types.NamespacedName]bool{}}, map[string]bool{}
	for _, pod := range sample.Pods {
		ref := types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
		if governing := governors(full, ref); ref.Namespace == p.Namespace && slices.Contains(governing, p.Name) {
			s.selected[ref] = true
			for _, name := range governing {
				names[name] = true
			}
		}
	}
	for _, other := range policies {
		if other.Namespace == p.Namespace && other.Name != p.Name && names[other.Name] {
			s.beside = append(s.beside, other)
		}
	}
	for _, c := range connections {
		pairs, _ := sample.Pairs(c.From, c.To) // no pairs: broken anyway
		reaches := slices.ContainsFunc(pairs, func(pair [2]netpol.Peer) bool { return s.selected[pair[0].Pod] || s.selected[pair[1].Pod] })
		if reaches && denied(full, sample, c) == "" {
			s.connections = append(s.connections, c)
		}
	}
	s.sample = sample.Only(evidence.Ends(s.connections))
	return s
}

// governors are the names of the policies that isolate a pod in either direction.
func governors(s *netpol.Snapshot, pod types.NamespacedName) []string {
	var names []string
	for _, d := range []netpol.Direction{netpol.Ingress, netpol.Egress} {
		for _, by := range s.RuleSet(pod, d).By {
			names = append(names, by.Name)
		}
	}
	return names
}

// enough reports whether every connection of the scope is allowed at its ends in the scope, with p
// as it is given.
func (s *scope) enough(p *networkingv1.NetworkPolicy) bool {
	snapshot, _ := s.sample.Compile(append(slices.Clone(s.beside), p)) // faults were reported before
	return !slices.ContainsFunc(s.connections, func(c evidence.Connection) bool {
		pairs, _ := s.sample.Pairs(c.From, c.To)
		return slices.ContainsFunc(pairs, func(pair [2]netpol.Peer) bool {
			v := snapshot.Evaluate(netpol.Connection{From: pair[0], To: pair[1], Protocol: c.Protocol, Port: c.Port})
			return s.selected[pair[0].Pod] && !v.Egress.Allowed || s.selected[pair[1].Pod] && !v.Ingress.Allowed
		})
	})
}
