// SPDX-License-Identifier: Apache-2.0

package netpol

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Explanation is a verdict with what it rests on.
type Explanation struct {
	// Connection as it was asked about, with its protocol filled in.
	Connection Connection
	// Verdict is Evaluate's.
	Verdict         Verdict
	Egress, Ingress Side
}

// Denied are the sides that deny the connection, egress first; nil when it is allowed.
func (e *Explanation) Denied() (sides []*Side) {
	for _, s := range []*Side{&e.Egress, &e.Ingress} {
		if !s.Decision.Allowed {
			sides = append(sides, s)
		}
	}
	return sides
}

// Side is one side of a connection as it was judged, after the translation of a Service.
type Side struct {
	Direction Direction
	Decision  Decision
	// Self is the end whose policies were asked, Peer the other. Both are zero where an end is not known.
	Self, Peer End
	Protocol   corev1.Protocol
	// Port at the destination; 0 when a Service does not lead to one.
	Port uint16
	// Policies are all that have rules for Self in this direction or isolate it, in the order in which they
	// are asked; nil where policies have no say.
	Policies []Governor
	// Trials are the rules that were asked, up to the one that decided, best match first. At most MaxTrials.
	Trials []Trial
	// Omitted counts the rules that were asked and are not among Trials.
	Omitted int
}

// TierOf is the tier of the policy that an origin is of; Admin if it does not govern the side.
func (s *Side) TierOf(o *Origin) Tier {
	for _, g := range s.Policies {
		if g.Origin.Kind == o.Kind && g.Origin.Namespace == o.Namespace && g.Origin.Name == o.Name {
			return g.Tier
		}
	}
	return Admin
}

// Governor is a policy that governs one side.
type Governor struct {
	// Origin is the policy as a whole.
	Origin Origin
	Tier   Tier
}

// End is one end of a connection as policies see it. The zero End is one that is not known.
type End struct {
	// Pod that policies can select; the zero name when there is none.
	Pod types.NamespacedName
	// HostPod was asked for but is on its node's network, so that policies see only an address. The zero
	// name otherwise.
	HostPod types.NamespacedName
	// Addr is invalid when no address is known.
	Addr netip.Addr
	// Node on which the pod runs, or that has the address; empty when neither.
	Node string
	// Labels of the pod and of its namespace; nil when there is no pod.
	Labels, NamespaceLabels map[string]string
}

// question is what one side was asked.
type question struct {
	direction               Direction
	self, peer, destination Endpoint
	connection              Connection // protocol and port as this side sees them
}

// Explain judges a connection as Evaluate does, and tells what was asked and why it matched or not.
func (s *Snapshot) Explain(c Connection) Explanation {
	c.Protocol = defaultProtocol(c.Protocol)
	e := Explanation{Connection: c, Verdict: s.Evaluate(c)}
	egress, ingress := s.questions(c)
	e.Egress = s.side(&egress, &e.Verdict.Egress)
	e.Ingress = s.side(&ingress, &e.Verdict.Ingress)
	e.Egress.Self.HostPod, e.Ingress.Peer.HostPod = hostPod(c.From, egress.self), hostPod(c.From, ingress.peer)
	to := c.To
	if e.Verdict.Resolved != nil {
		to.Pod = e.Verdict.Resolved.Backend
	}
	e.Egress.Peer.HostPod, e.Ingress.Self.HostPod = hostPod(to, egress.peer), hostPod(to, ingress.self)
	return e
}

func hostPod(p Peer, e Endpoint) types.NamespacedName {
	if e.pod != nil || !e.Addr.IsValid() {
		return types.NamespacedName{}
	}
	return p.Pod
}

// questions are what Evaluate asks the two sides. An end that is not known is a zero Endpoint.
func (s *Snapshot) questions(c Connection) (egress, ingress question) {
	f, ok := s.frontend(&c)
	if ok {
		return s.serviceQuestions(&f, c)
	}
	from, _ := s.resolve(c.From, s.familyOf(c.To))
	to, _ := s.resolve(c.To, from.Addr)
	return question{Egress, from, to, to, c}, question{Ingress, to, from, to, c}
}

// serviceQuestions are those about the way that evaluateService names: the first that is denied, else the first.
func (s *Snapshot) serviceQuestions(f *frontend, c Connection) (egress, ingress question) {
	family := f.addr
	if !family.IsValid() {
		family = s.familyOf(c.From)
	}
	from, known := s.resolve(c.From, family)
	routes := s.routes(f, &c, from)
	if len(routes) == 0 {
		c.Port = 0
		return question{direction: Egress, self: from, connection: c}, question{direction: Ingress, peer: from, connection: c}
	}
	taken := routes[0]
	for i := range routes {
		if v := s.take(f, &c, from, known, &routes[i]); !v.Allowed {
			taken = routes[i]
			break
		}
	}
	return s.routeQuestions(f, &c, from, &taken)
}

// routeQuestions follows take.
func (s *Snapshot) routeQuestions(f *frontend, c *Connection, from Endpoint, r *route) (egress, ingress question) {
	translated := Connection{Protocol: c.Protocol, Port: r.port}
	egress = question{Egress, from, r.to, r.to, translated}
	ingress = question{Ingress, r.to, from, r.to, translated}
	if r.masked && r.to.pod != nil {
		ingress.peer = s.sourceEndpoint(r.source)
	}
	if f.kind == onNode && from.pod != nil && from.pod.node != s.nodeAt(f.addr) {
		at := s.EndpointAt(f.addr)
		egress.peer, egress.destination, egress.connection = at, at, *c
	}
	return egress, ingress
}

func (s *Snapshot) side(q *question, d *Decision) Side {
	side := Side{
		Direction: q.direction, Decision: *d, Protocol: q.connection.Protocol, Port: q.connection.Port,
		Self: s.end(q.self), Peer: s.end(q.peer),
	}
	if q.self.pod == nil {
		return side
	}
	switch d.Reason {
	case RuleMatched, RuleDenied, NoRule, NotIsolated:
		side.Policies = q.self.rules(q.direction).governors()
		side.Trials, side.Omitted = q.trials(d)
	case OwnNode:
		side.Policies = q.self.rules(q.direction).governors()
	}
	return side
}

func (s *Snapshot) end(e Endpoint) End {
	if e.pod == nil {
		return End{Addr: e.Addr, Node: s.nodeAt(e.Addr)}
	}
	return End{Pod: e.pod.ref, Addr: e.Addr, Node: e.pod.node, Labels: e.pod.labels, NamespaceLabels: e.namespace.labels}
}

// governors are the policies of the set, each once.
func (s *RuleSet) governors() []Governor {
	var all []Governor
	for tier, rules := range s.Tiers {
		if Tier(tier) == NetworkPolicies {
			for _, o := range s.By {
				all = append(all, Governor{*o, NetworkPolicies})
			}
			continue
		}
		for i, r := range rules {
			if i > 0 && rules[i-1].Origin.Name == r.Origin.Name {
				continue
			}
			whole := r.Origin
			whole.Index, whole.Path, whole.Rule = -1, "spec", ""
			all = append(all, Governor{whole, Tier(tier)})
		}
	}
	return all
}

// SideAllows is what the policies of one pod let through to or from a peer, whatever the peer's own say:
// everything where self is not a pod.
func (s *Snapshot) SideAllows(self Endpoint, d Direction, peer Endpoint) PortSet {
	if d == Egress {
		return s.allowedBy(self, d, peer, peer)
	}
	if s.isOwnNode(peer, self) {
		return AllPorts()
	}
	return s.allowedBy(self, d, peer, self)
}
