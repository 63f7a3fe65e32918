// SPDX-License-Identifier: Apache-2.0

package netpol

import (
	"cmp"
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

// Snapshot is a compiled, immutable state of a cluster. It is safe for concurrent use. The zero Snapshot
// is an empty cluster.
type Snapshot struct {
	namespaces dict[string, *namespace]
	nodes      dict[string, *node]
	cluster    []*clusterPolicy // in order of precedence

	// Who claims an address. The last of the claimants has it: the lists are in order.
	pods      dict[netip.Addr, []*pod]     // with an identity
	hostPods  dict[netip.Addr, []*pod]     // on the host network
	nodeAddrs dict[netip.Addr, []*node]    // of Node objects
	services  dict[netip.Addr, []*service] // cluster addresses
	external  dict[netip.Addr, []*service] // external addresses and load balancers
	nodePorts dict[nodePort, []*service]
}

// node is the part of a Node that policies speak of.
type node struct {
	name   string
	labels labels.Set
	addrs  []netip.Addr
}

// address is the node's first address of a family; the zero Addr when it has none.
func (n *node) address(family netip.Addr) netip.Addr {
	for _, a := range n.addrs {
		if a.Is4() == family.Is4() {
			return a
		}
	}
	return netip.Addr{}
}

func compileNode(kn *corev1.Node) *node {
	return &node{name: kn.Name, labels: kn.Labels, addrs: NodeAddresses(kn)}
}

// NodeAddresses are those in the node's status, in its order, each once. Host names, which are in the same list, are
// left out.
func NodeAddresses(kn *corev1.Node) (addrs []netip.Addr) {
	for _, a := range kn.Status.Addresses {
		addrs = addAddress(addrs, a.Address)
	}
	return addrs
}

// Endpoint is one end of a connection as policies see it: an address, and the pod that owns it.
// The zero Endpoint is no address.
type Endpoint struct {
	Addr      netip.Addr
	pod       *pod       // nil: not a pod
	namespace *namespace // of the pod
	node      *node      // nil: a pod, or no Node has the address
}

// Pod is the name of the pod; the zero name when the endpoint is not a pod.
func (e Endpoint) Pod() types.NamespacedName {
	if e.pod == nil {
		return types.NamespacedName{}
	}
	return e.pod.ref
}

// IsKnown says whether a pod or a Node has the address.
func (e Endpoint) IsKnown() bool { return e.pod != nil || e.node != nil }

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
	if p := last(s.pods.get(addr)); p != nil {
		return s.endpoint(p, addr)
	}
	return Endpoint{Addr: addr, node: last(s.nodeAddrs.get(addr))}
}

// hostEndpoint is the endpoint of a pod on the host network: the address, with no pod. Another pod that
// has it keeps it from being the node's.
func (s *Snapshot) hostEndpoint(addr netip.Addr) Endpoint {
	e := s.EndpointAt(addr)
	e.pod, e.namespace = nil, nil
	return e
}

func (s *Snapshot) endpoint(p *pod, addr netip.Addr) Endpoint {
	return Endpoint{Addr: addr, pod: p, namespace: s.namespaces.get(p.ref.Namespace)}
}

// last is who has what several claim; nil when nobody does.
func last[T any](claimants []*T) *T {
	if len(claimants) == 0 {
		return nil
	}
	return claimants[len(claimants)-1]
}

// Endpoint is a pod at its first address; the zero Endpoint for a pod that is not known or has no
// identity.
func (s *Snapshot) Endpoint(name types.NamespacedName) Endpoint {
	p := s.pod(name)
	if p == nil || !p.hasIdentity() {
		return Endpoint{}
	}
	return s.endpoint(p, p.address(netip.Addr{}))
}

// Addresses are those of a pod, in its own order; nil for a pod that is not known or has no identity.
func (s *Snapshot) Addresses(name types.NamespacedName) []netip.Addr {
	if p := s.pod(name); p != nil && p.hasIdentity() {
		return p.addrs
	}
	return nil
}

// Labels are those of a pod, in a map that all pods of the namespace with the same labels share: keep this one, and only
// read it. nil for a pod that is not known.
func (s *Snapshot) Labels(name types.NamespacedName) map[string]string {
	if p := s.pod(name); p != nil {
		return p.labels
	}
	return nil
}

func (s *Snapshot) pod(name types.NamespacedName) *pod {
	ns := s.namespaces.get(name.Namespace)
	if ns == nil {
		return nil
	}
	return find(ns.pods, name.Name)
}

// Endpoints are all addresses of all pods with an identity, in order of pod name.
func (s *Snapshot) Endpoints() iter.Seq[Endpoint] {
	return func(yield func(Endpoint) bool) {
		for _, name := range s.namespaceNames() {
			for _, p := range s.namespaces.get(name).pods {
				for _, addr := range p.addrs {
					if last(s.pods.get(addr)) == p && !yield(s.endpoint(p, addr)) {
						return
					}
				}
			}
		}
	}
}

func (s *Snapshot) namespaceNames() []string {
	names := make([]string, 0, s.namespaces.count)
	for name := range s.namespaces.all() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// NodeEndpoints are all addresses of Nodes that no pod has, in order of address.
func (s *Snapshot) NodeEndpoints() []Endpoint {
	var all []Endpoint
	for addr := range s.nodeAddrs.all() {
		if e := s.EndpointAt(addr); e.pod == nil {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b Endpoint) int { return a.Addr.Compare(b.Addr) })
	return all
}

// RuleSet is what governs a pod in a direction: the zero RuleSet for a pod that is not known or
// has no identity.
func (s *Snapshot) RuleSet(name types.NamespacedName, d Direction) RuleSet {
	p := s.pod(name)
	if p == nil || !p.hasIdentity() {
		return RuleSet{}
	}
	return *s.endpoint(p, netip.Addr{}).rules(d)
}

// rules are those of the endpoint's pod, which is not nil.
func (e Endpoint) rules(d Direction) *RuleSet { return e.namespace.classes[e.pod.class].rules[d] }

// nodeAt is the name of the node that has an address; empty when none has.
func (s *Snapshot) nodeAt(addr netip.Addr) string {
	if n := last(s.nodeAddrs.get(addr)); n != nil {
		return n.name
	}
	if p := last(s.hostPods.get(addr)); p != nil {
		return p.node
	}
	return ""
}

// isOwnNode says whether from is the node of the pod at to.
func (s *Snapshot) isOwnNode(from, to Endpoint) bool {
	return from.pod == nil && to.pod != nil && to.pod.node != "" && s.nodeAt(from.Addr) == to.pod.node
}

// compareNodes orders the claimants of an address.
func compareNodes(a, b *node) int { return cmp.Compare(a.name, b.name) }
