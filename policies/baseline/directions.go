// SPDX-License-Identifier: Apache-2.0

package baseline

import (
	"fmt"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Directions are those in which the pods of a namespace are isolated. The zero value is none: nobody has said.
type Directions struct{ Ingress, Egress bool }

// BothDirections are what onboarding isolates.
func BothDirections() Directions { return Directions{Ingress: true, Egress: true} }

// ParseDirections reads "ingress" and "egress", in any order and case. No words are the zero value.
func ParseDirections(words []string) (d Directions, err error) {
	for _, w := range words {
		switch strings.ToLower(w) {
		case "ingress":
			d.Ingress = true
		case "egress":
			d.Egress = true
		default:
			return Directions{}, fmt.Errorf("direction %q: give ingress, egress or both", w)
		}
	}
	return d, nil
}

// Has says whether a direction is among them.
func (d Directions) Has(one netpol.Direction) bool {
	return one == netpol.Ingress && d.Ingress || one == netpol.Egress && d.Egress
}

// Or are those of either.
func (d Directions) Or(o Directions) Directions {
	return Directions{d.Ingress || o.Ingress, d.Egress || o.Egress}
}

// Words are what ParseDirections reads; nil for the zero value.
func (d Directions) Words() (words []string) {
	for _, t := range d.types() {
		words = append(words, strings.ToLower(string(t)))
	}
	return words
}

// Missing are the directions that are not among them.
func (d Directions) Missing() (missing []netpol.Direction) {
	for _, one := range []netpol.Direction{netpol.Ingress, netpol.Egress} {
		if !d.Has(one) {
			missing = append(missing, one)
		}
	}
	return missing
}

func (d Directions) types() (types []networkingv1.PolicyType) {
	if d.Ingress {
		types = append(types, networkingv1.PolicyTypeIngress)
	}
	if d.Egress {
		types = append(types, networkingv1.PolicyTypeEgress)
	}
	return types
}

// Governed are the directions in which policies of one namespace isolate all of its pods; zero where none of them is a
// default-deny, which allows nothing. With one, policies that allow something to all pods count as well: they isolate.
func Governed(policies []*networkingv1.NetworkPolicy) (d Directions) {
	denies := false
	for _, p := range policies {
		if s := &p.Spec.PodSelector; len(s.MatchLabels)+len(s.MatchExpressions) > 0 || netpol.IsStaged(p) {
			continue
		}
		v := netpol.View(p)
		denies = denies || len(v.Allows) == 0
		d = d.Or(Directions{slices.Contains(v.Isolates, netpol.Ingress.String()), slices.Contains(v.Isolates, netpol.Egress.String())})
	}
	if !denies {
		return Directions{}
	}
	return d
}

// Isolate returns the policy that isolates every pod of the namespace in these directions and allows nothing: DefaultDeny
// for both. For one it is another policy, which is synced from Git as any other: onboarding does not know it, and
// the pod gate does not take it for its own.
func Isolate(namespace string, d Directions) *networkingv1.NetworkPolicy {
	p := managed(namespace, DefaultDenyName, networkingv1.NetworkPolicySpec{PodSelector: metav1.LabelSelector{}, PolicyTypes: d.types()})
	switch d {
	case Directions{Ingress: true}:
		p.Name, p.Labels[LabelManagedBy] = DenyIngressName, ManagedByGitOps
	case Directions{Egress: true}:
		p.Name, p.Labels[LabelManagedBy] = DenyEgressName, ManagedByGitOps
	}
	return p
}
