// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"cmp"
	"fmt"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Reduce takes away, last first, what no connection needs. Workloads whose selectors overlap (a
// canary, replicas without an owner) make rules that another rule covers already. Policies that
// keep no rule are left out; the given ones are not changed.
//
// Parts of a rule are listed after it, so going backwards no index shifts before it is used. One
// pass is enough: what is needed beside many rules is needed beside fewer.
func Reduce(policies []*networkingv1.NetworkPolicy, connections []evidence.Connection, sample *inventory.Sample) ([]*networkingv1.NetworkPolicy, error) {
	full, err := sample.Compile(policies)
	if err != nil {
		return nil, fmt.Errorf("compile policies: %w", err)
	}
	out := slices.Clone(policies)
	for i, p := range slices.Backward(policies) {
		if isBaseline(p.Name) {
			continue
		}
		s := scopeOf(p, full, out, connections, sample)
		for _, c := range slices.Backward(cuts(p)) {
			less := out[i].DeepCopy()
			if c.take(less); s.enough(less) {
				out[i] = less
			}
		}
		out[i] = named(out[i])
	}
	return slices.DeleteFunc(out, func(p *networkingv1.NetworkPolicy) bool {
		return !isBaseline(p.Name) && len(p.Spec.Ingress)+len(p.Spec.Egress) == 0
	}), nil
}

// named keeps only the policyTypes that have rules.
func named(p *networkingv1.NetworkPolicy) *networkingv1.NetworkPolicy {
	out := p.DeepCopy()
	out.Spec.PolicyTypes = slices.DeleteFunc(out.Spec.PolicyTypes, func(t networkingv1.PolicyType) bool {
		return t == networkingv1.PolicyTypeIngress && len(p.Spec.Ingress) == 0 || t == networkingv1.PolicyTypeEgress && len(p.Spec.Egress) == 0
	})
	return out
}

// Rule is one rule and the connections that it allows.
type Rule struct {
	Policy      string // name
	Path        string // spec.ingress[0]
	Connections []evidence.Connection
}

// Explain names, for each rule but the baseline's, the connections for which it is the reason. Rules
// are ordered by policy, ingress before egress, and index.
func Explain(policies []*networkingv1.NetworkPolicy, connections []evidence.Connection, sample *inventory.Sample) ([]Rule, error) {
	snapshot, err := sample.Compile(policies)
	if err != nil {
		return nil, fmt.Errorf("compile policies: %w", err)
	}
	type place struct {
		policy    string
		direction netpol.Direction
		index     int
	}
	rules := map[place]*Rule{}
	for i, c := range connections {
		pairs, err := sample.Pairs(c.From, c.To)
		if err != nil {
			return nil, err
		}
		for _, p := range pairs {
			v := snapshot.Evaluate(netpol.Connection{From: p[0], To: p[1], Protocol: c.Protocol, Port: c.Port})
			for _, o := range []*netpol.Origin{v.Egress.Rule, v.Ingress.Rule} {
				if o == nil || isBaseline(o.Name) {
					continue
				}
				at := place{o.Name, o.Direction, o.Index}
				if rules[at] == nil {
					rules[at] = &Rule{Policy: o.Name, Path: o.Path}
				}
				if r := rules[at]; len(r.Connections) == 0 || r.Connections[len(r.Connections)-1].String() != connections[i].String() {
					r.Connections = append(r.Connections, c)
				}
			}
		}
	}
	places := make([]place, 0, len(rules))
	for at := range rules {
		places = append(places, at)
	}
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.policy, b.policy), cmp.Compare(a.direction, b.direction), cmp.Compare(a.index, b.index))
	})
	out := make([]Rule, 0, len(places))
	for _, at := range places {
		out = append(out, *rules[at])
	}
	return out, nil
}
