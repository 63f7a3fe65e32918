// SPDX-License-Identifier: Apache-2.0

package netpol

import (
	"cmp"
	"hash/maphash"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// pod is the part of a Pod that policies speak of. It does not change; what governs it is in its namespace.
type pod struct {
	ref         types.NamespacedName
	labels      labels.Set
	addrs       []netip.Addr
	node        string
	hostNetwork bool
	completed   bool
	identified  bool
	created     int64 // seconds since 1970
	ports       []namedPort
	class       int // index in the namespace's classes; -1 without an identity
}

type namedPort struct {
	name     string
	protocol corev1.Protocol
	number   uint16
}

func (p *pod) key() string { return p.ref.Name }

func (p *pod) hasIdentity() bool { return p.identified }

// comparePods orders the claimants of an address: the last one has it. Addresses are used again, and the
// pod that started last is the one that is there.
func comparePods(a, b *pod) int {
	return cmp.Or(cmp.Compare(a.created, b.created), comparePodNames(a, b))
}

// comparePodNames orders the pods of a host's network, which all stand for the same node.
func comparePodNames(a, b *pod) int {
	return cmp.Or(strings.Compare(a.ref.Namespace, b.ref.Namespace), strings.Compare(a.ref.Name, b.ref.Name))
}

func compilePod(kp *corev1.Pod) *pod {
	p := &pod{
		ref:         types.NamespacedName{Namespace: kp.Namespace, Name: kp.Name},
		labels:      kp.Labels,
		node:        kp.Spec.NodeName,
		hostNetwork: kp.Spec.HostNetwork,
		completed:   isCompleted(kp),
		identified:  HasIdentity(kp),
		created:     kp.CreationTimestamp.Unix(),
		ports:       namedPorts(&kp.Spec),
		class:       -1,
	}
	p.addrs = PodAddresses(kp)
	return p
}

// PodAddresses are those in the pod's status, in its order, each once; nil when it has none yet.
func PodAddresses(kp *corev1.Pod) []netip.Addr {
	addrs := addAddress(nil, kp.Status.PodIP)
	for _, ip := range kp.Status.PodIPs {
		addrs = addAddress(addrs, ip.IP)
	}
	return addrs
}

// HasIdentity says whether policies see the pod behind its addresses: one on the host network is its node, and a
// completed one is gone.
func HasIdentity(kp *corev1.Pod) bool { return !kp.Spec.HostNetwork && !isCompleted(kp) }

func isCompleted(kp *corev1.Pod) bool {
	return kp.Status.Phase == corev1.PodSucceeded || kp.Status.Phase == corev1.PodFailed
}

// addAddress appends what an object's status or spec gives as an address, unless it is none, such as "None"
// or a host name, or was there before.
func addAddress(addrs []netip.Addr, ip string) []netip.Addr {
	if ip == "" {
		return addrs
	}
	addr, err := netip.ParseAddr(ip)
	if addr = addr.Unmap(); err == nil && !slices.Contains(addrs, addr) {
		addrs = append(addrs, addr)
	}
	return addrs
}

// address is the pod's first address in the family of the given one, else its first at all. A pod
// that has none yet is judged by its labels alone.
func (p *pod) address(family netip.Addr) netip.Addr { return firstOfFamily(p.addrs, family) }

// firstOfFamily is the first address in the family of the given one, else the first at all, else none.
func firstOfFamily(addrs []netip.Addr, family netip.Addr) netip.Addr {
	for _, a := range addrs {
		if family.IsValid() && a.Is4() == family.Is4() {
			return a
		}
	}
	if len(addrs) > 0 {
		return addrs[0]
	}
	return netip.Addr{}
}

// namedPorts are those of the containers that run beside each other: the main ones and the
// restartable init containers (sidecars).
func namedPorts(spec *corev1.PodSpec) []namedPort {
	var ports []namedPort
	add := func(c *corev1.Container) {
		for i := range c.Ports {
			if p := &c.Ports[i]; p.Name != "" && p.ContainerPort > 0 && p.ContainerPort <= 65535 {
				ports = append(ports, namedPort{p.Name, defaultProtocol(p.Protocol), uint16(p.ContainerPort)})
			}
		}
	}
	for i := range spec.Containers {
		add(&spec.Containers[i])
	}
	for i := range spec.InitContainers {
		if c := &spec.InitContainers[i]; c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			add(c)
		}
	}
	return ports
}

func defaultProtocol(p corev1.Protocol) corev1.Protocol { return cmp.Or(p, corev1.ProtocolTCP) }

// hashLabels is the same for equal labels, and hardly ever for others.
func hashLabels(set labels.Set) (sum uint64) {
	for k, v := range set {
		sum += maphash.Comparable(shardSeed, [2]string{k, v})
	}
	return sum
}
