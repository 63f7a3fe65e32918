// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"slices"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Sides are the policies with what they say about some directions; those that say nothing about them are left out. The
// zero value and both leave them as they are. The given policies are not changed.
func Sides(policies []*networkingv1.NetworkPolicy, d baseline.Directions) []*networkingv1.NetworkPolicy {
	if d == (baseline.Directions{}) || d == baseline.BothDirections() {
		return policies
	}
	var out []*networkingv1.NetworkPolicy
	for _, p := range policies {
		p = p.DeepCopy()
		netpol.SetDefaults(&p.Spec)
		for _, gone := range d.Missing() {
			p.Spec.PolicyTypes = slices.DeleteFunc(p.Spec.PolicyTypes, func(t networkingv1.PolicyType) bool { return string(t) == gone.String() })
			if gone == netpol.Ingress {
				p.Spec.Ingress = nil
			} else {
				p.Spec.Egress = nil
			}
		}
		if len(p.Spec.PolicyTypes) > 0 {
			out = append(out, p)
		}
	}
	return out
}
