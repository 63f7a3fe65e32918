// SPDX-License-Identifier: Apache-2.0

package netpol

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// service is the part of a Service that says where its addresses lead.
type service struct {
	ref      types.NamespacedName
	ports    []corev1.ServicePort
	pods     labels.Selector // nothing when the Service has no selector
	addrs    []netip.Addr    // in the cluster
	external []netip.Addr    // external addresses and load balancers
	onNodes  bool            // it has a port on every node
	local    bool            // externalTrafficPolicy Local
	headless bool            // its name stands for its pods' addresses
	alias    bool            // its name stands for a name elsewhere
}

// nodePort is a port of every node.
type nodePort struct {
	protocol corev1.Protocol
	port     uint16
}

func (svc *service) key() string { return svc.ref.Name }

// compareServices orders the claimants of an address: the last one has it.
func compareServices(a, b *service) int {
	return cmp.Or(strings.Compare(a.ref.Namespace, b.ref.Namespace), strings.Compare(a.ref.Name, b.ref.Name))
}

func compileService(ks *corev1.Service) *service {
	svc := &service{
		ref:   types.NamespacedName{Namespace: ks.Namespace, Name: ks.Name},
		ports: ks.Spec.Ports,
		pods:  labels.Nothing(),
		local: ks.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal,
	}
	if ks.Spec.Type == corev1.ServiceTypeExternalName {
		svc.alias = true
		return svc
	}
	if len(ks.Spec.Selector) > 0 {
		svc.pods = labels.SelectorFromSet(ks.Spec.Selector)
	}
	svc.addrs = ServiceAddresses(ks)
	svc.headless = ks.Spec.ClusterIP == corev1.ClusterIPNone || slices.Contains(ks.Spec.ClusterIPs, corev1.ClusterIPNone)
	svc.external = ExternalAddresses(ks)
	svc.onNodes = ks.Spec.Type == corev1.ServiceTypeNodePort || ks.Spec.Type == corev1.ServiceTypeLoadBalancer
	return svc
}

// ServiceAddresses are the cluster addresses of a Service; nil for a headless one.
func ServiceAddresses(svc *corev1.Service) []netip.Addr {
	addrs := addAddress(nil, svc.Spec.ClusterIP)
	for _, ip := range svc.Spec.ClusterIPs {
		addrs = addAddress(addrs, ip)
	}
	return addrs
}

// ExternalAddresses are the external ones of a Service and those of its load balancers; nil when it has none.
func ExternalAddresses(svc *corev1.Service) (addrs []netip.Addr) {
	for _, ip := range svc.Spec.ExternalIPs {
		addrs = addAddress(addrs, ip)
	}
	for _, in := range svc.Status.LoadBalancer.Ingress {
		addrs = addAddress(addrs, in.IP)
	}
	return addrs
}

func (svc *service) nodePorts() (ports []nodePort) {
	for i := range svc.ports {
		p := &svc.ports[i]
		at := nodePort{defaultProtocol(p.Protocol), uint16(p.NodePort)}
		if svc.onNodes && p.NodePort > 0 && p.NodePort <= 65535 && !slices.Contains(ports, at) {
			ports = append(ports, at)
		}
	}
	return ports
}

// targetPort is the port at the pod behind a port of the Service that is asked for as one of its own, or
// as one of its nodes'; false when there is none.
func (svc *service) targetPort(p *pod, protocol corev1.Protocol, port uint16, onNode bool) (uint16, bool) {
	for i := range svc.ports {
		sp := &svc.ports[i]
		asked := sp.Port
		if onNode {
			asked = sp.NodePort
		}
		if defaultProtocol(sp.Protocol) != protocol || asked != int32(port) {
			continue
		}
		if sp.TargetPort.Type == intstr.String && sp.TargetPort.StrVal != "" {
			return p.portNamed(sp.TargetPort.StrVal, protocol)
		}
		number := cmp.Or(sp.TargetPort.IntVal, sp.Port)
		return uint16(number), 0 < number && number <= 65535
	}
	return 0, false
}

func (p *pod) portNamed(name string, protocol corev1.Protocol) (uint16, bool) {
	for _, named := range p.ports {
		if named.name == name && named.protocol == protocol {
			return named.number, true
		}
	}
	return 0, false
}

// backends are the pods behind the Service, in order of name.
func (s *Snapshot) backends(svc *service) (pods []*pod) {
	for _, p := range s.namespaces.get(svc.ref.Namespace).pods {
		if !p.completed && svc.pods.Matches(p.labels) {
			pods = append(pods, p)
		}
	}
	return pods
}
