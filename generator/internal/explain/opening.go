// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

type (
	networkPolicy = networkingv1.NetworkPolicy
	clusterPolicy = policyv1alpha2.ClusterNetworkPolicy
)

// Opening is what a step lets through on its side that was not let through before, whatever the other
// side says.
type Opening struct {
	// Pairs of a pod that is governed and a peer that is known: pods, nodes, and the end that was asked about.
	Pairs int `json:"pairs"`
	// Ports of all pairs together.
	Ports int `json:"ports"`
	// AtLeast: there are too many pairs to count.
	AtLeast bool `json:"atLeast,omitempty"`
}

// maxPairs bounds what is looked at for one candidate.
const maxPairs = 2_000_000

// measure counts what a candidate opens. It is false for one that closes something, or opens more than the
// best so far, of which there may be none.
func (w *World) measure(s *netpol.Snapshot, p *proven, side *netpol.Side, best *proven) bool {
	left := maxPairs
	peers := w.ends(p.snapshot, side)
	for _, kp := range w.Objects.Pods {
		name := nameOf(kp)
		self := p.snapshot.Endpoint(name)
		if p.Namespace != "" && kp.Namespace != p.Namespace || self.Pod() == none {
			continue
		}
		before, after := s.RuleSet(name, p.Side), p.snapshot.RuleSet(name, p.Side)
		rule := p.rule(&after)
		if rule == nil {
			continue
		}
		isolates := after.Isolated && !before.Isolated // then peers that the rule does not match may lose
		for _, peer := range peers {
			if left--; left < 0 {
				p.Opens.AtLeast = true
				return true
			}
			if peer.Pod() == name || !isolates && !rule.MatchesPeer(peer) {
				continue
			}
			if !p.compare(s, self, peer) || best != nil && p.worse(best) {
				return false
			}
		}
	}
	return true
}

// elsewhere stands for all addresses that are nobody's: of the ranges that are kept for documentation.
var elsewhere = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}

// ends are all that a pod can have as peers, with the peer of a side.
func (w *World) ends(s *netpol.Snapshot, side *netpol.Side) []netpol.Endpoint {
	all := s.NodeEndpoints()
	for _, kp := range w.Objects.Pods {
		if e := s.Endpoint(nameOf(kp)); e.Pod() != none {
			all = append(all, e)
		}
	}
	for _, addr := range elsewhere {
		all = append(all, s.EndpointAt(addr))
	}
	asked := side.Peer.Addr
	if asked.IsValid() && !slices.ContainsFunc(all, func(e netpol.Endpoint) bool { return e.Addr == asked }) {
		all = append(all, s.EndpointAt(asked))
	}
	return all
}

// matchesNobody says whether the peer that a candidate replaces matches no end that there is.
func (w *World) matchesNobody(s *netpol.Snapshot, c *candidate, side *netpol.Side) bool {
	set := s.RuleSet(side.Self.Pod, side.Direction)
	rule := c.rule(&set)
	for _, e := range w.ends(s, side) {
		for i := range rule.Peers {
			if rule.Peers[i].Index == *c.Index && rule.Peers[i].Matches(e) {
				return false
			}
		}
	}
	return true
}

// worse says whether a candidate can no longer be the best.
func (p *proven) worse(best *proven) bool {
	return best.settles && !p.repairs && p.Opens.Pairs > best.Opens.Pairs
}

// rule is the one that the candidate made or changed; nil: it is not in the set.
func (c *candidate) rule(set *netpol.RuleSet) *netpol.Rule {
	for _, r := range set.Tiers[c.tier] {
		if r.Origin.Name == c.Name && r.Origin.Index == c.index {
			return r
		}
	}
	return nil
}

// compare counts what one pair gains. It is false when it loses something.
func (p *proven) compare(s *netpol.Snapshot, self, peer netpol.Endpoint) bool {
	old := s.SideAllows(again(s, self), p.Side, again(s, peer))
	now := p.snapshot.SideAllows(self, p.Side, peer)
	if gained := now.Subtract(old); !gained.Empty() {
		p.Opens.Pairs++
		for _, r := range gained.Ranges() {
			p.Opens.Ports += int(r.To) - int(r.From) + 1
		}
	}
	return old.Subtract(now).Empty()
}

// again is an endpoint in another snapshot of the same pods.
func again(s *netpol.Snapshot, e netpol.Endpoint) netpol.Endpoint {
	if e.Pod() == none {
		return s.EndpointAt(e.Addr)
	}
	return s.Endpoint(e.Pod())
}

// Widths of what a rule opens to ends that are not known: the bits of an address that are free, or more than
// all of them.
const (
	everyone = 129
	manyPods = 1 // any pod that will come to the namespace
)

// breadth is how much a candidate opens beyond the ends that exist.
func (c *candidate) breadth(next *netpol.Snapshot, side *netpol.Side) (width int) {
	set := next.RuleSet(side.Self.Pod, side.Direction)
	rule := c.rule(&set)
	if rule == nil || c.Verb == PutBefore {
		return manyPods
	}
	if len(rule.Peers) == 0 {
		width = everyone
	}
	for i := range rule.Peers {
		if block := rule.Peers[i].Block; c.Verb == AddPort && block.IsValid() {
			width = max(width, block.Addr().BitLen()-block.Bits())
		}
	}
	if selector := c.set.Policies[0].Spec.PodSelector; len(selector.MatchLabels)+len(selector.MatchExpressions) == 0 {
		width += manyPods
	}
	return width
}

func portText(protocol corev1.Protocol, port uint16) string {
	return fmt.Sprintf("%s/%d", protocol, port)
}

// servicePorts are the ports of a Service, as people write them.
func servicePorts(svc *corev1.Service) (ports []string) {
	for _, p := range svc.Spec.Ports {
		protocol := p.Protocol
		if protocol == "" {
			protocol = corev1.ProtocolTCP
		}
		ports = append(ports, fmt.Sprintf("%s/%d", protocol, p.Port))
	}
	return ports
}
