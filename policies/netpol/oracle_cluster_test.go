// SPDX-License-Identifier: Apache-2.0

package netpol_test

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Who is who: pods, nodes and their addresses, as the oracle reads them.

// bytesOf are 4 or 16 bytes; nil for no address. An IPv4 address in IPv6 form is 4 bytes.
func bytesOf(a netip.Addr) net.IP { return plain(a.AsSlice()) }

func addressOf(s string) net.IP { return plain(net.ParseIP(s)) }

func plain(ip net.IP) net.IP {
	if four := ip.To4(); four != nil {
		return four
	}
	return ip
}

func listed(all []net.IP, ip net.IP) bool { return ip != nil && slices.ContainsFunc(all, ip.Equal) }

// addressesIn are those of the texts that are addresses, each once.
func addressesIn(texts []string) (all []net.IP) {
	for _, s := range texts {
		if ip := addressOf(s); ip != nil && !listed(all, ip) {
			all = append(all, ip)
		}
	}
	return all
}

// firstOf the addresses that has the family, 4 or 16 bytes; nil for none.
func firstOf(all []net.IP, family int) net.IP {
	if i := slices.IndexFunc(all, func(ip net.IP) bool { return len(ip) == family }); i >= 0 {
		return all[i]
	}
	return nil
}

func nameOf(pod *corev1.Pod) types.NamespacedName {
	return types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
}

// laterName: of two that dispute something, the last by namespace and name has it.
func laterName(a, b types.NamespacedName) bool {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name)) > 0
}

func isGone(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

func hasIdentity(pod *corev1.Pod) bool { return !isGone(pod) && !pod.Spec.HostNetwork }

// addressesOf a pod: status.podIP, then those of status.podIPs.
func addressesOf(pod *corev1.Pod) []net.IP {
	texts := []string{pod.Status.PodIP}
	for _, given := range pod.Status.PodIPs {
		texts = append(texts, given.IP)
	}
	return addressesIn(texts)
}

func nodeAddresses(n *corev1.Node) []net.IP {
	var texts []string
	for _, given := range n.Status.Addresses {
		texts = append(texts, given.Address)
	}
	return addressesIn(texts)
}

// owner of an address is the youngest pod that has it; nil for none.
func (o *oracle) owner(ip net.IP) (owner *corev1.Pod) {
	for _, pod := range o.Pods {
		if !hasIdentity(pod) || !listed(o.podAddresses[pod], ip) {
			continue
		}
		if owner == nil {
			owner = pod
			continue
		}
		age := pod.CreationTimestamp.Compare(owner.CreationTimestamp.Time)
		if age > 0 || age == 0 && laterName(nameOf(pod), nameOf(owner)) {
			owner = pod
		}
	}
	return owner
}

// nodeOf is the Node whose status has the address; nil for none.
func (o *oracle) nodeOf(ip net.IP) (node *corev1.Node) {
	for _, n := range o.Nodes {
		if listed(o.nodeAddresses[n], ip) && (node == nil || n.Name > node.Name) {
			node = n
		}
	}
	return node
}

// nodeAt is the name of the node that has the address, by its Node or by a pod on its network; empty
// for none. A pod that no node runs stands for none.
func (o *oracle) nodeAt(ip net.IP) string {
	if n := o.nodeOf(ip); n != nil {
		return n.Name
	}
	var last *corev1.Pod
	for _, pod := range o.Pods {
		if isGone(pod) || !pod.Spec.HostNetwork || pod.Spec.NodeName == "" || !listed(o.podAddresses[pod], ip) {
			continue
		}
		if last == nil || laterName(nameOf(pod), nameOf(last)) {
			last = pod
		}
	}
	if last == nil {
		return ""
	}
	return last.Spec.NodeName
}

// parties finds both ends, nil for one that is not known. Where an end leaves the choice, its first
// address of the family of the other end is taken, and where both do, To's first address gives the
// family.
func (o *oracle) parties(from, to netpol.Peer) (src, dst *party) {
	family := 0
	if ip := o.firstAddress(to, 0); ip != nil {
		family = len(ip)
	}
	src = o.party(from, o.firstAddress(from, family))
	if src != nil {
		family = len(src.ip)
	}
	return src, o.party(to, o.firstAddress(to, family))
}

// firstAddress of a peer, of the family where it has one; family 0 is any.
func (o *oracle) firstAddress(p netpol.Peer, family int) net.IP {
	if p.Addr.IsValid() {
		return bytesOf(p.Addr)
	}
	pod := o.pod(p.Pod)
	if pod == nil || len(o.podAddresses[pod]) == 0 {
		return nil
	}
	if ip := firstOf(o.podAddresses[pod], family); ip != nil {
		return ip
	}
	return o.podAddresses[pod][0]
}

func (o *oracle) pod(name types.NamespacedName) *corev1.Pod {
	for _, pod := range o.Pods {
		if nameOf(pod) == name {
			return pod
		}
	}
	return nil
}

// party is who stands at an address; a pod on the host network does not count as one.
func (o *oracle) party(p netpol.Peer, ip net.IP) *party {
	if p.Pod == (types.NamespacedName{}) {
		if ip == nil {
			return nil
		}
		return &party{ip: ip, pod: o.owner(ip)}
	}
	pod := o.pod(p.Pod)
	if pod == nil || isGone(pod) {
		return nil
	}
	if own := o.podAddresses[pod]; p.Addr.IsValid() && len(own) > 0 && !listed(own, ip) {
		return nil
	}
	if pod.Spec.HostNetwork {
		if ip == nil {
			return nil
		}
		return &party{ip: ip}
	}
	return &party{ip: ip, pod: pod}
}
