// SPDX-License-Identifier: Apache-2.0

package netpol

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Peer names one end of a connection, by pod or by address.
type Peer struct {
	// Pod; the zero name when the end is given by its address.
	Pod types.NamespacedName
	// Addr; the zero Addr means the pod's first address of the family that the other end has.
	Addr netip.Addr
	// Service names a Service, which only To can be; the zero name when the end is none, or is given
	// by the Service's address.
	Service types.NamespacedName
}

// Connection is what is judged: who opens it, to whom, to which port.
type Connection struct {
	From, To Peer
	Protocol corev1.Protocol
	// Port at the destination: the pod's port, or the Service's if To is the address of a Service.
	Port uint16
}

// Reason says why a side of a connection is allowed or denied.
type Reason string

// The reasons. Only RuleMatched, RuleDenied and NoRule come from a policy.
const (
	RuleMatched    Reason = "RuleMatched"    // allowed by Decision.Rule
	RuleDenied     Reason = "RuleDenied"     // denied by Decision.Rule, of the Admin or the Baseline tier
	NoRule         Reason = "NoRule"         // denied: isolated, and no rule matches
	NotIsolated    Reason = "NotIsolated"    // allowed: no tier decides, and no NetworkPolicy isolates the pod in this direction
	NotAPod        Reason = "NotAPod"        // allowed: this side has no pod that policies could select
	OwnNode        Reason = "OwnNode"        // allowed: from the pod's own node
	SamePod        Reason = "SamePod"        // allowed: a pod to itself
	UnknownPod     Reason = "UnknownPod"     // denied: the snapshot does not have this pod, or not its address
	UnknownBackend Reason = "UnknownBackend" // denied: the Service has no pod or no such port
)

// Decision is the verdict of one side.
type Decision struct {
	Allowed bool `json:"allowed"`
	// Isolated: a NetworkPolicy selects the pod in this direction.
	Isolated bool   `json:"isolated"`
	Reason   Reason `json:"reason"`
	// Rule that decided; nil unless Reason is RuleMatched or RuleDenied.
	Rule *Origin `json:"rule,omitempty"`
	// Passed is the last rule that left the decision to the next tier; nil when none did.
	Passed *Origin `json:"passed,omitempty"`
	// By are the policies that isolate the pod; nil unless Reason is NoRule.
	By []*Origin `json:"by,omitempty"`
}

// Verdict is the judgement of a connection: allowed when both sides allow it.
type Verdict struct {
	Allowed bool     `json:"allowed"`
	Egress  Decision `json:"egress"`
	Ingress Decision `json:"ingress"`
	// Resolved is how a Service address was read; nil when To was no such address.
	Resolved *Resolution `json:"resolved,omitempty"`
}

// Decider is the side that decided: the denying one, else ingress.
func (v *Verdict) Decider() (Direction, *Decision) {
	if !v.Egress.Allowed {
		return Egress, &v.Egress
	}
	return Ingress, &v.Ingress
}

// Evaluate judges a connection. It does not fail: what the snapshot does not know is denied, and
// the reason says so.
func (s *Snapshot) Evaluate(c Connection) Verdict {
	if svc := s.services[c.To.Addr.Unmap()]; svc != nil && c.To.Pod == (types.NamespacedName{}) {
		return s.evaluateService(svc, c)
	}
	c.Protocol = defaultProtocol(c.Protocol)
	from, fromKnown := s.resolve(c.From, s.familyOf(c.To))
	to, toKnown := s.resolve(c.To, from.Addr) // one connection, one family
	if !fromKnown || !toKnown {
		return unknown(fromKnown, toKnown)
	}
	if from.pod != nil && from.pod == to.pod {
		same := Decision{Allowed: true, Reason: SamePod}
		return Verdict{Allowed: true, Egress: same, Ingress: same}
	}
	v := Verdict{
		Egress:  decide(from, Egress, to, c, to),
		Ingress: decide(to, Ingress, from, c, to),
	}
	if node := s.nodes[from.Addr]; from.pod == nil && to.pod != nil && node != "" && node == to.pod.node {
		v.Ingress = Decision{Allowed: true, Isolated: v.Ingress.Isolated, Reason: OwnNode}
	}
	v.Allowed = v.Egress.Allowed && v.Ingress.Allowed
	return v
}

// evaluateService judges the connection to each pod behind the Service, at its address of the family
// that was asked for. All must be allowed, because the caller does not choose the pod.
func (s *Snapshot) evaluateService(svc *service, c Connection) Verdict {
	var first *Verdict
	family := c.To.Addr.Unmap()
	for _, p := range svc.backends {
		port, ok := svc.targetPort(p, defaultProtocol(c.Protocol), c.Port)
		addr := p.address(family)
		if !ok || addr.Is4() != family.Is4() {
			continue
		}
		to := Connection{From: c.From, To: Peer{Pod: p.ref, Addr: addr}, Protocol: c.Protocol, Port: port}
		v := s.Evaluate(to)
		v.Resolved = &Resolution{Service: svc.ref, Port: port, Backend: p.ref}
		if !v.Allowed {
			return v
		}
		if first == nil {
			first = &v
		}
	}
	if first == nil {
		none := Decision{Reason: UnknownBackend}
		return Verdict{Egress: none, Ingress: none, Resolved: &Resolution{Service: svc.ref}}
	}
	return *first
}

// resolve finds the endpoint that a peer names, if there is a choice in the given family. A pod on
// the host network becomes an address without a pod.
func (s *Snapshot) resolve(p Peer, family netip.Addr) (Endpoint, bool) {
	if p.Pod == (types.NamespacedName{}) {
		e := s.EndpointAt(p.Addr)
		return e, e.Addr.IsValid()
	}
	found := s.pods[p.Pod]
	if found == nil || found.completed {
		return Endpoint{}, false
	}
	addr := p.Addr.Unmap()
	if !addr.IsValid() {
		addr = found.address(family)
	}
	if found.hostNetwork {
		return Endpoint{Addr: addr}, addr.IsValid()
	}
	return Endpoint{Addr: addr, pod: found}, true
}

// familyOf is any address that tells the family a peer will use; invalid when it can use any.
func (s *Snapshot) familyOf(p Peer) netip.Addr {
	if p.Addr.IsValid() {
		return p.Addr.Unmap()
	}
	if found := s.pods[p.Pod]; found != nil && len(found.addrs) > 0 {
		return found.addrs[0]
	}
	return netip.Addr{}
}

// address is the pod's first address in the family of the given one, else its first at all. A pod
// that has none yet is judged by its labels alone.
func (p *pod) address(family netip.Addr) netip.Addr {
	for _, a := range p.addrs {
		if family.IsValid() && a.Is4() == family.Is4() {
			return a
		}
	}
	if len(p.addrs) > 0 {
		return p.addrs[0]
	}
	return netip.Addr{}
}

func unknown(fromKnown, toKnown bool) Verdict {
	side := func(known bool) Decision {
		if known {
			return Decision{Allowed: true, Reason: NotAPod}
		}
		return Decision{Reason: UnknownPod}
	}
	return Verdict{Egress: side(fromKnown), Ingress: side(toKnown)}
}

// decide is the heart: is the pod isolated in this direction, and does a rule match?
func decide(self Endpoint, d Direction, peer Endpoint, c Connection, destination Endpoint) Decision {
	if self.pod == nil {
		return Decision{Allowed: true, Reason: NotAPod}
	}
	set := self.pod.rules[d]
	if !set.Isolated {
		return Decision{Allowed: true, Reason: NotIsolated}
	}
	for _, r := range set.Rules {
		if r.MatchesPeer(peer) && r.MatchesPort(c.Protocol, c.Port, destination) {
			return Decision{Allowed: true, Isolated: true, Reason: RuleMatched, Rule: &r.Origin}
		}
	}
	return Decision{Isolated: true, Reason: NoRule, By: set.By}
}
