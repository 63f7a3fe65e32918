// SPDX-License-Identifier: Apache-2.0

package random

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Connection is one between any two ends that exist in the cluster, or do not.
func (g *Generator) Connection(objs netpol.Objects) netpol.Connection {
	c := netpol.Connection{
		From: g.peer(objs), To: g.peer(objs),
		Protocol: Pick(g, "", "TCP", "TCP", "TCP", "TCP", "TCP", corev1.ProtocolUDP, corev1.ProtocolUDP, corev1.ProtocolSCTP, corev1.ProtocolSCTP),
		Port:     Pick[uint16](g, 0, 1, 52, 53, 54, 79, 80, 80, 81, 8080, 8080, 65534, 65535),
	}
	if g.percent(3) {
		c.Protocol = "ICMP"
	}
	if g.percent(40) && len(objs.Services) > 0 {
		g.toService(&c, objs)
	}
	return c
}

// toService asks for a Service in any of the ways, and mostly for a port that it has.
func (g *Generator) toService(c *netpol.Connection, objs netpol.Objects) {
	svc := Pick(g, objs.Services...)
	var port corev1.ServicePort
	if len(svc.Spec.Ports) > 0 && g.percent(90) {
		port = Pick(g, svc.Spec.Ports...)
		c.Protocol, c.Port = port.Protocol, uint16(port.Port)
	}
	switch n := g.IntN(100); {
	case n < 25:
		c.To = g.address(Pick(g, append([]string{svc.Spec.ClusterIP}, svc.Spec.ClusterIPs...)...))
	case n < 50:
		c.To = netpol.Peer{Service: types.NamespacedName{Namespace: svc.Namespace, Name: svc.Name}}
		if g.percent(3) {
			c.To.Service.Name = "nosuch"
		}
	case n < 75:
		external := append([]string{""}, svc.Spec.ExternalIPs...)
		for _, in := range svc.Status.LoadBalancer.Ingress {
			external = append(external, in.IP)
		}
		c.To = g.address(Pick(g, external...))
		if g.percent(30) {
			c.From = g.address(Pick(g, "192.0.2.1", "2001:db8::1"))
		}
	default:
		c.To, c.Port = g.nodePeer(), uint16(port.NodePort)
	}
}

// peer is a pod mostly, by name or address; what is not known is rare.
func (g *Generator) peer(objs netpol.Objects) netpol.Peer {
	pod := Pick(g, objs.Pods...)
	switch n := g.IntN(100); {
	case n < 2 && len(objs.Services) > 0: // even From, where it is an address like any other
		return g.address(Pick(g, objs.Services...).Spec.ClusterIP)
	case n < 28:
		if p := g.address(g.written(pod)); p.Addr.IsValid() {
			return p
		}
	case n < 36:
		return g.nodePeer()
	case n < 42:
		return g.address(Pick(g, "192.0.2.1", "10.0.0.15", "10.1.0.1", "2001:db8::1", "fd00::f", "0.0.0.0", "::", "255.255.255.255"))
	case n < 44:
		return Pick(g, netpol.Peer{}, netpol.Peer{Pod: types.NamespacedName{Namespace: pod.Namespace, Name: "nosuch"}}, netpol.Peer{Pod: types.NamespacedName{Namespace: "nosuch", Name: pod.Name}})
	case n < 55:
		p := g.address(g.written(pod))
		if g.percent(20) { // perhaps of another, or of nobody
			p = g.address(Pick(g, g.written(Pick(g, objs.Pods...)), "192.0.2.1", "10.0.1.1", "fd00::f"))
		}
		p.Pod = nameOf(pod)
		return p
	}
	return netpol.Peer{Pod: nameOf(pod)}
}

func nameOf(pod *corev1.Pod) types.NamespacedName {
	return types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
}

func (g *Generator) nodePeer() netpol.Peer {
	return g.address(Pick(g, "10.0.1.1", "10.0.1.1", "10.0.1.2", "10.0.1.5", "10.0.1.6", "fd00::1:1", "fd00::1:2", "10.0.2.1"))
}

// written is one of the addresses in the pod's status as it stands there; empty when there is none.
func (g *Generator) written(pod *corev1.Pod) string {
	all := []string{pod.Status.PodIP}
	for _, ip := range pod.Status.PodIPs {
		all = append(all, ip.IP)
	}
	return Pick(g, all...)
}

// address is no peer at all if the text is no address.
func (g *Generator) address(s string) netpol.Peer {
	addr, err := netip.ParseAddr(s)
	if err == nil && g.percent(5) {
		addr = netip.AddrFrom16(addr.As16()) // an IPv4 address in its IPv6 form
	}
	return netpol.Peer{Addr: addr}
}
