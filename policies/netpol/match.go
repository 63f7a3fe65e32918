// SPDX-License-Identifier: Apache-2.0

package netpol

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// PeerMatch is one entry of a rule's from or to list, compiled.
type PeerMatch struct {
	Path string // spec.egress[0].to[2]
	// Namespace is the policy's own namespace; it is what a peer without namespaceSelector means.
	// Empty for an ipBlock and for a peer with a namespaceSelector.
	Namespace string
	// Namespaces is the namespaceSelector; nil when there is none.
	Namespaces labels.Selector
	// Pods is the podSelector; nil for an ipBlock, everything when the peer gives none.
	Pods labels.Selector
	// Block is the ipBlock's range, masked; the zero Prefix when the peer is no ipBlock.
	Block netip.Prefix
	// Except are the ranges left out of Block.
	Except []netip.Prefix
}

// Key is the same for two peers that match the same endpoints by construction.
func (m *PeerMatch) Key() string {
	if m.Pods == nil {
		return fmt.Sprintf("ip %v except %v", m.Block, m.Except)
	}
	if m.Namespaces == nil {
		return "ns " + m.Namespace + " pods " + m.Pods.String()
	}
	return "nss " + m.Namespaces.String() + " pods " + m.Pods.String()
}

// Matches says whether the peer includes the endpoint.
func (m *PeerMatch) Matches(e Endpoint) bool {
	if m.Pods == nil {
		return m.matchesAddr(e.Addr)
	}
	p := e.pod
	if p == nil {
		return false
	}
	if m.Namespaces == nil {
		if p.ref.Namespace != m.Namespace {
			return false
		}
	} else if !m.Namespaces.Matches(p.namespaceLabels) {
		return false
	}
	return m.Pods.Matches(p.labels)
}

func (m *PeerMatch) matchesAddr(addr netip.Addr) bool {
	if !m.Block.Contains(addr) {
		return false
	}
	return !slices.ContainsFunc(m.Except, func(x netip.Prefix) bool { return x.Contains(addr) })
}

// PortMatch is one entry of a rule's ports list, compiled.
type PortMatch struct {
	Path     string // spec.ingress[0].ports[1]
	Protocol corev1.Protocol
	// From and To bound the ports, both included. 0 and 65535: every port of the protocol.
	From, To uint16
	// Name of a container port of the destination pod; then From and To are 0.
	Name string
}

// Matches says whether the entry includes the protocol and port at the destination. Named ports match
// only where the destination is a pod that declares them.
func (m *PortMatch) Matches(protocol corev1.Protocol, port uint16, destination Endpoint) bool {
	if m.Protocol != protocol {
		return false
	}
	if m.Name == "" {
		return m.From <= port && port <= m.To
	}
	if destination.pod == nil {
		return false
	}
	for i := range destination.pod.ports {
		p := &destination.pod.ports[i]
		if p.name == m.Name && p.protocol == protocol && p.number == port {
			return true
		}
	}
	return false
}

// String is the port as people write it: "TCP/443", "UDP/1000-2000", "TCP/http", "SCTP/*".
func (m *PortMatch) String() string {
	switch {
	case m.Name != "":
		return fmt.Sprintf("%s/%s", m.Protocol, m.Name)
	case m.From == 0:
		return fmt.Sprintf("%s/*", m.Protocol)
	case m.From == m.To:
		return fmt.Sprintf("%s/%d", m.Protocol, m.From)
	}
	return fmt.Sprintf("%s/%d-%d", m.Protocol, m.From, m.To)
}

// Rule is one compiled allow rule. A rule matches when a peer and a port match.
type Rule struct {
	Origin Origin
	Peers  []PeerMatch // empty: everyone
	Ports  []PortMatch // empty: every protocol and port
}

// MatchesPeer says whether the rule is about the endpoint, whatever the port.
func (r *Rule) MatchesPeer(e Endpoint) bool {
	if len(r.Peers) == 0 {
		return true
	}
	for i := range r.Peers {
		if r.Peers[i].Matches(e) {
			return true
		}
	}
	return false
}

// MatchesPort says whether the rule is about the protocol and port, whoever the peer.
func (r *Rule) MatchesPort(protocol corev1.Protocol, port uint16, destination Endpoint) bool {
	if len(r.Ports) == 0 {
		return true
	}
	for i := range r.Ports {
		if r.Ports[i].Matches(protocol, port, destination) {
			return true
		}
	}
	return false
}

// RuleSet is all that governs one pod in one direction.
type RuleSet struct {
	// Isolated: some policy selects the pod in this direction, so what no rule allows is denied.
	Isolated bool
	// By are the policies that isolate it, ordered by name.
	By []*Origin
	// Rules in order of policy name and index. The first that matches is named as the reason; the
	// order decides nothing else, because all of them allow.
	Rules []*Rule
}

// Key is the same for two rule sets made of the same policies in the same order.
func (s *RuleSet) Key() string {
	var b strings.Builder
	for _, o := range s.By {
		fmt.Fprintf(&b, "%q/%q;", o.Namespace, o.Name) // quoted: a name with a fault may hold anything
	}
	return b.String()
}

// MatchesPrefix says whether the peer includes the addresses of a range that lie in no narrower
// range of any ipBlock. Only an ipBlock can.
func (m *PeerMatch) MatchesPrefix(p netip.Prefix) bool {
	if m.Pods != nil || !covers(m.Block, p) {
		return false
	}
	return !slices.ContainsFunc(m.Except, func(x netip.Prefix) bool { return covers(x, p) })
}

func covers(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}
