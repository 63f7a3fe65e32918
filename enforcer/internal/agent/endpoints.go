// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/hostnet"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
)

// interfacesFunc finds the host's ends of the veth pairs of the pod that has an address, as hostnet.View does.
type interfacesFunc func(netip.Addr) (ifindexes []uint32, err error)

// localEndpoints finds the interfaces of the node's pods, in the order of the pods' names: those of the sandboxes that
// the runtime told of, and of other pods those that their addresses lead to. Problems name the pods of which no
// interface was found.
func (m *mirror) localEndpoints(told []sandbox, find interfacesFunc) (endpoints []plan.EndpointInput, problems []error) {
	owners := map[uint32]types.NamespacedName{}
	for _, p := range m.localPods() {
		found, err := interfacesOf(p, told, find)
		name := types.NamespacedName{Namespace: p.Namespace, Name: p.Name}
		if err != nil && p.DeletionTimestamp == nil { // else its network is being taken down
			problems = append(problems, fmt.Errorf("find the interface of pod %s: %w", name, err))
		}
		for _, ifindex := range found.Interfaces {
			if other, taken := owners[ifindex]; taken && other != name {
				problems = append(problems, fmt.Errorf("pod %s shares interface %d with pod %s: their traffic cannot be told apart",
					name, ifindex, other))
			} else if !taken {
				owners[ifindex] = name
				endpoints = append(endpoints, m.input(name, ifindex, found.Addrs))
			}
		}
	}
	return endpoints, problems
}

// interfacesOf also returns what it found when it errs. The addresses of the latest sandbox are the pod's.
func interfacesOf(p *corev1.Pod, told []sandbox, find interfacesFunc) (found hostnet.Pod, err error) {
	for i := range told {
		if told[i].isOf(p) {
			if found.Addrs == nil {
				found.Addrs = told[i].pod.Addrs
			}
			found.Interfaces = append(found.Interfaces, told[i].pod.Interfaces...)
		}
	}
	if len(found.Interfaces) > 0 {
		return found, nil
	}
	found.Addrs = podAddrs(p)
	var errs []error
	for _, addr := range found.Addrs {
		ifindexes, err := find(addr)
		errs = append(errs, err)
		found.Interfaces = append(found.Interfaces, ifindexes...)
	}
	slices.Sort(found.Interfaces)
	found.Interfaces = slices.Compact(found.Interfaces)
	return found, errors.Join(errs...)
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
			endpoints = append(endpoints, m.input(e.Pod, e.Ifindex, e.Addrs))
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
