// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/corpus"
)

// checkAllowed holds the sets of ports that may pass against the file: each has the ports that are
// allowed in it, and no others.
func checkAllowed(f *corpus.File) error {
	s, _ := netpol.Compile(f.Objects)
	if err := checkEndpoints(s, f.Objects.Pods); err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	for _, edge := range []netpol.PortRange{{From: 0, To: 65534}, {From: 1, To: 65535}, {From: 0, To: 65535}, {From: 65535, To: 65535}} {
		edge.Protocol = corev1.ProtocolTCP
		if err := checkSet(netpol.Ports(edge)); err != nil {
			return fmt.Errorf("TCP %d-%d: %w", edge.From, edge.To, err)
		}
	}
	for _, c := range f.Connections {
		from, to, ok := ends(s, f.Objects.Pods, c)
		if !ok {
			continue
		}
		allowed := s.Allowed(from, to)
		at := netpol.PortRange{Protocol: cmp.Or(c.Protocol, corev1.ProtocolTCP), From: c.Port, To: c.Port}
		if allowed.Contains(at.Protocol, c.Port) != c.Want.Allowed || listed(allowed, at) != (c.Want.Allowed && hasPorts(at.Protocol)) {
			return fmt.Errorf("%s: got %s", c.Pos, allowed)
		}
		if err := checkSet(allowed); err != nil {
			return fmt.Errorf("%s: %s: %w", c.Pos, allowed, err)
		}
	}
	return nil
}

// checkEndpoints: only a pod that runs in a network of its own is an endpoint.
func checkEndpoints(s *netpol.Snapshot, pods []*corev1.Pod) error {
	if none := s.Endpoint(types.NamespacedName{Namespace: "no", Name: "pod"}); none != (netpol.Endpoint{}) || none.Pod().Name != "" {
		return errors.New("a pod that does not exist is an endpoint")
	}
	for _, kp := range pods {
		own := !kp.Spec.HostNetwork && kp.Status.Phase != corev1.PodSucceeded && kp.Status.Phase != corev1.PodFailed
		name := types.NamespacedName{Namespace: kp.Namespace, Name: kp.Name}
		if got := s.Endpoint(name); own != (got != netpol.Endpoint{}) || own && got.Pod() != name {
			return fmt.Errorf("pod %s as an endpoint: %q", name, got.Pod())
		}
	}
	return nil
}

// listed says whether the ranges of a set have a port.
func listed(set netpol.PortSet, at netpol.PortRange) bool {
	return slices.ContainsFunc(set.Ranges(), func(r netpol.PortRange) bool {
		return r.Protocol == at.Protocol && r.From <= at.From && at.To <= r.To
	})
}

func hasPorts(protocol corev1.Protocol) bool {
	return protocol == corev1.ProtocolTCP || protocol == corev1.ProtocolUDP || protocol == corev1.ProtocolSCTP
}

// checkSet holds a set of ports to the laws of sets: what a set of all its ranges, and what is left
// without it, must be.
func checkSet(set netpol.PortSet) error {
	without := netpol.AllPorts().Subtract(set)
	again := netpol.Ports(append(set.Ranges(), netpol.PortRange{Protocol: "ICMP"}, netpol.PortRange{Protocol: corev1.ProtocolTCP, From: 2, To: 1})...)
	for _, r := range set.Ranges() {
		if r.From > 0 && set.Contains(r.Protocol, r.From-1) || r.To < 65535 && set.Contains(r.Protocol, r.To+1) || !set.Contains(r.Protocol, r.From) || !set.Contains(r.Protocol, r.To) {
			return fmt.Errorf("%s/%d-%d does not end where the set does", r.Protocol, r.From, r.To)
		}
	}
	switch {
	case !slices.Equal(again.Ranges(), set.Ranges()):
		return errors.New("its ranges make another set")
	case set.Other() == without.Other() || set.Contains("ICMP", 0) != set.Other():
		return errors.New("protocols without ports are in it and in what is left, or in none")
	case !set.Union(without).All() || !without.Union(set).All():
		return errors.New("with what is left, it is not everything")
	case !set.Intersect(without).Empty() || !without.Intersect(set).Empty() || !set.Subtract(set).Empty():
		return errors.New("it has something of what is left")
	case !set.Intersect(netpol.AllPorts()).Equal(set) || !set.Union(set).Equal(set) || set.Equal(without):
		return errors.New("it is not itself")
	}
	return nil
}

// ends are the endpoints of a connection; false when it goes to a Service, or when one of them is not known or
// on the host network, so that its name leads to no endpoint.
func ends(s *netpol.Snapshot, pods []*corev1.Pod, c corpus.Connection) (from, to netpol.Endpoint, ok bool) {
	if c.Want.Resolved != "" || c.Want.Egress.Reason == netpol.UnknownPod || c.Want.Ingress.Reason == netpol.UnknownPod {
		return from, to, false
	}
	sources, known := endpoints(s, pods, c.From)
	destinations, found := endpoints(s, pods, c.To)
	if !known || !found {
		return from, to, false
	}
	for _, to := range destinations { // the destination's first family counts
		for _, from := range sources {
			if from.Addr.Is4() == to.Addr.Is4() || !from.Addr.IsValid() || !to.Addr.IsValid() {
				return from, to, true
			}
		}
	}
	return sources[0], destinations[0], true
}

// endpoints are those that a peer can be, as the objects tell.
func endpoints(s *netpol.Snapshot, pods []*corev1.Pod, p netpol.Peer) (all []netpol.Endpoint, ok bool) {
	if p.Addr.IsValid() {
		return []netpol.Endpoint{s.EndpointAt(p.Addr)}, p.Pod == types.NamespacedName{}
	}
	i := slices.IndexFunc(pods, func(kp *corev1.Pod) bool { return kp.Namespace == p.Pod.Namespace && kp.Name == p.Pod.Name })
	if i < 0 || pods[i].Spec.HostNetwork {
		return nil, false
	}
	all = append(all, s.Endpoint(p.Pod))
	for _, ip := range pods[i].Status.PodIPs {
		if addr, err := netip.ParseAddr(ip.IP); err == nil {
			all = append(all, s.EndpointAt(addr))
		}
	}
	return all, true
}
