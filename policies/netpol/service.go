// SPDX-License-Identifier: Apache-2.0

package netpol

import (
	"cmp"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// service is a Service with a virtual address, resolved to the pods behind it.
type service struct {
	ref      types.NamespacedName
	ports    []corev1.ServicePort
	backends []*pod // in order of name
}

// Resolution says how the address of a Service was read.
type Resolution struct {
	Service types.NamespacedName `json:"service"`
	// Port at the pods; 0 when the Service does not have the port that was asked for.
	Port uint16 `json:"port"`
	// Backend is the pod that the verdict is about: the first that is denied, else the first. The
	// zero name when the Service has no pod for the port.
	Backend types.NamespacedName `json:"backend"`
	// Source is the node's address that the pod sees in the place of the client's; the zero Addr when the
	// client's own address is kept.
	Source netip.Addr `json:"source,omitzero"`
}

func compileServices(services []*corev1.Service, s *Snapshot) map[netip.Addr]*service {
	byAddr := make(map[netip.Addr]*service)
	for _, ks := range services {
		svc := &service{ref: types.NamespacedName{Namespace: ks.Namespace, Name: ks.Name}, ports: ks.Spec.Ports}
		if len(ks.Spec.Selector) > 0 {
			svc.backends = s.selected(ks.Namespace, labels.SelectorFromSet(ks.Spec.Selector))
		}
		for _, addr := range ServiceAddresses(ks) {
			byAddr[addr] = svc
		}
	}
	return byAddr
}

// ServiceAddresses are the cluster addresses of a Service; nil for a headless one.
func ServiceAddresses(svc *corev1.Service) []netip.Addr {
	var addrs []netip.Addr
	seen := make(map[netip.Addr]bool)
	for _, ip := range append([]string{svc.Spec.ClusterIP}, svc.Spec.ClusterIPs...) {
		addr, err := netip.ParseAddr(ip) // "None" and "" are no addresses
		if addr = addr.Unmap(); err == nil && !seen[addr] {
			seen[addr] = true
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

func (s *Snapshot) selected(namespace string, selector labels.Selector) []*pod {
	var pods []*pod
	for _, p := range s.order {
		if p.ref.Namespace == namespace && !p.completed && len(p.addrs) > 0 && selector.Matches(p.labels) {
			pods = append(pods, p)
		}
	}
	return pods
}

// targetPort is the port at the pod behind a Service's port; false when there is none.
func (svc *service) targetPort(p *pod, protocol corev1.Protocol, port uint16) (uint16, bool) {
	for _, sp := range svc.ports {
		if defaultProtocol(sp.Protocol) != protocol || sp.Port != int32(port) {
			continue
		}
		if sp.TargetPort.Type == intstr.String && sp.TargetPort.StrVal != "" {
			for _, named := range p.ports {
				if named.name == sp.TargetPort.StrVal && named.protocol == protocol {
					return named.number, true
				}
			}
			return 0, false
		}
		number := cmp.Or(sp.TargetPort.IntVal, sp.Port)
		return uint16(number), 0 < number && number <= 65535
	}
	return 0, false
}
