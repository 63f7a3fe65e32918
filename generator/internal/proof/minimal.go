// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"fmt"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// cut is one thing that can be taken away from a policy.
type cut struct {
	path string
	take func(*networkingv1.NetworkPolicy)
}

// surplus takes away every rule, peer and port of every policy but the baseline's, one at a time,
// and names those that no connection misses. A connection that is broken anyway misses nothing.
func surplus(full *netpol.Snapshot, policies []*networkingv1.NetworkPolicy, connections []evidence.Connection, sample *inventory.Sample) []string {
	var names []string
	for _, p := range policies {
		if isBaseline(p.Name) {
			continue
		}
		s := scopeOf(p, full, policies, connections, sample)
		for _, c := range cuts(p) {
			less := p.DeepCopy()
			// What isolates must stay said: a policy that names no policyTypes and loses its
			// last egress rule would stop isolating egress.
			less.Spec.PolicyTypes = isolates(p)
			c.take(less)
			if s.enough(less) {
				names = append(names, fmt.Sprintf("NetworkPolicy %s/%s %s", p.Namespace, p.Name, c.path))
			}
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

// cuts lists what can be taken away. The last peer or port of a rule is the rule itself: an empty
// list would mean everyone.
func cuts(p *networkingv1.NetworkPolicy) []cut {
	var out []cut
	for i, r := range p.Spec.Ingress {
		path := fmt.Sprintf("spec.ingress[%d]", i)
		out = append(out, cut{path, func(p *networkingv1.NetworkPolicy) { p.Spec.Ingress = slices.Delete(p.Spec.Ingress, i, i+1) }})
		out = append(out, parts(path, "from", len(r.From), len(r.Ports), func(p *networkingv1.NetworkPolicy) (*[]networkingv1.NetworkPolicyPeer, *[]networkingv1.NetworkPolicyPort) {
			return &p.Spec.Ingress[i].From, &p.Spec.Ingress[i].Ports
		})...)
	}
	for i, r := range p.Spec.Egress {
		path := fmt.Sprintf("spec.egress[%d]", i)
		out = append(out, cut{path, func(p *networkingv1.NetworkPolicy) { p.Spec.Egress = slices.Delete(p.Spec.Egress, i, i+1) }})
		out = append(out, parts(path, "to", len(r.To), len(r.Ports), func(p *networkingv1.NetworkPolicy) (*[]networkingv1.NetworkPolicyPeer, *[]networkingv1.NetworkPolicyPort) {
			return &p.Spec.Egress[i].To, &p.Spec.Egress[i].Ports
		})...)
	}
	return out
}

type partsOf func(*networkingv1.NetworkPolicy) (*[]networkingv1.NetworkPolicyPeer, *[]networkingv1.NetworkPolicyPort)

func parts(path, peerField string, peers, ports int, of partsOf) []cut {
	var out []cut
	for i := range peers {
		if peers == 1 {
			break
		}
		out = append(out, cut{fmt.Sprintf("%s.%s[%d]", path, peerField, i), func(p *networkingv1.NetworkPolicy) {
			if list, _ := of(p); len(*list) > 1 {
				*list = slices.Delete(*list, i, i+1)
			}
		}})
	}
	for i := range ports {
		if ports == 1 {
			break
		}
		out = append(out, cut{fmt.Sprintf("%s.ports[%d]", path, i), func(p *networkingv1.NetworkPolicy) {
			if _, list := of(p); len(*list) > 1 {
				*list = slices.Delete(*list, i, i+1)
			}
		}})
	}
	return out
}
