// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/hostnet"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// interfacesFunc finds the host's ends of the veth pairs of the pod that has an address, as hostnet.View does.
type interfacesFunc func(netip.Addr) (ifindexes []uint32, err error)

// localEndpoints finds the interfaces of the node's pods, in the order of the pods' names: those of the sandboxes that
// the runtime told of, and of other pods those that their addresses lead to. Problems name the pods of which no
// interface was found.
func (m *mirror) localEndpoints(told []sandbox, find interfacesFunc) (endpoints []plan.EndpointInput, problems []error) {
	claims := make(map[uint32][]claimant)
	for _, p := range m.localPods() {
		found, err := interfacesOf(p, told, find)
		if err != nil && p.DeletionTimestamp == nil { // else its network is being taken down
			problems = append(problems, fmt.Errorf("find the interface of pod %s/%s: %w", p.Namespace, p.Name, err))
		}
		for _, ifindex := range found.Interfaces {
			claims[ifindex] = append(claims[ifindex], claimant{p, found.Addrs})
		}
	}
	for ifindex, all := range claims {
		c, err := settle(all)
		if err != nil {
			problems = append(problems, fmt.Errorf("interface %d: %w", ifindex, err))
			continue
		}
		name := types.NamespacedName{Namespace: c.pod.Namespace, Name: c.pod.Name}
		endpoints = append(endpoints, m.input(name, ifindex, c.addrs))
	}
	slices.SortFunc(endpoints, func(a, b plan.EndpointInput) int {
		return cmp.Or(cmp.Compare(a.Pod.Namespace, b.Pod.Namespace), cmp.Compare(a.Pod.Name, b.Pod.Name), cmp.Compare(a.Ifindex, b.Ifindex))
	})
	return endpoints, problems
}

// claimant is a pod that an interface seems to be of, and the pod's addresses.
type claimant struct {
	pod   *corev1.Pod
	addrs []netip.Addr
}

// settle says whose the interface is. An address is used again when the pod before is not quite gone; where several
// live pods claim it, one has taken another's address, and it is nobody's.
func settle(all []claimant) (claimant, error) {
	live := slices.DeleteFunc(slices.Clone(all), func(c claimant) bool { return c.pod.DeletionTimestamp != nil })
	if len(live) == 0 {
		live = all
	}
	if len(live) > 1 {
		return claimant{}, fmt.Errorf("pods %s/%s and %s/%s both seem to be behind it: their traffic cannot be told apart",
			live[0].pod.Namespace, live[0].pod.Name, live[1].pod.Namespace, live[1].pod.Name)
	}
	return live[0], nil
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
	found.Addrs = netpol.PodAddresses(p)
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

// nodeAddrs joins the addresses of this machine's interfaces with those that its Node object names,
// sorted, each once.
func nodeAddrs(interfaces []netip.Addr, node *corev1.Node) []netip.Addr {
	addrs := slices.Concat(interfaces, netpol.NodeAddresses(node))
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs)
}
