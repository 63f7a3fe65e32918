// SPDX-License-Identifier: Apache-2.0

package netpol

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
)

// policy is one compiled NetworkPolicy.
type policy struct {
	namespace, name string
	pods            labels.Selector // which pods of the namespace it selects
	isolates        [2]bool         // by Direction
	origin          [2]Origin       // the policy as a whole, by Direction
	rules           [2][]*Rule      // by Direction
}

func (p *policy) key() string { return p.name }

// Validate lists the faults of a policy by the rules of the API server; nil when it has none.
func Validate(np *networkingv1.NetworkPolicy) []*ObjectError {
	_, faults := compilePolicy(np)
	return faults
}

func compilePolicy(np *networkingv1.NetworkPolicy) (*policy, []*ObjectError) {
	c := &policyCompiler{np: np, compiler: compiler{origin: Origin{
		Kind: kindPolicy, Namespace: np.Namespace, Name: np.Name, Commit: np.Annotations[CommitAnnotation],
	}}}
	p := c.compile()
	return p, c.faults
}

// policyCompiler collects the faults of one NetworkPolicy while it is compiled.
type policyCompiler struct {
	compiler
	np *networkingv1.NetworkPolicy
}

func (c *policyCompiler) compile() *policy {
	spec := &c.np.Spec
	p := &policy{namespace: c.np.Namespace, name: c.np.Name}
	c.checkName()
	c.checkNamespace()
	c.leave()
	p.isolates = c.directions()
	p.pods, _ = c.selector("podSelector", &spec.PodSelector) // invalid: it selects nothing
	for _, d := range []Direction{Ingress, Egress} {
		p.origin[d] = c.origin
		p.origin[d].Direction = d
	}
	for i := range spec.Ingress {
		r := &spec.Ingress[i]
		p.rules[Ingress] = c.rule(p.rules[Ingress], Ingress, i, r.From, r.Ports)
	}
	for i := range spec.Egress {
		r := &spec.Egress[i]
		p.rules[Egress] = c.rule(p.rules[Egress], Egress, i, r.To, r.Ports)
	}
	return p
}

func (c *policyCompiler) checkNamespace() {
	if c.np.Namespace == "" {
		c.fault("metadata.namespace", "a namespace is required, because a policy selects pods of its own namespace")
	} else if problems := validation.IsDNS1123Label(c.np.Namespace); problems != nil {
		c.fault("metadata.namespace", "%q: %s", c.np.Namespace, strings.Join(problems, "; "))
	}
}

// directions defaults policyTypes as the API reference says: Ingress always, Egress if there are
// egress rules. A word that is neither isolates in both, because either may have been meant.
func (c *policyCompiler) directions() (isolates [2]bool) {
	given := c.np.Spec.PolicyTypes
	if len(given) == 0 {
		return [2]bool{Ingress: true, Egress: len(c.np.Spec.Egress) > 0}
	}
	if len(given) > 2 {
		c.fault("policyTypes", "at most Ingress and Egress, got %d entries", len(given))
	}
	for i, t := range given {
		switch t {
		case networkingv1.PolicyTypeIngress:
			isolates[Ingress] = true
		case networkingv1.PolicyTypeEgress:
			isolates[Egress] = true
		default:
			c.fault(fmt.Sprintf("policyTypes[%d]", i), "%q is neither Ingress nor Egress", t)
			isolates = [2]bool{Ingress: true, Egress: true}
		}
	}
	return isolates
}

// rule appends the compiled rule, unless a fault leaves it nothing to match: dropping the last
// valid peer must not turn "these peers" into "everyone".
func (c *policyCompiler) rule(rules []*Rule, d Direction, index int,
	peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort,
) []*Rule {
	c.enter(d, index)
	r := &Rule{Origin: c.origin}
	c.list = peersField(d)
	for c.item = range peers {
		if m, ok := c.peer(&peers[c.item]); ok {
			r.Peers = append(r.Peers, m)
		}
	}
	c.list = "ports"
	for c.item = range ports {
		if m, ok := c.port(&ports[c.item]); ok {
			r.Ports = append(r.Ports, m)
		}
	}
	if len(peers) > 0 && len(r.Peers) == 0 || len(ports) > 0 && len(r.Ports) == 0 {
		return rules
	}
	return append(rules, r)
}

func (c *policyCompiler) peer(peer *networkingv1.NetworkPolicyPeer) (PeerMatch, bool) {
	m := PeerMatch{Index: c.item}
	if peer.IPBlock != nil {
		if peer.PodSelector != nil || peer.NamespaceSelector != nil {
			c.fault("", "ipBlock cannot be combined with podSelector or namespaceSelector; make them two entries")
			return m, false
		}
		return m, c.block(peer.IPBlock, &m)
	}
	if peer.PodSelector == nil && peer.NamespaceSelector == nil {
		c.fault("", "one of podSelector, namespaceSelector and ipBlock is required")
		return m, false
	}
	ok := true
	if m.Pods = labels.Everything(); peer.PodSelector != nil {
		m.Pods, ok = c.selector("podSelector", peer.PodSelector)
	}
	if peer.NamespaceSelector == nil {
		m.Namespace = c.np.Namespace
		return m, ok
	}
	selector, valid := c.selector("namespaceSelector", peer.NamespaceSelector)
	m.Namespaces = selector
	return m, ok && valid
}

func (c *policyCompiler) block(block *networkingv1.IPBlock, m *PeerMatch) bool {
	prefix, err := parsePrefix(block.CIDR)
	if err != nil {
		c.fault("ipBlock.cidr", "%v", err)
		return false
	}
	m.Block = prefix
	ok := true
	for i, e := range block.Except {
		except, err := parsePrefix(e)
		switch at := fmt.Sprintf("ipBlock.except[%d]", i); {
		case err != nil:
			c.fault(at, "%v", err)
			ok = false
		case !prefix.Contains(except.Addr()) || except.Bits() <= prefix.Bits():
			c.fault(at, "%s is not a strict part of %s", e, block.CIDR)
			ok = false
		default:
			m.Except = append(m.Except, except)
		}
	}
	return ok
}

func (c *policyCompiler) port(p *networkingv1.NetworkPolicyPort) (PortMatch, bool) {
	m := PortMatch{Index: c.item, Protocol: corev1.ProtocolTCP, To: 65535}
	if p.Protocol != nil {
		m.Protocol = *p.Protocol
	}
	before := len(c.faults)
	if !slices.Contains(portProtocols[:], m.Protocol) {
		c.fault("protocol", "%q is none of TCP, UDP and SCTP", m.Protocol)
	}
	switch {
	case p.Port == nil:
		if p.EndPort != nil {
			c.fault("endPort", "endPort needs port, the first of the range")
		}
	case p.Port.Type == intstr.String:
		m.Name, m.To = p.Port.StrVal, 0
		if problems := validation.IsValidPortName(m.Name); problems != nil {
			c.fault("port", "%q: %s", m.Name, strings.Join(problems, "; "))
		}
		if p.EndPort != nil {
			c.fault("endPort", "endPort cannot be used with the named port %q", m.Name)
		}
	default:
		c.portRange(p, &m)
	}
	return m, len(c.faults) == before
}

func (c *policyCompiler) portRange(p *networkingv1.NetworkPolicyPort, m *PortMatch) {
	first, last := p.Port.IntVal, p.Port.IntVal
	if p.EndPort != nil {
		last = *p.EndPort
	}
	switch {
	case first < 1 || first > 65535:
		c.fault("port", "%d is not between 1 and 65535", first)
	case last < first || last > 65535:
		c.fault("endPort", "%d is not between port %d and 65535", last, first)
	default:
		m.From, m.To = uint16(first), uint16(last)
	}
}
