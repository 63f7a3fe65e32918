// SPDX-License-Identifier: Apache-2.0

package proof

import (
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// baselineRules tells the egress rules that say what the baseline says: the way to the cluster's DNS, for every pod of
// the namespace. What the policy is called does not matter: anybody can give a policy a name.
func baselineRules(p *networkingv1.NetworkPolicy, dns baseline.DNSTargets) func(*networkingv1.NetworkPolicyEgressRule) bool {
	if !selectsAll(p) {
		return func(*networkingv1.NetworkPolicyEgressRule) bool { return false }
	}
	known := baseline.DNS(p.Namespace, dns).Spec.Egress
	return func(rule *networkingv1.NetworkPolicyEgressRule) bool {
		for i := range known {
			if equality.Semantic.DeepEqual(&known[i], rule) {
				return true
			}
		}
		return false
	}
}

func selectsAll(p *networkingv1.NetworkPolicy) bool {
	s := &p.Spec.PodSelector
	return len(s.MatchLabels)+len(s.MatchExpressions) == 0
}
