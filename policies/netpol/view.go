// SPDX-License-Identifier: Apache-2.0

package netpol

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// PolicyView is a compiled policy as plain data, for rules and reports that must not read the
// object's defaults a second time.
type PolicyView struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// SelectsAll: the policy selects every pod of its namespace.
	SelectsAll bool `json:"selectsAll"`
	// Isolates are the directions in which it isolates what it selects: Ingress, Egress.
	Isolates []string   `json:"isolates"`
	Allows   []RuleView `json:"allows"`
}

// RuleView is one allow rule. Rules in a direction in which the policy does not isolate allow
// nothing and are left out.
type RuleView struct {
	Direction string `json:"direction"` // Ingress or Egress
	Index     int    `json:"index"`
	Path      string `json:"path"`
	// Everyone: the rule names no peer.
	Everyone bool `json:"everyone"`
	// AllPorts: the rule names no port.
	AllPorts bool       `json:"allPorts"`
	Peers    []PeerView `json:"peers"`
	Ports    []PortView `json:"ports"`
}

// PeerView is one peer of a rule: selectors or a range of addresses.
type PeerView struct {
	Path string `json:"path"`
	// AllNamespaces and AllPods: the peer is pods, and the selector matches all of them.
	AllNamespaces bool `json:"allNamespaces"`
	AllPods       bool `json:"allPods"`
	// NamespaceSelector and PodSelector in the form of kubectl -l. NamespaceSelector of the
	// policy's own namespace is its standard label.
	NamespaceSelector string   `json:"namespaceSelector,omitempty"`
	PodSelector       string   `json:"podSelector,omitempty"`
	CIDR              string   `json:"cidr,omitempty"`
	Except            []string `json:"except,omitempty"`
}

// PortView is one port of a rule. From 0 with an empty Name: all ports of the protocol.
type PortView struct {
	Path     string `json:"path"`
	Protocol string `json:"protocol"`
	From     uint16 `json:"from"`
	To       uint16 `json:"to"`
	Name     string `json:"name,omitempty"`
}

// View is the compiled view of one policy. A part with a fault is left out: see Validate.
func View(np *networkingv1.NetworkPolicy) PolicyView {
	p, _ := compilePolicy(np)
	v := PolicyView{
		Namespace: p.namespace, Name: p.name, SelectsAll: p.pods.Empty(),
		Isolates: []string{}, Allows: []RuleView{},
	}
	for _, d := range []Direction{Ingress, Egress} {
		if !p.isolates[d] {
			continue
		}
		v.Isolates = append(v.Isolates, d.String())
		for _, r := range p.rules[d] {
			v.Allows = append(v.Allows, r.view())
		}
	}
	return v
}

func (r *Rule) view() RuleView {
	v := RuleView{
		Direction: r.Origin.Direction.String(), Index: r.Origin.Index, Path: r.Origin.Path,
		Everyone: len(r.Peers) == 0, AllPorts: len(r.Ports) == 0, Peers: []PeerView{}, Ports: []PortView{},
	}
	for i := range r.Peers {
		peer := r.Peers[i].view()
		peer.Path = r.PeerPath(i)
		v.Peers = append(v.Peers, peer)
	}
	for i, p := range r.Ports {
		v.Ports = append(v.Ports, PortView{Path: r.PortPath(i), Protocol: string(p.Protocol), From: p.From, To: p.To, Name: p.Name})
	}
	return v
}

func (m *PeerMatch) view() PeerView {
	if m.Pods == nil {
		return PeerView{CIDR: m.Block.String(), Except: prefixStrings(m.Except)}
	}
	v := PeerView{PodSelector: m.Pods.String(), AllPods: m.Pods.Empty()}
	if m.Namespaces == nil {
		v.NamespaceSelector = corev1.LabelMetadataName + "=" + m.Namespace
		return v
	}
	v.NamespaceSelector, v.AllNamespaces = m.Namespaces.String(), m.Namespaces.Empty()
	return v
}

func prefixStrings(prefixes []netip.Prefix) []string {
	var all []string
	for _, p := range prefixes {
		all = append(all, p.String())
	}
	return all
}
