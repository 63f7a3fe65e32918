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
func surplus(policies []*networkingv1.NetworkPolicy, connections []evidence.Connection, sample *inventory.Sample) []string {
	var names []string
	for i, p := range policies {
		if isBaseline(p.Name) {
			continue
		}
		local := governed(p, connections, sample)
		narrow := sample.Only(evidence.Ends(local))
		local = allowed(policies, local, narrow)
		reduced := slices.Clone(policies)
		for _, c := range cuts(p) {
			reduced[i] = p.DeepCopy()
			// What isolates must stay said: a policy that names no policyTypes and loses its
			// last egress rule would stop isolating egress.
			reduced[i].Spec.PolicyTypes = isolates(p)
			c.take(reduced[i])
			if len(allowed(reduced, local, narrow)) == len(local) {
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

// governed are the connections with an end that the policy isolates; no other can miss a part of it.
func governed(p *networkingv1.NetworkPolicy, connections []evidence.Connection, sample *inventory.Sample) []evidence.Connection {
	alone, _ := sample.Compile([]*networkingv1.NetworkPolicy{p}) // its faults were reported before
	return slices.DeleteFunc(slices.Clone(connections), func(c evidence.Connection) bool {
		pairs, _ := sample.Pairs(c.From, c.To) // no pairs: broken anyway
		return !slices.ContainsFunc(pairs, func(pair [2]netpol.Peer) bool {
			v := alone.Evaluate(netpol.Connection{From: pair[0], To: pair[1], Protocol: c.Protocol, Port: c.Port})
			return v.Egress.Isolated || v.Ingress.Isolated
		})
	})
}

func allowed(policies []*networkingv1.NetworkPolicy, connections []evidence.Connection, sample *inventory.Sample) []evidence.Connection {
	snapshot, _ := sample.Compile(policies) // the same
	return slices.DeleteFunc(slices.Clone(connections), func(c evidence.Connection) bool {
		return denied(snapshot, sample, c) != ""
	})
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
