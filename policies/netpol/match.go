// SPDX-License-Identifier: Apache-2.0

package netpol

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// PeerMatch is one entry of a rule's from or to list, compiled.
type PeerMatch struct {
	Index int // in the list as it was given
	// Namespace is the policy's own namespace; it is what a peer without namespaceSelector means.
	// Empty for every other peer.
	Namespace string
	// Namespaces is the namespaceSelector; nil when there is none.
	Namespaces labels.Selector
	// Pods is the podSelector, everything when the peer gives none; nil for a peer that is not pods.
	Pods labels.Selector
	// Nodes selects nodes; nil for a peer that is not nodes.
	Nodes labels.Selector
	// Block is the range of an ipBlock or network, masked; the zero Prefix when the peer is none.
	Block netip.Prefix
	// Except are the ranges left out of Block.
	Except []netip.Prefix
}

// Key is the same for two peers that match the same endpoints by construction.
func (m *PeerMatch) Key() string {
	switch {
	case m.Nodes != nil:
		return "nodes " + m.Nodes.String()
	case m.Pods == nil:
		return fmt.Sprintf("ip %v except %v", m.Block, m.Except)
	case m.Namespaces == nil:
		return "ns " + m.Namespace + " pods " + m.Pods.String()
	}
	return "nss " + m.Namespaces.String() + " pods " + m.Pods.String()
}

// Matches says whether the peer includes the endpoint.
func (m *PeerMatch) Matches(e Endpoint) bool {
	switch {
	case m.Nodes != nil:
		return e.pod == nil && e.node != nil && m.Nodes.Matches(e.node.labels)
	case m.Pods == nil:
		return m.matchesAddr(e.Addr)
	case e.pod == nil:
		return false
	case m.Namespaces == nil && e.pod.ref.Namespace != m.Namespace:
		return false
	case m.Namespaces != nil && !m.Namespaces.Matches(e.namespace.labels):
		return false
	}
	return m.Pods.Matches(e.pod.labels)
}

// matchesAddr: an address that is not known yet is in a range only if every address of a family is.
func (m *PeerMatch) matchesAddr(addr netip.Addr) bool {
	if !addr.IsValid() {
		return m.Block.Bits() == 0 && len(m.Except) == 0
	}
	if !m.Block.Contains(addr) {
		return false
	}
	return !slices.ContainsFunc(m.Except, func(x netip.Prefix) bool { return x.Contains(addr) })
}

// PortMatch is one entry of a rule's ports list, compiled.
type PortMatch struct {
	Index int // in the list as it was given
	// Protocol; empty means any, which only a named port can.
	Protocol corev1.Protocol
	// From and To bound the ports, both included. 0 and 65535: every port of the protocol.
	From, To uint16
	// Name of a container port of the destination pod; then From and To are 0.
	Name string
}

// Matches says whether the entry includes the protocol and port at the destination. Named ports match
// only where the destination is a pod that declares them.
func (m *PortMatch) Matches(protocol corev1.Protocol, port uint16, destination Endpoint) bool {
	if m.Protocol != protocol && m.Protocol != "" {
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

// String is the port as people write it: "TCP/443", "UDP/1000-2000", "TCP/http", "SCTP/*"; "*/http" for
// a named port of any protocol.
func (m *PortMatch) String() string {
	switch {
	case m.Name != "":
		return fmt.Sprintf("%s/%s", cmp.Or(m.Protocol, "*"), m.Name)
	case m.From == 0:
		return fmt.Sprintf("%s/*", m.Protocol)
	case m.From == m.To:
		return fmt.Sprintf("%s/%d", m.Protocol, m.From)
	}
	return fmt.Sprintf("%s/%d-%d", m.Protocol, m.From, m.To)
}

// Rule is one compiled rule. A rule matches when a peer and a port match.
type Rule struct {
	Origin Origin
	Action Action
	Peers  []PeerMatch // empty: everyone
	Ports  []PortMatch // empty: every protocol and port
}

// PeerPath is where peer i stands in the object: spec.egress[0].to[2].
func (r *Rule) PeerPath(i int) string {
	return r.Origin.Path + "." + peersField(r.Origin.Direction) + "[" + strconv.Itoa(r.Peers[i].Index) + "]"
}

// PortPath is where port i stands in the object: spec.ingress[0].ports[1].
func (r *Rule) PortPath(i int) string {
	list := "ports"
	if r.Origin.Kind == kindClusterPolicy {
		list = "protocols"
	}
	return r.Origin.Path + "." + list + "[" + strconv.Itoa(r.Ports[i].Index) + "]"
}

// peersField is the name of a rule's list of peers.
func peersField(d Direction) string {
	if d == Egress {
		return "to"
	}
	return "from"
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

// MatchesPrefix says whether the peer includes the addresses of a range that lie in no narrower
// range of any ipBlock. Only a range can.
func (m *PeerMatch) MatchesPrefix(p netip.Prefix) bool {
	if m.Pods != nil || m.Nodes != nil || !covers(m.Block, p) {
		return false
	}
	return !slices.ContainsFunc(m.Except, func(x netip.Prefix) bool { return covers(x, p) })
}

func covers(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}
