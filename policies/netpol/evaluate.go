// SPDX-License-Identifier: Apache-2.0

package netpol

import (
	"net/netip"
	"slices"

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

// Evaluate judges a connection. It does not fail: what the snapshot does not know is denied, and
// the reason says so.
func (s *Snapshot) Evaluate(c Connection) Verdict {
	c.Protocol = defaultProtocol(c.Protocol)
	if f, ok := s.frontend(&c); ok {
		return s.evaluateService(&f, c)
	}
	from, fromKnown := s.resolve(c.From, s.familyOf(c.To))
	to, toKnown := s.resolve(c.To, from.Addr) // one connection, one family
	if !fromKnown || !toKnown {
		return unknown(fromKnown, toKnown)
	}
	return s.judge(from, to, &c)
}

// judge is the verdict between two endpoints.
func (s *Snapshot) judge(from, to Endpoint, c *Connection) Verdict {
	if from.pod != nil && from.pod == to.pod {
		same := Decision{Allowed: true, Reason: SamePod}
		return Verdict{Allowed: true, Egress: same, Ingress: same}
	}
	v := Verdict{Egress: decide(from, Egress, to, c, to), Ingress: s.admit(from, to, c)}
	v.Allowed = v.Egress.Allowed && v.Ingress.Allowed
	return v
}

// admit is the decision at the destination.
func (s *Snapshot) admit(from, to Endpoint, c *Connection) Decision {
	if s.isOwnNode(from, to) {
		return Decision{Allowed: true, Isolated: to.rules(Ingress).Isolated, Reason: OwnNode}
	}
	return decide(to, Ingress, from, c, to)
}

// resolve finds the endpoint that a peer names, if there is a choice in the given family. A pod on
// the host network becomes an address without a pod.
func (s *Snapshot) resolve(p Peer, family netip.Addr) (Endpoint, bool) {
	addr := p.Addr.Unmap()
	if p.Pod == (types.NamespacedName{}) {
		if !addr.IsValid() {
			return Endpoint{}, false
		}
		return s.EndpointAt(addr), true
	}
	found := s.pod(p.Pod)
	switch {
	case found == nil || found.completed:
		return Endpoint{}, false
	case !addr.IsValid():
		addr = found.address(family)
	case len(found.addrs) > 0 && !slices.Contains(found.addrs, addr):
		return Endpoint{}, false
	}
	if found.hostNetwork {
		return s.hostEndpoint(addr), addr.IsValid()
	}
	return s.endpoint(found, addr), true
}

// familyOf is any address that tells the family a peer will use; invalid when it can use any.
func (s *Snapshot) familyOf(p Peer) netip.Addr {
	if p.Addr.IsValid() {
		return p.Addr.Unmap()
	}
	if found := s.pod(p.Pod); found != nil && len(found.addrs) > 0 {
		return found.addrs[0]
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

// decide asks the rules of one side's pod, if it is one.
func decide(self Endpoint, d Direction, peer Endpoint, c *Connection, destination Endpoint) Decision {
	if self.pod == nil {
		return Decision{Allowed: true, Reason: NotAPod}
	}
	return self.rules(d).decide(peer, c, destination)
}
