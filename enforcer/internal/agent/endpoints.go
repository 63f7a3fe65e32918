// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// interfaceFunc finds the host's end of the pod that has an address, as hostnet.Network.Interface does.
type interfaceFunc func(netip.Addr) (ifindex uint32, err error)

// localEndpoints finds the interfaces of the node's pods, in the order of the pods' names. Problems name
// the pods with an address that no interface was found for.
func localEndpoints(objects netpol.Objects, node string, find interfaceFunc) (endpoints []plan.EndpointInput, problems []error) {
	modes := namespaceModes(objects.Namespaces)
	owners := map[uint32]types.NamespacedName{}
	for _, p := range localPods(objects.Pods, node) {
		name := types.NamespacedName{Namespace: p.Namespace, Name: p.Name}
		for _, addr := range podAddrs(p) {
			ifindex, err := find(addr)
			if err != nil {
				if p.DeletionTimestamp == nil { // else its network is being taken down
					problems = append(problems, fmt.Errorf("find the interface of pod %s: %w", name, err))
				}
				continue
			}
			other, taken := owners[ifindex]
			if taken && other != name {
				problems = append(problems, fmt.Errorf("pod %s shares interface %d with pod %s: their traffic cannot be told apart",
					name, ifindex, other))
			}
			if taken {
				continue
			}
			owners[ifindex] = name
			endpoints = append(endpoints, plan.EndpointInput{Pod: name, Ifindex: ifindex, Mode: modes[p.Namespace], Addrs: podAddrs(p)})
		}
	}
	return endpoints, problems
}

// keepKnown adds those of the endpoints before whose pod and interface are still there, although no route
// leads to them: a route that is being replaced is no reason to stop judging the pod's packets.
func keepKnown(endpoints, before []plan.EndpointInput, objects netpol.Objects, node string, exists func(uint32) bool) []plan.EndpointInput {
	here := map[types.NamespacedName]bool{}
	for _, p := range localPods(objects.Pods, node) {
		here[types.NamespacedName{Namespace: p.Namespace, Name: p.Name}] = true
	}
	modes := namespaceModes(objects.Namespaces)
	found := map[uint32]bool{}
	for _, e := range endpoints {
		found[e.Ifindex] = true
	}
	for _, e := range before {
		if !found[e.Ifindex] && here[e.Pod] && exists(e.Ifindex) {
			e.Mode = modes[e.Pod.Namespace]
			endpoints = append(endpoints, e)
		}
	}
	return endpoints
}

// localPods lists the pods of the node that have a network of their own, sorted.
func localPods(pods []*corev1.Pod, node string) []*corev1.Pod {
	var local []*corev1.Pod
	for _, p := range pods {
		ended := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
		if p.Spec.NodeName == node && !p.Spec.HostNetwork && !ended {
			local = append(local, p)
		}
	}
	slices.SortFunc(local, func(a, b *corev1.Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return local
}

func podAddrs(p *corev1.Pod) []netip.Addr {
	var addrs []netip.Addr
	for _, ip := range p.Status.PodIPs {
		if addr, err := netip.ParseAddr(ip.IP); err == nil {
			addrs = append(addrs, addr.Unmap())
		}
	}
	return addrs
}

// namespaceModes holds the namespaces whose policies are enforced. Every other one, also with a label
// that is no mode, is at the zero value: audit.
func namespaceModes(namespaces []*corev1.Namespace) map[string]plan.Mode {
	modes := map[string]plan.Mode{}
	for _, ns := range namespaces {
		if mode, err := baseline.ModeOf(ns.Labels); err == nil && mode == baseline.Enforce {
			modes[ns.Name] = plan.Enforce
		}
	}
	return modes
}

// serviceAddrs lists the cluster addresses of all Services.
func serviceAddrs(services []*corev1.Service) []netip.Addr {
	var addrs []netip.Addr
	for _, s := range services {
		for _, ip := range s.Spec.ClusterIPs { // "None" for a headless Service is no address
			if addr, err := netip.ParseAddr(ip); err == nil {
				addrs = append(addrs, addr.Unmap())
			}
		}
	}
	return addrs
}

// nodeAddrs joins the addresses of this machine's interfaces with those that the Node object names,
// sorted, each once.
func nodeAddrs(interfaces []netip.Addr, nodes []*corev1.Node, node string) []netip.Addr {
	addrs := slices.Clone(interfaces)
	for _, n := range nodes {
		if n.Name != node {
			continue
		}
		for _, a := range n.Status.Addresses { // host names are no addresses
			if addr, err := netip.ParseAddr(a.Address); err == nil {
				addrs = append(addrs, addr.Unmap())
			}
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs)
}
