// SPDX-License-Identifier: Apache-2.0

package netpol

import (
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// frontend is what a client connects to: a Service at one of its addresses.
type frontend struct {
	name  types.NamespacedName
	svc   *service   // nil: there is no Service of that name
	addr  netip.Addr // invalid: by the name of a Service that has none, or none yet
	kind  frontendKind
	named bool // asked for by name, so that pods count which have no address yet
}

type frontendKind uint8

const (
	headless  frontendKind = iota // the client looks up the name and connects to a pod
	inCluster                     // a cluster address
	outside                       // an external address or a load balancer
	onNode                        // a port of a node
)

// frontend is the Service that a connection goes to; false when it goes to no Service.
func (s *Snapshot) frontend(c *Connection) (frontend, bool) {
	if c.To.Service != (types.NamespacedName{}) {
		return s.namedFrontend(c), true
	}
	addr := c.To.Addr.Unmap()
	if !addr.IsValid() || c.To.Pod != (types.NamespacedName{}) {
		return frontend{}, false
	}
	if svc := last(s.services.get(addr)); svc != nil {
		return frontend{svc.ref, svc, addr, inCluster, false}, true
	}
	if svc := last(s.external.get(addr)); svc != nil {
		return frontend{svc.ref, svc, addr, outside, false}, true
	}
	if s.nodePorts.count == 0 || last(s.pods.get(addr)) != nil || s.nodeAt(addr) == "" {
		return frontend{}, false
	}
	if svc := last(s.nodePorts.get(nodePort{defaultProtocol(c.Protocol), c.Port})); svc != nil {
		return frontend{svc.ref, svc, addr, onNode, false}, true
	}
	return frontend{}, false
}

// namedFrontend is a Service at its address of the client's family, if it has one.
func (s *Snapshot) namedFrontend(c *Connection) frontend {
	f := frontend{name: c.To.Service, named: true}
	if ns := s.namespaces.get(f.name.Namespace); ns != nil {
		f.svc = find(ns.services, f.name.Name)
	}
	if f.svc != nil && !f.svc.headless {
		f.addr, f.kind = firstOfFamily(f.svc.addrs, s.familyOf(c.From)), inCluster
	}
	return f
}

// route is a way that a connection to a Service can take.
type route struct {
	backend *pod
	to      Endpoint // the backend
	port    uint16   // at the backend
	// masked: the backend sees a node's address, source, and not the client's. An invalid source is one
	// that is not known.
	masked bool
	source netip.Addr
}

// evaluateService judges each way that the connection can take. All must be allowed, because the client does
// not choose.
func (s *Snapshot) evaluateService(f *frontend, c Connection) Verdict {
	family := f.addr
	if !family.IsValid() {
		family = s.familyOf(c.From)
	}
	from, known := s.resolve(c.From, family)
	var first *Verdict
	for _, r := range s.routes(f, &c, from) {
		v := s.take(f, &c, from, known, &r)
		if !v.Allowed {
			return v
		}
		if first == nil {
			first = &v
		}
	}
	if first == nil {
		none := Decision{Reason: UnknownBackend}
		return Verdict{Egress: none, Ingress: none, Resolved: &Resolution{Service: f.name}}
	}
	return *first
}

// take judges one way.
func (s *Snapshot) take(f *frontend, c *Connection, from Endpoint, known bool, r *route) Verdict {
	translated := Connection{Protocol: c.Protocol, Port: r.port}
	v := unknown(known, true)
	if known {
		v = s.judge(from, r.to, &translated)
		if r.masked && r.to.pod != nil {
			v.Ingress = s.admit(s.sourceEndpoint(r.source), r.to, &translated)
		}
		if f.kind == onNode && from.pod != nil && from.pod.node != s.nodeAt(f.addr) {
			v.Egress = decide(from, Egress, s.EndpointAt(f.addr), c, s.EndpointAt(f.addr)) // translated over there
		}
	}
	v.Allowed = v.Egress.Allowed && v.Ingress.Allowed
	v.Resolved = &Resolution{Service: f.name, Port: r.port, Backend: r.backend.ref, Source: r.source}
	return v
}

// sourceEndpoint is the endpoint of a source, of which nothing may be known.
func (s *Snapshot) sourceEndpoint(source netip.Addr) Endpoint {
	if !source.IsValid() {
		return Endpoint{}
	}
	return s.EndpointAt(source)
}

// routes are all ways to the Service's pods, in order of pod and node.
func (s *Snapshot) routes(f *frontend, c *Connection, from Endpoint) (routes []route) {
	if f.svc == nil || f.svc.alias {
		return nil
	}
	client := s.nodeAt(from.Addr)
	if from.pod != nil {
		client = from.pod.node
	}
	sources, masked := s.sources(f, client, from)
	for _, p := range s.backends(f.svc) {
		r := route{backend: p, masked: masked}
		if f.kind == onNode && f.svc.local && client != s.nodeAt(f.addr) && p.node != s.nodeAt(f.addr) {
			continue
		}
		var ok bool
		if r.to, ok = s.backendEndpoint(f, p, from); !ok {
			continue
		}
		if r.port, ok = f.port(p, c); !ok {
			continue
		}
		for _, r.source = range sources {
			routes = append(routes, r)
		}
	}
	return routes
}

// sources are the addresses that a pod may see a connection come from. Without masking the client's is
// kept, and there is one invalid source.
func (s *Snapshot) sources(f *frontend, client string, from Endpoint) (sources []netip.Addr, masked bool) {
	kept := []netip.Addr{{}}
	switch {
	case f.kind == headless || f.kind == inCluster || f.svc.local:
		return kept, false
	case f.kind == onNode:
		return []netip.Addr{f.addr}, true
	case client != "" || from.pod != nil: // translated on the client's own node
		if n := s.nodes.get(client); n != nil {
			return []netip.Addr{n.address(f.addr)}, true
		}
		return kept, true
	}
	for _, n := range s.nodesByName() {
		if addr := n.address(f.addr); addr.IsValid() {
			sources = append(sources, addr)
		}
	}
	if len(sources) == 0 {
		return kept, true
	}
	return sources, true
}

func (s *Snapshot) nodesByName() []*node {
	nodes := make([]*node, 0, s.nodes.count)
	for _, n := range s.nodes.all() {
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, compareNodes)
	return nodes
}

// backendEndpoint is a pod as the Service leads to it: at its address of the family that was asked for.
func (s *Snapshot) backendEndpoint(f *frontend, p *pod, from Endpoint) (Endpoint, bool) {
	family := f.addr
	if !family.IsValid() {
		family = from.Addr
	}
	addr := p.address(family)
	switch {
	case !addr.IsValid() && !f.named, addr.IsValid() && family.IsValid() && addr.Is4() != family.Is4():
		return Endpoint{}, false
	case p.hostNetwork:
		return s.hostEndpoint(addr), true
	}
	return s.endpoint(p, addr), true
}

// port is the one at the pod; false when the Service does not lead to one.
func (f *frontend) port(p *pod, c *Connection) (uint16, bool) {
	if f.kind == headless {
		return c.Port, true
	}
	return f.svc.targetPort(p, c.Protocol, c.Port, f.kind == onNode)
}
