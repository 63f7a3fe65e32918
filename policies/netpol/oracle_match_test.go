// SPDX-License-Identifier: Apache-2.0

package netpol_test

import (
	"net"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// What matches, as the oracle reads it. Everything with a fault matches nothing.

// policyRule is a rule of a NetworkPolicy, of either direction.
type policyRule struct {
	peers []networkingv1.NetworkPolicyPeer
	ports []networkingv1.NetworkPolicyPort
}

func policyRules(np *networkingv1.NetworkPolicy, d networkingv1.PolicyType) (all []policyRule) {
	if d == networkingv1.PolicyTypeEgress {
		for _, r := range np.Spec.Egress {
			all = append(all, policyRule{r.To, r.Ports})
		}
		return all
	}
	for _, r := range np.Spec.Ingress {
		all = append(all, policyRule{r.From, r.Ports})
	}
	return all
}

// remember whether a part of an object is sound: texts do not change between two questions.
func (o *oracle) remember(part any, sound func() bool) bool {
	known, ok := o.remembered[part]
	if !ok {
		known = sound()
		o.remembered[part] = known
	}
	return known
}

func (o *oracle) peersInclude(np *networkingv1.NetworkPolicy, peers []networkingv1.NetworkPolicyPeer, p *party) bool {
	for i := range peers {
		if o.remember(&peers[i], func() bool { return soundPeer(&peers[i]) }) && o.peerIncludes(np, &peers[i], p) {
			return true
		}
	}
	return len(peers) == 0
}

func (o *oracle) peerIncludes(np *networkingv1.NetworkPolicy, peer *networkingv1.NetworkPolicyPeer, p *party) bool {
	if peer.IPBlock != nil {
		inside := inRange(peer.IPBlock.CIDR, p.ip) && (p.ip != nil || len(peer.IPBlock.Except) == 0)
		for _, except := range peer.IPBlock.Except {
			inside = inside && !inRange(except, p.ip)
		}
		return inside
	}
	if p.pod == nil {
		return false
	}
	if peer.NamespaceSelector == nil && p.pod.Namespace != np.Namespace {
		return false
	}
	return (peer.NamespaceSelector == nil || o.labelsMatch(peer.NamespaceSelector, o.labelsOfNamespace(p.pod.Namespace))) &&
		(peer.PodSelector == nil || o.labelsMatch(peer.PodSelector, p.pod.Labels))
}

func (o *oracle) labelsOfNamespace(name string) map[string]string {
	all, ok := o.namespaceLabels[name]
	if ok {
		return all
	}
	all = map[string]string{}
	for _, ns := range o.Namespaces {
		if ns.Name == name {
			for k, v := range ns.Labels {
				all[k] = v
			}
		}
	}
	all[corev1.LabelMetadataName] = name
	o.namespaceLabels[name] = all
	return all
}

// inRange: an address that is not known yet is in those ranges that have all of a family.
func inRange(cidr string, ip net.IP) bool {
	_, block, err := net.ParseCIDR(cidr)
	if err == nil && ip == nil {
		return ones(block) == 0
	}
	if err != nil || len(block.IP) != len(ip) {
		return false
	}
	for i := range ip {
		if ip[i]&block.Mask[i] != block.IP[i] {
			return false
		}
	}
	return true
}

func (o *oracle) portsInclude(ports []networkingv1.NetworkPolicyPort, f flow, to *party) bool {
	for i := range ports {
		if o.remember(&ports[i], func() bool { return soundPort(&ports[i]) }) && portIncludes(&ports[i], f, to) {
			return true
		}
	}
	return len(ports) == 0
}

func portIncludes(p *networkingv1.NetworkPolicyPort, f flow, to *party) bool {
	protocol := corev1.ProtocolTCP
	if p.Protocol != nil {
		protocol = *p.Protocol
	}
	switch {
	case protocol != f.protocol:
		return false
	case p.Port == nil:
		return true
	case p.Port.Type == intstr.String:
		return to.pod != nil && slices.Contains(namedNumbers(to.pod, p.Port.StrVal, protocol), int32(f.port))
	case p.EndPort != nil:
		return p.Port.IntVal <= int32(f.port) && int32(f.port) <= *p.EndPort
	}
	return p.Port.IntVal == int32(f.port)
}

// namedNumbers are the ports to which the pod's containers and sidecars give the name.
func namedNumbers(pod *corev1.Pod, name string, protocol corev1.Protocol) []int32 {
	var numbers []int32
	take := func(c *corev1.Container) {
		for _, p := range c.Ports {
			if p.Name == name && protocolOf(p.Protocol) == protocol && p.ContainerPort >= 1 && p.ContainerPort <= 65535 {
				numbers = append(numbers, p.ContainerPort)
			}
		}
	}
	for i := range pod.Spec.Containers {
		take(&pod.Spec.Containers[i])
	}
	for i := range pod.Spec.InitContainers {
		if c := &pod.Spec.InitContainers[i]; c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			take(c)
		}
	}
	return numbers
}

// labelsMatch is false for a selector with a fault.
func (o *oracle) labelsMatch(s *metav1.LabelSelector, labels map[string]string) bool {
	if !o.remember(s, func() bool { return soundSelector(s) }) {
		return false
	}
	for k, want := range s.MatchLabels {
		if got, ok := labels[k]; !ok || got != want {
			return false
		}
	}
	for _, e := range s.MatchExpressions {
		got, ok := labels[e.Key]
		listed := ok && slices.Contains(e.Values, got)
		switch {
		case e.Operator == "In" && !listed, e.Operator == "NotIn" && listed,
			e.Operator == "Exists" && !ok, e.Operator == "DoesNotExist" && ok:
			return false
		}
	}
	return true
}
