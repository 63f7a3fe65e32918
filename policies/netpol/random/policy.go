// SPDX-License-Identifier: Apache-2.0

package random

import (
	"fmt"
	"math/bits"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func (g *Generator) policy(n int) *networkingv1.NetworkPolicy {
	np := &networkingv1.NetworkPolicy{TypeMeta: metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"}}
	np.Namespace, np.Name = Pick(g, "a", "a", "a", "b", "c"), fmt.Sprintf("np%d", n)
	if g.fault() {
		np.Name = Pick(g, "np1", "np1", "Upper", "", "-a", "a..b", "a.b", strings.Repeat("n", 254))
	}
	if g.faults > 0 && g.percent(1) {
		np.Namespace = Pick(g, "", "a.b", strings.Repeat("n", 64))
	}
	np.Spec.PodSelector = *g.selector("app", "env")
	np.Spec.PolicyTypes = g.policyTypes()
	np.Spec.Ingress = some(g, 3, func() networkingv1.NetworkPolicyIngressRule {
		return networkingv1.NetworkPolicyIngressRule{From: g.peers(), Ports: g.ports()}
	})
	np.Spec.Egress = some(g, 3, func() networkingv1.NetworkPolicyEgressRule {
		return networkingv1.NetworkPolicyEgressRule{To: g.peers(), Ports: g.ports()}
	})
	return np
}

func (g *Generator) policyTypes() []networkingv1.PolicyType {
	in, out := networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress
	if g.fault() {
		return Pick(g, []networkingv1.PolicyType{"ingress"}, []networkingv1.PolicyType{in, ""}, []networkingv1.PolicyType{in, out, in}, []networkingv1.PolicyType{in, in, in})
	}
	return Pick(g, nil, []networkingv1.PolicyType{}, []networkingv1.PolicyType{in}, []networkingv1.PolicyType{out}, []networkingv1.PolicyType{in, out}, []networkingv1.PolicyType{out, in})
}

func (g *Generator) selector(keys ...string) *metav1.LabelSelector {
	s := &metav1.LabelSelector{}
	switch g.IntN(9) {
	case 0, 1, 2:
	case 3, 4, 5:
		s.MatchLabels = map[string]string{g.key(keys): g.value()}
	case 6:
		s.MatchLabels = map[string]string{g.key(keys): g.value(), g.key(keys): g.value()}
	default:
		s.MatchExpressions = append(some(g, 1, func() metav1.LabelSelectorRequirement { return g.requirement(keys) }), g.requirement(keys))
	}
	return s
}

func (g *Generator) requirement(keys []string) metav1.LabelSelectorRequirement {
	r := metav1.LabelSelectorRequirement{
		Key:      g.key(keys),
		Operator: Pick(g, metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn, metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist),
	}
	if r.Operator == metav1.LabelSelectorOpIn || r.Operator == metav1.LabelSelectorOpNotIn {
		r.Values = append(some(g, 1, g.value), g.value())
	}
	if g.fault() {
		switch g.IntN(3) {
		case 0:
			r.Operator = Pick[metav1.LabelSelectorOperator](g, "in", "", "Equals")
		case 1:
			r.Values = nil // a fault for In and NotIn
		default:
			r.Values = append(r.Values, "x") // a fault for Exists and DoesNotExist
		}
	}
	return r
}

func (g *Generator) key(keys []string) string {
	if g.fault() {
		return Pick(g, "", "no such key", "-x", "x-", "/x", "x/", "a/b/c", "UPPER.example/x", strings.Repeat("k", 64))
	}
	return Pick(g, keys...)
}

func (g *Generator) value() string {
	if g.fault() {
		return Pick(g, "-x", "x.", "a b", "a/b", strings.Repeat("v", 64))
	}
	return Pick(g, "x", "x", "y", "", "a", "b", strings.Repeat("v", 63))
}

func (g *Generator) peers() []networkingv1.NetworkPolicyPeer {
	return some(g, 2, func() (p networkingv1.NetworkPolicyPeer) {
		if g.fault() {
			return Pick(g, networkingv1.NetworkPolicyPeer{}, networkingv1.NetworkPolicyPeer{IPBlock: g.block(), PodSelector: g.selector("app")},
				networkingv1.NetworkPolicyPeer{IPBlock: g.block(), NamespaceSelector: g.selector("env")})
		}
		kind := g.IntN(5)
		if kind < 2 {
			p.IPBlock = g.block()
		}
		if kind == 2 || kind == 4 {
			p.PodSelector = g.selector("app", "env", "example.com/tier")
		}
		if kind == 3 || kind == 4 {
			p.NamespaceSelector = g.selector("team", "env", corev1.LabelMetadataName)
		}
		return p
	})
}

// block is around an address that exists; its excepts are around others of the same family, and
// strictly inside it unless they are faults.
func (g *Generator) block() *networkingv1.IPBlock {
	if g.fault() {
		return &networkingv1.IPBlock{CIDR: Pick(g, "", "10.0.0.1", "10.0.0.0/33", "10.0.0.0/08", "fd00::/129", "::ffff:10.0.0.0/120", "10.0.0.0/-1", "ten/8")}
	}
	prefix := netip.MustParsePrefix(Pick(g, "10.0.0.1/32", "10.0.0.2/31", "10.0.0.5/29", "10.0.0.0/24", "10.0.1.0/24", "10.0.1.2/32",
		"10.0.0.0/15", "10.0.3.0/24", "192.0.2.0/24", "0.0.0.0/0", "0.0.0.0/0", "fd00::/64", "fd00::4/126", "fd00::1:0/112", "::/0", "2001:db8::1/128"))
	block := &networkingv1.IPBlock{CIDR: prefix.String()}
	for range Pick(g, 0, 0, 1, 2) {
		if g.fault() {
			block.Except = append(block.Except, Pick(g, "", "10.0.0.4", block.CIDR, "0.0.0.0/0", "::/0", "10.0.0.2/31", "fd00::2/127", "::ffff:10.0.0.1/128"))
		} else if inside, ok := g.inside(prefix); ok {
			block.Except = append(block.Except, inside)
		}
	}
	return block
}

// inside is a range strictly inside another, with host bits as people leave them; false if there is
// none.
func (g *Generator) inside(outer netip.Prefix) (string, bool) {
	total := outer.Addr().BitLen()
	free := total - outer.Bits()
	if free == 0 {
		return "", false
	}
	raw := outer.Masked().Addr().AsSlice()
	low := g.IntN(1 << min(free, 4))
	raw[len(raw)-1] |= byte(low)
	addr, _ := netip.AddrFromSlice(raw)
	longer := max(outer.Bits()+1, total-bits.Len(uint(g.IntN(16))))
	if g.percent(20) {
		longer = outer.Bits() + 1
	}
	return netip.PrefixFrom(addr, longer).String(), true
}

func (g *Generator) ports() []networkingv1.NetworkPolicyPort {
	return some(g, 2, func() (p networkingv1.NetworkPolicyPort) {
		if g.percent(50) {
			p.Protocol = new(Pick(g, corev1.ProtocolTCP, corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP))
		}
		switch number := Pick[int32](g, 1, 53, 80, 80, 8080, 65535); g.IntN(6) {
		case 0:
		case 1, 2:
			p.Port = new(intstr.FromString(Pick(g, "http", "http", "dns", "nosuch")))
		case 3, 4:
			p.Port = new(intstr.FromInt32(number))
		default:
			p.Port, p.EndPort = new(intstr.FromInt32(number)), new(min(number+Pick[int32](g, 0, 1, 27, 65535), 65535))
		}
		if g.fault() {
			g.spoil(&p)
		}
		return p
	})
}

// spoil gives a port entry a fault, mostly.
func (g *Generator) spoil(p *networkingv1.NetworkPolicyPort) {
	switch g.IntN(4) {
	case 0:
		p.Protocol = new(Pick[corev1.Protocol](g, "", "tcp", "ICMP"))
	case 1:
		p.Port = new(Pick(g, intstr.FromInt32(0), intstr.FromInt32(-1), intstr.FromInt32(65536), intstr.FromInt32(65536+80)))
	case 2:
		p.Port = new(intstr.FromString(Pick(g, "", "80", "HTTP", "a--b", "-a", "a-", "sixteen-letters-", "sixteenletters16")))
	default:
		p.EndPort = new(Pick[int32](g, 0, -1, 52, 79, 65536))
	}
}
