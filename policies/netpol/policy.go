// SPDX-License-Identifier: Apache-2.0

package netpol

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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

// Validate lists the faults of a policy by the rules of the API server; nil when it has none.
func Validate(np *networkingv1.NetworkPolicy) []*ObjectError {
	c := &policyCompiler{np: np}
	c.compile()
	return c.faults
}

// policyCompiler collects the faults of one policy while it is compiled.
type policyCompiler struct {
	np     *networkingv1.NetworkPolicy
	faults []*ObjectError
}

func (c *policyCompiler) fault(path, format string, args ...any) {
	c.faults = append(c.faults, &ObjectError{
		Object:  fmt.Sprintf("NetworkPolicy %s/%s", c.np.Namespace, c.np.Name),
		Path:    path,
		Problem: fmt.Sprintf(format, args...),
	})
}

func (c *policyCompiler) compile() *policy {
	np := c.np
	p := &policy{namespace: np.Namespace, name: np.Name}
	c.checkName()
	p.isolates = c.directions()
	if selector, ok := c.selector("spec.podSelector", &np.Spec.PodSelector); ok {
		p.pods = selector
	} else {
		p.pods = labels.Nothing()
	}
	for _, d := range []Direction{Ingress, Egress} {
		p.origin[d] = c.origin(d, -1, "spec")
	}
	for i := range np.Spec.Ingress {
		r := &np.Spec.Ingress[i]
		p.rules[Ingress] = c.rule(p.rules[Ingress], Ingress, i, "from", r.From, r.Ports)
	}
	for i := range np.Spec.Egress {
		r := &np.Spec.Egress[i]
		p.rules[Egress] = c.rule(p.rules[Egress], Egress, i, "to", r.To, r.Ports)
	}
	return p
}

func (c *policyCompiler) checkName() {
	if c.np.Name == "" {
		c.fault("metadata.name", "a name is required")
	} else if problems := validation.IsDNS1123Subdomain(c.np.Name); problems != nil {
		c.fault("metadata.name", "%q: %s", c.np.Name, strings.Join(problems, "; "))
	}
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
		c.fault("spec.policyTypes", "at most Ingress and Egress, got %d entries", len(given))
	}
	for i, t := range given {
		switch t {
		case networkingv1.PolicyTypeIngress:
			isolates[Ingress] = true
		case networkingv1.PolicyTypeEgress:
			isolates[Egress] = true
		default:
			c.fault(fmt.Sprintf("spec.policyTypes[%d]", i), "%q is neither Ingress nor Egress", t)
			isolates = [2]bool{Ingress: true, Egress: true}
		}
	}
	return isolates
}

func (c *policyCompiler) origin(d Direction, index int, path string) Origin {
	return Origin{
		Kind: "NetworkPolicy", Namespace: c.np.Namespace, Name: c.np.Name,
		Direction: d, Index: index, Path: path, Commit: c.np.Annotations[CommitAnnotation],
	}
}

func (c *policyCompiler) selector(path string, s *metav1.LabelSelector) (labels.Selector, bool) {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		c.fault(path, "invalid label selector: %v", err)
		return nil, false
	}
	return selector, true
}

// rule appends the compiled rule, unless a fault leaves it nothing to match: dropping the last
// valid peer must not turn "these peers" into "everyone".
func (c *policyCompiler) rule(rules []*Rule, d Direction, i int, peersField string,
	peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort,
) []*Rule {
	path := fmt.Sprintf("spec.%s[%d]", strings.ToLower(d.String()), i)
	r := &Rule{Origin: c.origin(d, i, path)}
	for j := range peers {
		if m, ok := c.peer(fmt.Sprintf("%s.%s[%d]", path, peersField, j), &peers[j]); ok {
			r.Peers = append(r.Peers, m)
		}
	}
	for j := range ports {
		if m, ok := c.port(fmt.Sprintf("%s.ports[%d]", path, j), &ports[j]); ok {
			r.Ports = append(r.Ports, m)
		}
	}
	if len(peers) > 0 && len(r.Peers) == 0 || len(ports) > 0 && len(r.Ports) == 0 {
		return rules
	}
	return append(rules, r)
}

func (c *policyCompiler) peer(path string, peer *networkingv1.NetworkPolicyPeer) (PeerMatch, bool) {
	m := PeerMatch{Path: path}
	if peer.IPBlock != nil {
		if peer.PodSelector != nil || peer.NamespaceSelector != nil {
			c.fault(path, "ipBlock cannot be combined with podSelector or namespaceSelector; make them two entries")
			return m, false
		}
		return m, c.block(path+".ipBlock", peer.IPBlock, &m)
	}
	if peer.PodSelector == nil && peer.NamespaceSelector == nil {
		c.fault(path, "one of podSelector, namespaceSelector and ipBlock is required")
		return m, false
	}
	ok := true
	if m.Pods = labels.Everything(); peer.PodSelector != nil {
		m.Pods, ok = c.selector(path+".podSelector", peer.PodSelector)
	}
	if peer.NamespaceSelector == nil {
		m.Namespace = c.np.Namespace
		return m, ok
	}
	selector, valid := c.selector(path+".namespaceSelector", peer.NamespaceSelector)
	m.Namespaces = selector
	return m, ok && valid
}

func (c *policyCompiler) block(path string, block *networkingv1.IPBlock, m *PeerMatch) bool {
	prefix, err := parsePrefix(block.CIDR)
	if err != nil {
		c.fault(path+".cidr", "%v", err)
		return false
	}
	m.Block = prefix
	ok := true
	for i, e := range block.Except {
		except, err := parsePrefix(e)
		switch at := fmt.Sprintf("%s.except[%d]", path, i); {
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

func parsePrefix(s string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return prefix, fmt.Errorf("%q is not a range of addresses such as 10.0.0.0/8 or 2001:db8::/32", s)
	}
	if prefix.Addr().Is4In6() {
		return prefix, fmt.Errorf("%q is an IPv4-mapped IPv6 range; write it as IPv4", s)
	}
	return prefix.Masked(), nil
}

func (c *policyCompiler) port(path string, p *networkingv1.NetworkPolicyPort) (PortMatch, bool) {
	m := PortMatch{Path: path, Protocol: corev1.ProtocolTCP, To: 65535}
	if p.Protocol != nil {
		m.Protocol = *p.Protocol
	}
	before := len(c.faults)
	if !slices.Contains([]corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}, m.Protocol) {
		c.fault(path+".protocol", "%q is none of TCP, UDP and SCTP", m.Protocol)
	}
	switch {
	case p.Port == nil:
		if p.EndPort != nil {
			c.fault(path+".endPort", "endPort needs port, the first of the range")
		}
	case p.Port.Type == intstr.String:
		m.Name, m.To = p.Port.StrVal, 0
		if problems := validation.IsValidPortName(m.Name); problems != nil {
			c.fault(path+".port", "%q: %s", m.Name, strings.Join(problems, "; "))
		}
		if p.EndPort != nil {
			c.fault(path+".endPort", "endPort cannot be used with the named port %q", m.Name)
		}
	default:
		c.portRange(path, p, &m)
	}
	return m, len(c.faults) == before
}

func (c *policyCompiler) portRange(path string, p *networkingv1.NetworkPolicyPort, m *PortMatch) {
	first, last := p.Port.IntVal, p.Port.IntVal
	if p.EndPort != nil {
		last = *p.EndPort
	}
	switch {
	case first < 1 || first > 65535:
		c.fault(path+".port", "%d is not between 1 and 65535", first)
	case last < first || last > 65535:
		c.fault(path+".endPort", "%d is not between port %d and 65535", last, first)
	default:
		m.From, m.To = uint16(first), uint16(last)
	}
}
