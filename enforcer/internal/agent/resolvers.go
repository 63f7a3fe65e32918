// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"net"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// resolvers finds where the cluster's DNS answers. It goes by objects of system namespaces, which only administrators
// can make, and by the node's own network: who can answer there may name addresses.
type resolvers struct {
	configured types.NamespacedName                     // a Service of DNS wherever it is; empty: there is no such
	nodeLocal  []netip.Addr                             // caches on nodes
	services   map[types.NamespacedName]*corev1.Service // those of DNS
	pods       map[types.NamespacedName]*corev1.Pod     // of the namespaces that DNS may be in
	set        []netip.Addr                             // that the datapath listens to; nil: it has not been told
}

func newResolvers(configured types.NamespacedName, nodeLocal []net.IP) *resolvers {
	r := &resolvers{
		configured: configured,
		services:   make(map[types.NamespacedName]*corev1.Service), pods: make(map[types.NamespacedName]*corev1.Pod),
	}
	for _, ip := range nodeLocal {
		if addr, ok := netip.AddrFromSlice(ip); ok {
			r.nodeLocal = append(r.nodeLocal, addr.Unmap())
		}
	}
	return r
}

// apply brings it up to date.
func (r *resolvers) apply(c netpol.Change) {
	for _, k := range c.Deleted {
		name := types.NamespacedName{Namespace: k.Namespace, Name: k.Name}
		switch k.Kind {
		case "Service":
			delete(r.services, name)
		case "Pod":
			delete(r.pods, name)
		}
	}
	for _, s := range c.Set.Services {
		name := types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
		delete(r.services, name)
		if _, is := r.podsBehind(s); is {
			r.services[name] = s
		}
	}
	for _, p := range c.Set.Pods {
		name := types.NamespacedName{Namespace: p.Namespace, Name: p.Name}
		delete(r.pods, name)
		if slices.Contains(append(baseline.DNSNamespaces(), r.configured.Namespace), p.Namespace) && netpol.HasIdentity(p) {
			r.pods[name] = p
		}
	}
}

// podsBehind are those of a Service of DNS; false: it is another Service.
func (r *resolvers) podsBehind(s *corev1.Service) (baseline.DNSPods, bool) {
	targets := baseline.DiscoverDNS(baseline.DNSSources{Services: []*corev1.Service{s}, Configured: r.configured})
	return targets.Pods[0], targets.Assumed == ""
}

// addresses are those of Services of DNS, of the pods behind them, and of a cache on the node, which answers at a
// link-local address where nobody said otherwise; sorted, each once. They are never nil.
func (r *resolvers) addresses(node []netip.Addr) []netip.Addr {
	addrs := append([]netip.Addr{}, r.nodeLocal...)
	for _, addr := range node {
		if addr.Is4() && addr.IsLinkLocalUnicast() {
			addrs = append(addrs, addr)
		}
	}
	for _, s := range r.services {
		addrs = append(addrs, netpol.ServiceAddresses(s)...)
		behind, _ := r.podsBehind(s)
		selector := labels.SelectorFromSet(behind.Selector)
		for name, p := range r.pods {
			if name.Namespace == s.Namespace && selector.Matches(labels.Set(p.Labels)) {
				addrs = append(addrs, netpol.PodAddresses(p)...)
			}
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs)
}

// listenTo tells the datapath whose answers name addresses, when it is others than before. Without them flows lack
// names, and nothing else depends on them.
func (u *updater) listenTo(node []netip.Addr) {
	if u.resolvers == nil {
		return
	}
	addrs := u.resolvers.addresses(node)
	if u.resolvers.set != nil && slices.Equal(addrs, u.resolvers.set) {
		return
	}
	if err := u.dataplane.SetResolvers(addrs); err != nil {
		u.log.Warn("flows lack names of DNS", "error", err)
		return
	}
	u.resolvers.set = addrs
}
