// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
)

// interfaceFunc finds the host's end of the pod that has an address, as hostnet.Network.Interface does.
type interfaceFunc func(netip.Addr) (ifindex uint32, err error)

// localEndpoints finds the interfaces of the node's pods, in the order of the pods' names. Problems name
// the pods with an address that no interface was found for.
func (m *mirror) localEndpoints(find interfaceFunc) (endpoints []plan.EndpointInput, problems []error) {
	owners := map[uint32]types.NamespacedName{}
	for _, p := range m.localPods() {
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
			endpoints = append(endpoints, plan.EndpointInput{Pod: name, Ifindex: ifindex, Mode: m.modes[p.Namespace], Addrs: podAddrs(p)})
		}
	}
	return endpoints, problems
}

// keepKnown adds those of the endpoints before whose pod and interface are still there, although no route
// leads to them: a route that is being replaced is no reason to stop judging the pod's packets.
func (m *mirror) keepKnown(endpoints, before []plan.EndpointInput, exists func(uint32) bool) []plan.EndpointInput {
	found := map[uint32]bool{}
	for _, e := range endpoints {
		found[e.Ifindex] = true
	}
	for _, e := range before {
		if !found[e.Ifindex] && m.pods[e.Pod] != nil && exists(e.Ifindex) {
			e.Mode = m.modes[e.Pod.Namespace]
			endpoints = append(endpoints, e)
		}
	}
	return endpoints
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

// nodeAddrs joins the addresses of this machine's interfaces with those that its Node object names,
// sorted, each once.
func nodeAddrs(interfaces []netip.Addr, node *corev1.Node) []netip.Addr {
	addrs := slices.Clone(interfaces)
	for _, a := range node.Status.Addresses { // host names are no addresses
		if addr, err := netip.ParseAddr(a.Address); err == nil {
			addrs = append(addrs, addr.Unmap())
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs)
}
