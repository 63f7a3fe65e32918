// SPDX-License-Identifier: Apache-2.0

package netpol

import (
	"iter"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"
)

// Objects are the input of Compile: plain API objects, in any order. They are read only.
type Objects struct {
	// Namespaces; one that is missing is implied, with its standard label alone.
	Namespaces []*corev1.Namespace
	Pods       []*corev1.Pod
	Services   []*corev1.Service
	Nodes      []*corev1.Node
	Policies   []*networkingv1.NetworkPolicy
	// ClusterPolicies of the Admin and Baseline tiers.
	ClusterPolicies []*policyv1alpha2.ClusterNetworkPolicy
}

// Snapshot is a compiled, immutable state of a cluster. It is safe for concurrent use.
type Snapshot struct {
	pods     map[types.NamespacedName]*pod
	order    []*pod
	byAddr   map[netip.Addr]*pod
	nodes    map[netip.Addr]string // address → node name
	services map[netip.Addr]*service
}

// pod is the part of a Pod that policies speak of.
type pod struct {
	ref             types.NamespacedName
	namespaceLabels labels.Set
	labels          labels.Set
	addrs           []netip.Addr
	node            string
	hostNetwork     bool
	completed       bool
	ports           []namedPort
	rules           [2]*RuleSet // by Direction
}

type namedPort struct {
	name     string
	protocol corev1.Protocol
	number   uint16
}

// hasIdentity: a pod on the host network is its node, a completed one is gone.
func (p *pod) hasIdentity() bool { return !p.hostNetwork && !p.completed }

// Endpoint is one end of a connection as policies see it: an address, and the pod that owns it.
// The zero Endpoint is no address.
type Endpoint struct {
	Addr netip.Addr
	pod  *pod // nil: not a pod
}

// Pod is the name of the pod; the zero name when the endpoint is not a pod.
func (e Endpoint) Pod() types.NamespacedName {
	if e.pod == nil {
		return types.NamespacedName{}
	}
	return e.pod.ref
}

// NamedPorts are the numbers that the endpoint's pod gives a port name, ascending; nil when none.
func (e Endpoint) NamedPorts(name string, protocol corev1.Protocol) []uint16 {
	if e.pod == nil {
		return nil
	}
	var numbers []uint16
	for _, p := range e.pod.ports {
		if p.name == name && p.protocol == protocol {
			numbers = append(numbers, p.number)
		}
	}
	slices.Sort(numbers)
	return slices.Compact(numbers)
}

// EndpointAt is the endpoint that an address is.
func (s *Snapshot) EndpointAt(addr netip.Addr) Endpoint {
	addr = addr.Unmap()
	return Endpoint{Addr: addr, pod: s.byAddr[addr]}
}

// Endpoint is a pod at its first address; the zero Endpoint for a pod that is not known or has no
// identity.
func (s *Snapshot) Endpoint(name types.NamespacedName) Endpoint {
	p := s.pods[name]
	if p == nil || !p.hasIdentity() {
		return Endpoint{}
	}
	return Endpoint{Addr: p.address(netip.Addr{}), pod: p}
}

// Endpoints are all addresses of all pods with an identity, in order of pod name.
func (s *Snapshot) Endpoints() iter.Seq[Endpoint] {
	return func(yield func(Endpoint) bool) {
		for _, p := range s.order {
			for _, addr := range p.addrs {
				if s.byAddr[addr] == p && !yield(Endpoint{Addr: addr, pod: p}) {
					return
				}
			}
		}
	}
}

// RuleSet is what governs a pod in a direction: the zero RuleSet for a pod that is not known or
// has no identity.
func (s *Snapshot) RuleSet(name types.NamespacedName, d Direction) RuleSet {
	p := s.pods[name]
	if p == nil || !p.hasIdentity() {
		return RuleSet{}
	}
	return *p.rules[d]
}
