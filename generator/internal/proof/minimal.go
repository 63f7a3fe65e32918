// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"maps"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Shadowed is a rule that connections match, and that other rules allow, all of them.
type Shadowed struct {
	Rule string   `json:"rule"`
	By   []string `json:"by"` // rules that allow some of what it allows, ordered
}

// surplus names the rules, peers and ports that no connection misses when they alone are taken away. The
// last peer or port of a rule is the rule itself: an empty list would mean everyone.
func (j *judge) surplus() []string {
	names := []string{}
	for _, r := range j.rules {
		if r.baseline {
			continue
		}
		if !r.isNeeded() {
			names = append(names, r.name())
		}
		for l, parts := range r.lists {
			for i := range parts {
				if len(parts) > 1 && !r.needs(list(l), i) {
					names = append(names, r.entry(list(l), i))
				}
			}
		}
	}
	return names
}

// shadowed lists the rules that are only ever a second reason.
func (j *judge) shadowed() []Shadowed {
	all := []Shadowed{}
	for _, r := range j.rules {
		if r.baseline || len(r.whole.supports) == 0 || r.isNeeded() {
			continue
		}
		by := map[string]bool{}
		for _, s := range r.whole.supports {
			for _, other := range s.demand.supports {
				by[other.rule.name()] = true
			}
		}
		delete(by, r.name())
		all = append(all, Shadowed{r.name(), slices.Sorted(maps.Keys(by))})
	}
	return all
}

// idle names the policies that select no pod. The baseline waits for pods, and a staged policy takes no part.
func (j *judge) idle() []string {
	type name struct{ namespace, name string }
	selecting := map[name]bool{}
	for _, p := range j.sample.Pods {
		if !j.namespaces[p.Namespace] {
			continue
		}
		for _, d := range []netpol.Direction{netpol.Ingress, netpol.Egress} {
			for _, o := range j.snapshot.RuleSet(types.NamespacedName{Namespace: p.Namespace, Name: p.Name}, d).By {
				selecting[name{o.Namespace, o.Name}] = true
			}
		}
	}
	names := []string{}
	for _, p := range j.policies {
		if !selecting[name{p.Namespace, p.Name}] && !selectsAll(p) && !netpol.IsStaged(p) {
			names = append(names, "NetworkPolicy "+p.Namespace+"/"+p.Name)
		}
	}
	return names
}

func isolates(p *networkingv1.NetworkPolicy) []networkingv1.PolicyType {
	var types []networkingv1.PolicyType
	for _, t := range netpol.View(p).Isolates {
		types = append(types, networkingv1.PolicyType(t))
	}
	return types
}

// isolated says whether a policy without any rule isolates all pods of a namespace in a direction, so that no
// other policy need do it.
func isolated(policies []*networkingv1.NetworkPolicy, namespace string, t networkingv1.PolicyType) bool {
	return slices.ContainsFunc(policies, func(p *networkingv1.NetworkPolicy) bool {
		return p.Namespace == namespace && selectsAll(p) && len(p.Spec.Ingress)+len(p.Spec.Egress) == 0 && slices.Contains(isolates(p), t)
	})
}
