// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// policyPort is the port as a policy gives it; false for a protocol that has no ports. Port 0 can only be
// had with all others.
func policyPort(side *netpol.Side) (networkingv1.NetworkPolicyPort, bool) {
	p := networkingv1.NetworkPolicyPort{Protocol: &side.Protocol}
	if side.Port != 0 {
		number := intstr.FromInt32(int32(side.Port))
		p.Port = &number
	}
	return p, slices.Contains([]corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}, side.Protocol)
}

// policyPeers are the ways to name the peer of a side in a policy of a namespace.
func (w *World) policyPeers(namespace string, side *netpol.Side) (peers []networkingv1.NetworkPolicyPeer) {
	if side.Peer.Pod.Name == "" {
		return []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: block(side).String()}}}
	}
	for _, selector := range w.selectors(&side.Peer) {
		peer := networkingv1.NetworkPolicyPeer{PodSelector: selector}
		if side.Peer.Pod.Namespace != namespace {
			peer.NamespaceSelector = namespaceSelector(side.Peer.Pod.Namespace)
		}
		peers = append(peers, peer)
	}
	return peers
}

// block is the peer's address, or, where that is not known, every address of the family.
func block(side *netpol.Side) netip.Prefix {
	switch addr := side.Peer.Addr; {
	case addr.IsValid():
		return netip.PrefixFrom(addr, addr.BitLen())
	case side.Self.Addr.Is6():
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
}

func namespaceSelector(name string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: name}}
}

// selectors are the ways to select a pod by labels that last: as its workload does, and by all of them.
func (w *World) selectors(e *netpol.End) (all []*metav1.LabelSelector) {
	if workload := w.owner[e.Pod]; workload != nil && workload.Selector != nil {
		if s, err := metav1.LabelSelectorAsSelector(workload.Selector); err == nil && s.Matches(labels.Set(e.Labels)) {
			all = append(all, workload.Selector)
		}
	}
	stable := &metav1.LabelSelector{MatchLabels: inventory.StableLabels(e.Labels)}
	if len(all) == 0 || !equality.Semantic.DeepEqual(all[0], stable) {
		all = append(all, stable)
	}
	return all
}

// policyName is one that no policy of the namespace has: api-from-web.
func (w *World) policyName(objs *netpol.Objects, side *netpol.Side) string {
	word := "-from-"
	if side.Direction == netpol.Egress {
		word = "-to-"
	}
	peer := "unknown"
	switch {
	case side.Peer.Pod.Name != "":
		peer = w.shortName(side.Peer.Pod)
	case side.Peer.Addr.IsValid():
		peer = strings.NewReplacer(".", "-", ":", "-").Replace(side.Peer.Addr.StringExpanded())
	}
	const room = 60 // of 63, for a number
	base := w.shortName(side.Self.Pod) + word + peer
	base = strings.Trim(base[:min(len(base), room)], "-.")
	for i, name := 2, base; ; i++ {
		if findPolicy(objs, &netpol.Origin{Kind: "NetworkPolicy", Namespace: side.Self.Pod.Namespace, Name: name}) == nil {
			return name
		}
		name = fmt.Sprintf("%s-%d", base, i)
	}
}

func (w *World) shortName(pod types.NamespacedName) string {
	if workload := w.owner[pod]; workload != nil {
		return workload.Name
	}
	return pod.Name
}
