// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
)

// services says what is behind the addresses and ports that Services are reached at: ClusterIPs, external
// and load balancers' addresses, and node ports. A headless Service and one of type ExternalName have no address
// of their own.
type services struct {
	byAddr   map[netip.Addr]*corev1.Service
	nodePort map[portOf]*service
	byPort   map[*corev1.Service]map[portOf]*service
	backends map[types.NamespacedName][]endpointOf // that objects name; of Services without a selector
}

// portOf is a port as a packet has it.
type portOf struct {
	protocol corev1.Protocol
	port     uint16
}

// service is one port of a Service.
type service struct {
	of     *corev1.Service
	port   corev1.ServicePort
	behind []Backend // in order; empty: not known
}

// Backend is where a connection to a Service can end: a workload's port, or an address's.
type Backend struct {
	End  edge.Endpoint
	Port uint16
}

// String is the backend in one phrase: "Deployment shop/api:3000".
func (b Backend) String() string {
	return b.End.String() + ":" + strconv.Itoa(int(b.Port))
}

func (b Backend) compare(o Backend) int {
	return cmp.Or(b.End.Compare(o.End), cmp.Compare(b.Port, o.Port))
}

// endpointOf is an endpoint that an EndpointSlice or an Endpoints object names.
type endpointOf struct {
	addr     netip.Addr
	pod      string // empty: no pod is named
	portName string
	portOf
}

func newServices() *services {
	return &services{
		byAddr: map[netip.Addr]*corev1.Service{}, nodePort: map[portOf]*service{},
		byPort: map[*corev1.Service]map[portOf]*service{}, backends: map[types.NamespacedName][]endpointOf{},
	}
}

func (s *services) add(o *corev1.Service) {
	for _, addr := range serviceAddresses(o) {
		s.byAddr[addr] = o
	}
	s.byPort[o] = map[portOf]*service{}
	for _, p := range o.Spec.Ports {
		protocol := protocolOf(p.Protocol)
		entry := &service{of: o, port: p}
		s.byPort[o][portOf{protocol, uint16(p.Port)}] = entry
		if p.NodePort != 0 {
			s.nodePort[portOf{protocol, uint16(p.NodePort)}] = entry
		}
	}
}

// serviceAddresses are those that a Service is reached at, of any kind.
func serviceAddresses(o *corev1.Service) (out []netip.Addr) {
	addresses := slices.Concat(o.Spec.ClusterIPs, []string{o.Spec.ClusterIP}, o.Spec.ExternalIPs)
	for _, ingress := range o.Status.LoadBalancer.Ingress {
		addresses = append(addresses, ingress.IP)
	}
	for _, ip := range addresses {
		if addr, err := parseAddr(ip); err == nil { // "None" and "" are no addresses
			out = append(out, addr)
		}
	}
	return out
}

func (s *services) addSlice(o *discoveryv1.EndpointSlice) {
	name := types.NamespacedName{Namespace: o.Namespace, Name: o.Labels[discoveryv1.LabelServiceName]}
	for _, p := range o.Ports {
		if p.Port == nil {
			continue
		}
		at := endpointOf{portName: deref(p.Name), portOf: portOf{protocolOf(deref(p.Protocol)), uint16(*p.Port)}}
		for _, e := range o.Endpoints {
			s.addBackends(name, at, e.TargetRef, e.Addresses...)
		}
	}
}

//lint:ignore SA1019 manifests that a person wrote have them
func (s *services) addEndpoints(o *corev1.Endpoints) {
	for _, subset := range o.Subsets {
		for _, p := range subset.Ports {
			at := endpointOf{portName: p.Name, portOf: portOf{protocolOf(p.Protocol), uint16(p.Port)}}
			for _, a := range slices.Concat(subset.Addresses, subset.NotReadyAddresses) {
				s.addBackends(types.NamespacedName{Namespace: o.Namespace, Name: o.Name}, at, a.TargetRef, a.IP)
			}
		}
	}
}

func (s *services) addBackends(name types.NamespacedName, at endpointOf, target *corev1.ObjectReference, addresses ...string) {
	if target != nil && target.Kind == "Pod" {
		at.pod = target.Name
	}
	for _, ip := range addresses {
		if addr, err := parseAddr(ip); err == nil { // a slice can have names instead
			at.addr = addr
			s.backends[name] = append(s.backends[name], at)
		}
	}
}

// destination resolves the address of a Service to what is behind it, when that is one port of one
// workload. Policies speak of the pods' port, not the Service's.
func (inv *Inventory) destination(to edge.Endpoint, r *flows.Record) (edge.Endpoint, uint16) {
	if to.IsPod() {
		return to, r.DestinationPort
	}
	if inv.learner != nil {
		return inv.learner.destination(to, r), r.DestinationPort
	}
	at := portOf{r.Protocol, r.DestinationPort}
	s, known := inv.services.find(to, at)
	if !known && r.Destination.Service != "" {
		s, known = inv.called(&r.Destination, at)
	}
	switch {
	case !known:
		return to, r.DestinationPort
	case s == nil || len(s.behind) != 1:
		return edge.Endpoint{Addr: to.Addr, Entity: EntityService}, r.DestinationPort
	case s.behind[0].End.IsPod():
		return s.behind[0].End, s.behind[0].Port
	}
	return inv.end(&flows.Endpoint{Addr: s.behind[0].End.Addr}, r), s.behind[0].Port
}

// called returns the port of a Service by the name that the observer has for it: manifests in Git have no
// addresses of Services. An address with another port than the Service's is an endpoint's, after translation.
func (inv *Inventory) called(e *flows.Endpoint, at portOf) (port *service, known bool) {
	o := inv.byName[types.NamespacedName{Namespace: e.ServiceNamespace, Name: e.Service}]
	if o == nil {
		return nil, true
	}
	port = inv.services.byPort[o][at]
	return port, port != nil
}

// find returns the port of the Service that answers there. known without a port: the address is a
// Service's, which has no such port.
func (s *services) find(to edge.Endpoint, at portOf) (port *service, known bool) {
	if o := s.byAddr[to.Addr]; o != nil {
		return s.byPort[o][at], true
	}
	if to.Entity == EntityHost || to.Entity == EntityRemoteNode {
		port = s.nodePort[at]
	}
	return port, port != nil
}

// Behind are the ends that an unresolved connection to a Service can have, in order; nil when they
// are not known.
func (inv *Inventory) Behind(k edge.Key) []Backend {
	if k.To.Entity != EntityService {
		return nil
	}
	at := portOf{k.Protocol, k.Port}
	s, _ := inv.services.find(k.To, at)
	if s == nil && inv.services.byAddr[k.To.Addr] == nil {
		s = inv.services.nodePort[at]
	}
	if s == nil {
		return nil
	}
	return s.behind
}

// Fronted are the ends behind all ports of the Service that has the address; nil: it is none's.
func (inv *Inventory) Fronted(e edge.Endpoint) (all []edge.Endpoint) {
	for _, s := range inv.services.byPort[inv.services.byAddr[e.Addr]] {
		for _, b := range s.behind {
			all = append(all, b.End)
		}
	}
	return all
}

// Published reports whether a Service leads clients from outside of the cluster there.
func (inv *Inventory) Published(to edge.Endpoint, protocol corev1.Protocol, port uint16) bool {
	for o, ports := range inv.services.byPort {
		if o.Namespace != to.Namespace || o.Spec.Type != corev1.ServiceTypeLoadBalancer && o.Spec.Type != corev1.ServiceTypeNodePort && len(o.Spec.ExternalIPs) == 0 {
			continue
		}
		for at, s := range ports {
			if at.protocol == protocol && slices.Contains(s.behind, Backend{to, port}) {
				return true
			}
		}
	}
	return false
}

// parseAddr reads an address; one of IPv4 within IPv6 is of IPv4.
func parseAddr(text string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(text)
	return addr.Unmap(), err
}

func protocolOf(p corev1.Protocol) corev1.Protocol {
	if p == "" {
		return corev1.ProtocolTCP
	}
	return p
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
