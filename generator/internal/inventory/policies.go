// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"cmp"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// policies are the NetworkPolicies in force, by namespace; staged ones take no part.
type policies map[string][]*networkingv1.NetworkPolicy

func (all policies) add(p *networkingv1.NetworkPolicy) {
	if !netpol.IsStaged(p) {
		all[p.Namespace] = append(all[p.Namespace], p)
	}
}

func (all policies) settle() {
	for _, of := range all {
		slices.SortStableFunc(of, func(a, b *networkingv1.NetworkPolicy) int { return cmp.Compare(a.Name, b.Name) })
	}
}

// Policies are the NetworkPolicies in force in a namespace, ordered by name; nil: none is. They are not to be changed.
func (inv *Inventory) Policies(namespace string) []*networkingv1.NetworkPolicy {
	return inv.policies[namespace]
}

// Managed are those of a namespace's policies that Bulkhead keeps: the baseline, and what was synced from Git.
func (inv *Inventory) Managed(namespace string) []*networkingv1.NetworkPolicy {
	return inv.choose(namespace, isManaged)
}

// Foreign are those of a namespace's policies that Bulkhead does not keep, and that Git does not have, as its names say:
// what people and other programs made. They go on allowing, and isolating, whatever is merged.
func (inv *Inventory) Foreign(namespace string, git []*networkingv1.NetworkPolicy) []*networkingv1.NetworkPolicy {
	return inv.choose(namespace, func(p *networkingv1.NetworkPolicy) bool {
		return !isManaged(p) && !slices.ContainsFunc(git, func(o *networkingv1.NetworkPolicy) bool { return o.Namespace == namespace && o.Name == p.Name })
	})
}

func (inv *Inventory) choose(namespace string, wanted func(*networkingv1.NetworkPolicy) bool) (chosen []*networkingv1.NetworkPolicy) {
	for _, p := range inv.policies[namespace] {
		if wanted(p) {
			chosen = append(chosen, p)
		}
	}
	return chosen
}

func isManaged(p *networkingv1.NetworkPolicy) bool {
	by := p.Labels[baseline.LabelManagedBy]
	return by == baseline.ManagedByOnboarding || by == baseline.ManagedByGitOps
}
