// SPDX-License-Identifier: Apache-2.0

package netpol

import corev1 "k8s.io/api/core/v1"

// Allowed is everything that may pass from one endpoint to another: the ports for which Evaluate allows
// the connection between them, found without trying each.
func (s *Snapshot) Allowed(from, to Endpoint) PortSet {
	if from.pod != nil && from.pod == to.pod {
		return AllPorts()
	}
	egress := s.allowedBy(from, Egress, to, to)
	if egress.Empty() || s.isOwnNode(from, to) {
		return egress
	}
	return egress.Intersect(s.allowedBy(to, Ingress, from, to))
}

// allowedBy is what one side lets through.
func (s *Snapshot) allowedBy(self Endpoint, d Direction, peer, destination Endpoint) PortSet {
	if self.pod == nil {
		return AllPorts()
	}
	set := self.rules(d)
	var allowed PortSet
	left := AllPorts() // what no tier has decided
	for tier, rules := range set.Tiers {
		var passed PortSet
		for _, r := range rules {
			if left.Empty() || !r.MatchesPeer(peer) {
				continue
			}
			matched := left.Intersect(r.PortsAt(destination))
			switch r.Action {
			case Allow:
				allowed = allowed.Union(matched)
			case Pass:
				passed = passed.Union(matched)
			}
			left = left.Subtract(matched)
		}
		if Tier(tier) == NetworkPolicies && set.Isolated {
			return allowed
		}
		left = left.Union(passed)
	}
	return allowed.Union(left)
}

// PortsAt are the ports that the rule is about at a destination, whoever the peer.
func (r *Rule) PortsAt(destination Endpoint) PortSet {
	if len(r.Ports) == 0 {
		return AllPorts()
	}
	var ranges []PortRange
	for i := range r.Ports {
		p := &r.Ports[i]
		if p.Name == "" {
			ranges = append(ranges, PortRange{p.Protocol, p.From, p.To})
			continue
		}
		for _, protocol := range p.protocols() {
			for _, n := range destination.NamedPorts(p.Name, protocol) {
				ranges = append(ranges, PortRange{protocol, n, n})
			}
		}
	}
	return Ports(ranges...)
}

// protocols are those that a named port can have.
func (m *PortMatch) protocols() []corev1.Protocol {
	if m.Protocol == "" {
		return portProtocols[:]
	}
	return []corev1.Protocol{m.Protocol}
}
