// SPDX-License-Identifier: Apache-2.0

package netpol_test

import (
	"net"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Services, as the oracle reads them.

// reached is a Service and how a connection gets to it.
type reached struct {
	name     types.NamespacedName
	service  *corev1.Service // nil: there is none of that name
	byName   bool
	external bool   // by an address that is not of the cluster, the node's included
	addr     net.IP // nil: by name, and no cluster address (yet)
	family   int    // of the pods' addresses; 0: any
	node     string // that has addr, when its port is asked for; else empty
}

func (r *reached) local() bool {
	return r.service.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
}

// headless: the name stands for the pods themselves. A Service that has no address yet will have one.
func (r *reached) headless() bool {
	given := append([]string{r.service.Spec.ClusterIP}, r.service.Spec.ClusterIPs...)
	return r.byName && r.addr == nil && slices.Contains(given, corev1.ClusterIPNone)
}

// serviceFor is the Service that the end is; false if it is none.
func (o *oracle) serviceFor(to netpol.Peer, f flow) (reached, bool) {
	if to.Service != (types.NamespacedName{}) {
		svc := o.lastService(func(s *corev1.Service) bool { return nameOfService(s) == to.Service })
		return reached{name: to.Service, service: svc, byName: true}, true
	}
	ip := bytesOf(to.Addr)
	if to.Pod != (types.NamespacedName{}) || ip == nil {
		return reached{}, false
	}
	if svc := o.lastService(func(s *corev1.Service) bool { return listed(clusterAddresses(s), ip) }); svc != nil {
		return reached{name: nameOfService(svc), service: svc, addr: ip}, true
	}
	if svc := o.lastService(func(s *corev1.Service) bool { return listed(externalAddresses(s), ip) }); svc != nil {
		return reached{name: nameOfService(svc), service: svc, addr: ip, external: true}, true
	}
	node := o.nodeAt(ip)
	if node == "" || o.owner(ip) != nil {
		return reached{}, false
	}
	svc := o.lastService(func(s *corev1.Service) bool { return nodePort(s, f) != nil })
	if svc == nil {
		return reached{}, false
	}
	return reached{name: nameOfService(svc), service: svc, addr: ip, external: true, node: node}, true
}

func nameOfService(s *corev1.Service) types.NamespacedName {
	return types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
}

// lastService by namespace and name of those asked for; nil for none. One that is only a name outside
// of the cluster has neither addresses nor pods.
func (o *oracle) lastService(wanted func(*corev1.Service) bool) (last *corev1.Service) {
	for _, s := range o.Services {
		if s.Spec.Type != corev1.ServiceTypeExternalName && wanted(s) && (last == nil || laterName(nameOfService(s), nameOfService(last))) {
			last = s
		}
	}
	return last
}

func clusterAddresses(s *corev1.Service) []net.IP {
	return addressesIn(append([]string{s.Spec.ClusterIP}, s.Spec.ClusterIPs...))
}

func externalAddresses(s *corev1.Service) []net.IP {
	texts := slices.Clone(s.Spec.ExternalIPs)
	for _, in := range s.Status.LoadBalancer.Ingress {
		texts = append(texts, in.IP)
	}
	return addressesIn(texts)
}

func nodePort(s *corev1.Service, f flow) *corev1.ServicePort {
	if s.Spec.Type != corev1.ServiceTypeNodePort && s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return nil
	}
	return firstPort(s, func(p *corev1.ServicePort) bool { return p.NodePort > 0 && p.NodePort == int32(f.port) }, f)
}

func firstPort(s *corev1.Service, is func(*corev1.ServicePort) bool, f flow) *corev1.ServicePort {
	for i := range s.Spec.Ports {
		if p := &s.Spec.Ports[i]; protocolOf(p.Protocol) == f.protocol && is(p) {
			return p
		}
	}
	return nil
}

// hasAll is false for an empty selector, which selects nothing.
func hasAll(labels, selector map[string]string) bool {
	for k, want := range selector {
		if got, ok := labels[k]; !ok || got != want {
			return false
		}
	}
	return len(selector) > 0
}

// portAt is where the connection leads at the pod; 0: nowhere.
func (r *reached) portAt(pod *corev1.Pod, f flow) uint16 {
	if r.headless() {
		return f.port
	}
	sp := firstPort(r.service, func(p *corev1.ServicePort) bool { return p.Port == int32(f.port) }, f)
	if r.node != "" {
		sp = nodePort(r.service, f)
	}
	if sp == nil {
		return 0
	}
	number := sp.Port
	switch target := sp.TargetPort; {
	case target.Type == intstr.String && target.StrVal != "":
		numbers := namedNumbers(pod, target.StrVal, f.protocol)
		number = append(numbers, 0)[0]
	case target.IntVal != 0:
		number = target.IntVal
	}
	if number < 1 || number > 65535 {
		return 0
	}
	return uint16(number)
}

func protocolOf(p corev1.Protocol) corev1.Protocol {
	if p == "" {
		return corev1.ProtocolTCP
	}
	return p
}
