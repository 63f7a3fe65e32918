// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"slices"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Reduce takes away, last first, what no connection needs, and proves what is left as Prove does. Workloads whose
// selectors overlap (a canary, replicas without an owner) make rules that another rule covers already. A policy
// that loses its last rule is left out where another isolates all pods of the namespace; what isolates them
// stays. The given policies are not changed.
//
// One pass is enough: what is needed beside many rules is needed beside fewer.
func Reduce(policies []*networkingv1.NetworkPolicy, connections []evidence.Connection, sample *inventory.Sample, dns baseline.DNSTargets) ([]*networkingv1.NetworkPolicy, *Report, error) {
	j, err := newJudge(policies, sample, dns)
	if err != nil {
		return nil, nil, err
	}
	relevant, broken := j.weighAll(connections)
	if len(j.surplus()) == 0 {
		return policies, j.report(relevant, broken), nil
	}
	left := j.reduce()
	r, err := Prove(left, connections, sample, dns)
	return left, r, err
}

// reduce takes away what is not needed, and returns what is left of the policies.
func (j *judge) reduce() (left []*networkingv1.NetworkPolicy) {
	rules := make([][]*rule, len(j.policies))
	for _, r := range slices.Backward(j.rules) {
		if !r.baseline {
			r.reduce()
		}
		rules[r.policy] = append(rules[r.policy], r)
	}
	for i, p := range j.policies {
		if rest := j.rest(p, rules[i]); rest != nil {
			left = append(left, rest)
		}
	}
	return left
}

// reduce takes away the entries that are not needed, and then the rule if what is left is not.
func (r *rule) reduce() {
	for _, l := range []list{ports, peers} {
		kept := len(r.lists[l])
		for i := range slices.Backward(r.lists[l]) {
			if kept > 1 && !r.needs(l, i) {
				r.take(l, i)
				kept--
			}
		}
	}
	if !r.isNeeded() {
		r.takeWhole()
	}
}

// rest is what is left of a policy; nil: nothing. Its rules are given last first.
func (j *judge) rest(p *networkingv1.NetworkPolicy, rules []*rule) *networkingv1.NetworkPolicy {
	out := p.DeepCopy()
	for _, r := range rules {
		if r.direction == netpol.Ingress {
			at := &out.Spec.Ingress[r.index]
			at.From, at.Ports = kept(at.From, r.lists[peers]), kept(at.Ports, r.lists[ports])
			if r.whole.gone {
				out.Spec.Ingress = slices.Delete(out.Spec.Ingress, r.index, r.index+1)
			}
			continue
		}
		at := &out.Spec.Egress[r.index]
		at.To, at.Ports = kept(at.To, r.lists[peers]), kept(at.Ports, r.lists[ports])
		if r.whole.gone {
			out.Spec.Egress = slices.Delete(out.Spec.Egress, r.index, r.index+1)
		}
	}
	return j.settle(p, out)
}

func kept[T any](entries []T, parts []part) []T {
	var out []T
	for i, e := range entries {
		if !parts[i].gone {
			out = append(out, e)
		}
	}
	return out
}

// settle says which directions a policy isolates after it lost rules: those of before, but for the ones in
// which it has no rule any more and another policy isolates all pods.
func (j *judge) settle(before, after *networkingv1.NetworkPolicy) *networkingv1.NetworkPolicy {
	lost := func(t networkingv1.PolicyType) bool {
		if t == networkingv1.PolicyTypeIngress {
			return len(before.Spec.Ingress) > 0 && len(after.Spec.Ingress) == 0
		}
		return len(before.Spec.Egress) > 0 && len(after.Spec.Egress) == 0
	}
	if !lost(networkingv1.PolicyTypeIngress) && !lost(networkingv1.PolicyTypeEgress) {
		return after
	}
	after.Spec.PolicyTypes = slices.DeleteFunc(isolates(before), func(t networkingv1.PolicyType) bool {
		return lost(t) && isolated(j.policies, before.Namespace, t)
	})
	if len(after.Spec.PolicyTypes) == 0 {
		return nil
	}
	return after
}
