// SPDX-License-Identifier: Apache-2.0

package baseline

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// usualNodeLocal is the address that NodeLocal DNSCache is documented with.
var usualNodeLocal = netip.AddrFrom4([4]byte{169, 254, 20, 10})

// nodeLocal returns where node-local caches answer: at addresses of the node, or, where they do not
// use the node's network and something else redirects to them (Cilium, GKE's Dataplane V2), as pods.
func (s DNSSources) nodeLocal() (addrs []netip.Addr, pods []DNSPods) {
	if len(s.NodeLocal) > 0 {
		return s.NodeLocal, nil
	}
	for _, cache := range s.nodeLocalCaches() {
		switch {
		case cache.Spec.Template.Spec.HostNetwork:
			addrs = append(addrs, localIPs(cache.Spec.Template.Spec.Containers)...)
		case cache.Spec.Selector != nil && len(cache.Spec.Selector.MatchLabels) > 0:
			pods = append(pods, DNSPods{Namespace: cache.Namespace, Selector: maps.Clone(cache.Spec.Selector.MatchLabels), Ports: untranslated()})
		}
	}
	return addrs, pods
}

// nodeLocalCaches returns the DaemonSets of NodeLocal DNSCache, sorted. Kubespray calls it nodelocaldns.
func (s DNSSources) nodeLocalCaches() []*appsv1.DaemonSet {
	var found []*appsv1.DaemonSet
	for _, set := range s.DaemonSets {
		names := []string{set.Name, set.Labels["k8s-app"]}
		if set.Namespace == "kube-system" && (slices.Contains(names, "node-local-dns") || slices.Contains(names, "nodelocaldns")) {
			found = append(found, set)
		}
	}
	slices.SortFunc(found, func(a, b *appsv1.DaemonSet) int { return cmp.Compare(a.Name, b.Name) })
	return found
}

// localIPs reads the flag -localip of node-cache: -localip A,B or -localip=A,B, with one dash or two.
func localIPs(containers []corev1.Container) []netip.Addr {
	var addrs []netip.Addr
	for _, container := range containers {
		words := strings.Fields(strings.Join(slices.Concat(container.Command, container.Args), " "))
		for i, word := range words {
			name, value, joined := strings.Cut(strings.TrimLeft(word, "-"), "=")
			if name != "localip" {
				continue
			}
			if !joined && i+1 < len(words) {
				value = words[i+1]
			}
			addrs = append(addrs, parseAddrs(value)...)
		}
	}
	if len(addrs) == 0 {
		return []netip.Addr{usualNodeLocal}
	}
	return addrs
}

// parseAddrs passes over what is no address, such as a placeholder of the published manifest.
func parseAddrs(list string) []netip.Addr {
	var addrs []netip.Addr
	for text := range strings.SplitSeq(list, ",") {
		if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}
