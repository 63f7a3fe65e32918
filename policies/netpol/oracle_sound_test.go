// SPDX-License-Identifier: Apache-2.0

package netpol_test

import (
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// What is sound, by the rules of the API server.

func soundPolicy(np *networkingv1.NetworkPolicy) bool {
	sound := dnsName(np.Name, 253, true) && dnsName(np.Namespace, 63, false) &&
		soundSelector(&np.Spec.PodSelector) && len(np.Spec.PolicyTypes) <= 2
	for _, t := range np.Spec.PolicyTypes {
		sound = sound && (t == "Ingress" || t == "Egress")
	}
	for _, r := range np.Spec.Ingress {
		sound = sound && soundRule(r.From, r.Ports)
	}
	for _, r := range np.Spec.Egress {
		sound = sound && soundRule(r.To, r.Ports)
	}
	return sound
}

func soundRule(peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort) bool {
	for i := range peers {
		if !soundPeer(&peers[i]) {
			return false
		}
	}
	for i := range ports {
		if !soundPort(&ports[i]) {
			return false
		}
	}
	return true
}

func soundPeer(p *networkingv1.NetworkPolicyPeer) bool {
	selects := p.PodSelector != nil || p.NamespaceSelector != nil
	if p.IPBlock != nil {
		return !selects && soundBlock(p.IPBlock)
	}
	return selects && (p.PodSelector == nil || soundSelector(p.PodSelector)) &&
		(p.NamespaceSelector == nil || soundSelector(p.NamespaceSelector))
}

// soundBlock: ranges of their own family, and each except strictly inside the block.
func soundBlock(b *networkingv1.IPBlock) bool {
	outer := parseRange(b.CIDR)
	for _, e := range b.Except {
		inner := parseRange(e)
		if outer == nil || inner == nil || !outer.Contains(inner.IP) || ones(inner) <= ones(outer) {
			return false
		}
	}
	return outer != nil
}

func ones(n *net.IPNet) int {
	length, _ := n.Mask.Size()
	return length
}

func parseRange(s string) *net.IPNet {
	ip, block, err := net.ParseCIDR(s)
	if err != nil || ip.To4() != nil && strings.Contains(s, ":") || !strings.HasSuffix(s, "/"+strconv.Itoa(ones(block))) {
		return nil
	}
	return block
}

func soundPort(p *networkingv1.NetworkPolicyPort) bool {
	if p.Protocol != nil && *p.Protocol != "TCP" && *p.Protocol != "UDP" && *p.Protocol != "SCTP" {
		return false
	}
	if p.Port == nil || p.Port.Type == intstr.String {
		return p.EndPort == nil && (p.Port == nil || portName(p.Port.StrVal))
	}
	return p.Port.IntVal > 0 && p.Port.IntVal < 65536 && (p.EndPort == nil || *p.EndPort >= p.Port.IntVal && *p.EndPort < 65536)
}

func soundSelector(s *metav1.LabelSelector) bool {
	for k, v := range s.MatchLabels {
		if !labelKey(k) || !labelValue(v) {
			return false
		}
	}
	for _, e := range s.MatchExpressions {
		wantsValues := e.Operator == "In" || e.Operator == "NotIn"
		known := wantsValues || e.Operator == "Exists" || e.Operator == "DoesNotExist"
		if !known || wantsValues != (len(e.Values) > 0) || !labelKey(e.Key) || slices.ContainsFunc(e.Values, func(v string) bool { return !labelValue(v) }) {
			return false
		}
	}
	return true
}

func labelKey(k string) bool {
	if prefix, name, ok := strings.Cut(k, "/"); ok {
		return dnsName(prefix, 253, true) && name != "" && labelValue(name)
	}
	return k != "" && labelValue(k)
}

var (
	valuePattern     = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$`)
	labelPattern     = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	subdomainPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
)

func labelValue(v string) bool { return len(v) <= 63 && valuePattern.MatchString(v) }

func dnsName(s string, longest int, dots bool) bool {
	pattern := labelPattern
	if dots {
		pattern = subdomainPattern
	}
	return len(s) <= longest && pattern.MatchString(s)
}

// portName: at most 15 of a-z, 0-9 and single hyphens inside, with at least one letter.
func portName(s string) bool {
	return len(s) <= 15 && labelPattern.MatchString(s) && !strings.Contains(s, "--") && strings.ContainsAny(s, "abcdefghijklmnopqrstuvwxyz")
}
