// SPDX-License-Identifier: Apache-2.0

package netpol_test

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Who is who: pods, nodes, Services and their addresses, as the oracle reads them.

// bytesOf are 4 or 16 bytes; nil for no address. An IPv4 address in IPv6 form is 4 bytes.
func bytesOf(a netip.Addr) net.IP { return plain(a.AsSlice()) }

func addressOf(s string) net.IP { return plain(net.ParseIP(s)) }

func plain(ip net.IP) net.IP {
	if four := ip.To4(); four != nil {
		return four
	}
	return ip
}

func sameAddress(a, b net.IP) bool { return a != nil && a.Equal(b) }

func nameOf(pod *corev1.Pod) types.NamespacedName {
	return types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
}

func isGone(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// addressesOf a pod: status.podIP, then those of status.podIPs that are not there yet.
func addressesOf(pod *corev1.Pod) []net.IP {
	var all []net.IP
	if ip := addressOf(pod.Status.PodIP); ip != nil {
		all = append(all, ip)
	}
	for _, given := range pod.Status.PodIPs {
		ip := addressOf(given.IP)
		if ip != nil && !slices.ContainsFunc(all, ip.Equal) {
			all = append(all, ip)
		}
	}
	return all
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

func (o *oracle) firstAddress(p netpol.Peer, family int) net.IP {
	if p.Addr.IsValid() {
		return bytesOf(p.Addr)
	}
	var first net.IP
	for _, pod := range o.Pods {
		if nameOf(pod) != p.Pod {
			continue
		}
		for _, ip := range addressesOf(pod) {
			if first == nil || len(first) != family && len(ip) == family {
				first = ip
			}
		}
	}
	return first
}

// party is who stands at an address; a pod on the host network does not count as one.
func (o *oracle) party(p netpol.Peer, ip net.IP) *party {
	named := p.Pod != types.NamespacedName{}
	for _, pod := range o.Pods {
		if isGone(pod) || named && nameOf(pod) != p.Pod {
			continue
		}
		switch {
		case named && !pod.Spec.HostNetwork:
			return &party{ip: ip, pod: pod}
		case named && ip != nil:
			return &party{ip: ip}
		case !named && !pod.Spec.HostNetwork && slices.ContainsFunc(addressesOf(pod), func(a net.IP) bool { return sameAddress(a, ip) }):
			return &party{ip: ip, pod: pod}
		}
	}
	if named || ip == nil {
		return nil
	}
	return &party{ip: ip}
}

// isNodeOf: the address is of the node where the pod runs, by its Node or by a pod on its network.
func (o *oracle) isNodeOf(ip net.IP, pod *corev1.Pod) bool {
	if pod.Spec.NodeName == "" {
		return false
	}
	for _, n := range o.Nodes {
		for _, a := range n.Status.Addresses {
			if n.Name == pod.Spec.NodeName && sameAddress(addressOf(a.Address), ip) {
				return true
			}
		}
	}
	for _, p := range o.Pods {
		if !isGone(p) && p.Spec.HostNetwork && p.Spec.NodeName == pod.Spec.NodeName &&
			slices.ContainsFunc(addressesOf(p), func(a net.IP) bool { return sameAddress(a, ip) }) {
			return true
		}
	}
	return false
}

func (o *oracle) serviceAt(ip net.IP) *corev1.Service {
	for _, svc := range o.Services {
		for _, given := range append([]string{svc.Spec.ClusterIP}, svc.Spec.ClusterIPs...) {
			if sameAddress(addressOf(given), ip) {
				return svc
			}
		}
	}
	return nil
}

// behind are the pods of a Service in order of name.
func (o *oracle) behind(svc *corev1.Service) []*corev1.Pod {
	var pods []*corev1.Pod
	for _, pod := range o.Pods {
		matches := len(svc.Spec.Selector) > 0 && pod.Namespace == svc.Namespace && !isGone(pod)
		for k, want := range svc.Spec.Selector {
			got, ok := pod.Labels[k]
			matches = matches && ok && got == want
		}
		if matches {
			pods = append(pods, pod)
		}
	}
	slices.SortFunc(pods, func(a, b *corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return pods
}

// portBehind is where a Service's port leads at the pod; 0: nowhere.
func portBehind(svc *corev1.Service, pod *corev1.Pod, c netpol.Connection) uint16 {
	for _, sp := range svc.Spec.Ports {
		if protocolOf(sp.Protocol) != c.Protocol || int(sp.Port) != int(c.Port) {
			continue
		}
		number := sp.Port
		switch target := sp.TargetPort; {
		case target.Type == intstr.String && target.StrVal != "":
			numbers := namedNumbers(pod, target.StrVal, c.Protocol)
			number = append(numbers, 0)[0]
		case target.IntVal != 0:
			number = target.IntVal
		}
		if number < 1 || number > 65535 {
			return 0
		}
		return uint16(number)
	}
	return 0
}

func protocolOf(p corev1.Protocol) corev1.Protocol {
	if p == "" {
		return "TCP"
	}
	return p
}

// namedNumbers are the ports to which the pod's containers and sidecars give the name.
func namedNumbers(pod *corev1.Pod, name string, protocol corev1.Protocol) []int32 {
	var numbers []int32
	take := func(c *corev1.Container) {
		for _, p := range c.Ports {
			if p.Name == name && protocolOf(p.Protocol) == protocol && p.ContainerPort >= 1 && p.ContainerPort <= 65535 {
				numbers = append(numbers, p.ContainerPort)
			}
		}
	}
	for i := range pod.Spec.Containers {
		take(&pod.Spec.Containers[i])
	}
	for i := range pod.Spec.InitContainers {
		if c := &pod.Spec.InitContainers[i]; c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			take(c)
		}
	}
	return numbers
}
