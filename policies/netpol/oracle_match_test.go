// SPDX-License-Identifier: Apache-2.0

package netpol_test

import (
	"net"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// What matches, as the oracle reads it. Everything with a fault matches nothing.

func (o *oracle) peersInclude(np *networkingv1.NetworkPolicy, peers []networkingv1.NetworkPolicyPeer, p *party) bool {
	for i := range peers {
		if soundPeer(&peers[i]) && o.peerIncludes(np, &peers[i], p) {
			return true
		}
	}
	return len(peers) == 0
}

func (o *oracle) peerIncludes(np *networkingv1.NetworkPolicy, peer *networkingv1.NetworkPolicyPeer, p *party) bool {
	if peer.IPBlock != nil {
		inside := inRange(peer.IPBlock.CIDR, p.ip)
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
	return (peer.NamespaceSelector == nil || labelsMatch(peer.NamespaceSelector, o.namespaceLabels(p.pod.Namespace))) &&
		(peer.PodSelector == nil || labelsMatch(peer.PodSelector, p.pod.Labels))
}

func (o *oracle) namespaceLabels(name string) map[string]string {
	all := map[string]string{}
	for _, ns := range o.Namespaces {
		if ns.Name == name {
			for k, v := range ns.Labels {
				all[k] = v
			}
		}
	}
	all["kubernetes.io/metadata.name"] = name
	return all
}

func inRange(cidr string, ip net.IP) bool {
	_, block, err := net.ParseCIDR(cidr)
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

func portsInclude(ports []networkingv1.NetworkPolicyPort, c netpol.Connection, to *party) bool {
	for i := range ports {
		if soundPort(&ports[i]) && portIncludes(&ports[i], c, to) {
			return true
		}
	}
	return len(ports) == 0
}

func portIncludes(p *networkingv1.NetworkPolicyPort, c netpol.Connection, to *party) bool {
	protocol := corev1.ProtocolTCP
	if p.Protocol != nil {
		protocol = *p.Protocol
	}
	switch {
	case protocol != c.Protocol:
		return false
	case p.Port == nil:
		return true
	case p.Port.Type == intstr.String:
		return to.pod != nil && slices.Contains(namedNumbers(to.pod, p.Port.StrVal, protocol), int32(c.Port))
	case p.EndPort != nil:
		return p.Port.IntVal <= int32(c.Port) && int32(c.Port) <= *p.EndPort
	}
	return p.Port.IntVal == int32(c.Port)
}

// labelsMatch is false for a selector with a fault.
func labelsMatch(s *metav1.LabelSelector, labels map[string]string) bool {
	if !soundSelector(s) {
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
