// SPDX-License-Identifier: Apache-2.0

package synth

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

type portKey struct {
	protocol corev1.Protocol
	port     uint16
}

func (p portKey) compare(o portKey) int {
	return cmp.Or(cmp.Compare(p.protocol, o.protocol), cmp.Compare(p.port, o.port))
}

// peer is a workload or a block of addresses.
type peer struct {
	workload edge.Endpoint // empty: it is a block
	block    netip.Prefix
}

func peerOf(c *evidence.Connection, d netpol.Direction) peer {
	end := c.To
	if d == netpol.Ingress {
		end = c.From
	}
	if end.IsPod() {
		return peer{workload: end}
	}
	return peer{block: c.Block()}
}

// rule is peers × ports, all of which were observed.
type rule struct {
	peers []peer
	ports []portKey
}

// group makes one rule of each workload, so that a reviewer reads one peer at a time and a new
// port changes one rule. Addresses with the same ports share a rule, in which they may be joined to blocks that hold
// at most budget addresses more. All else that a rule allows was observed.
func group(connections []*evidence.Connection, d netpol.Direction, budget uint64) []rule {
	byPeer := make(map[peer]*rule, len(connections)) // mostly as many
	for _, c := range connections {
		p := peerOf(c, d)
		r := byPeer[p]
		if r == nil {
			r = &rule{peers: []peer{p}}
			byPeer[p] = r
		}
		if key := (portKey{c.Protocol, c.Port}); !slices.Contains(r.ports, key) {
			r.ports = append(r.ports, key)
		}
	}
	return share(byPeer, budget)
}

func share(byPeer map[peer]*rule, budget uint64) []rule {
	var workloads []rule
	ports, blocks := map[string][]portKey{}, map[string][]netip.Prefix{} // by ports
	for p, r := range byPeer {
		slices.SortFunc(r.ports, portKey.compare)
		if p.workload.IsPod() {
			workloads = append(workloads, *r)
			continue
		}
		key := fmt.Sprint(r.ports)
		ports[key], blocks[key] = r.ports, append(blocks[key], p.block)
	}
	slices.SortFunc(workloads, func(a, b rule) int { return a.peers[0].workload.Compare(b.peers[0].workload) })
	var addresses []rule
	for key, keys := range ports {
		r := rule{ports: keys}
		for _, b := range widen(blocks[key], budget) {
			r.peers = append(r.peers, peer{block: b})
		}
		addresses = append(addresses, r)
	}
	slices.SortFunc(addresses, func(a, b rule) int {
		return cmp.Or(a.peers[0].block.Compare(b.peers[0].block), slices.CompareFunc(a.ports, b.ports, portKey.compare))
	})
	return append(workloads, addresses...)
}

func peers(of []peer, s *selectors) []networkingv1.NetworkPolicyPeer {
	out := make([]networkingv1.NetworkPolicyPeer, 0, len(of))
	for _, p := range of {
		if !p.workload.IsPod() {
			out = append(out, networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: p.block.String()}})
			continue
		}
		out = append(out, networkingv1.NetworkPolicyPeer{NamespaceSelector: s.namespace(p.workload.Namespace), PodSelector: s.pods(p.workload)})
	}
	return out
}

// selectors are those of peers. Policies share them, because the peers of a namespace's policies are mostly the same: nobody
// writes to them.
type selectors struct {
	inv        *inventory.Inventory
	namespaces map[string]*metav1.LabelSelector
	workloads  map[edge.Endpoint]*metav1.LabelSelector
}

func newSelectors(inv *inventory.Inventory) *selectors {
	return &selectors{inv, map[string]*metav1.LabelSelector{}, map[edge.Endpoint]*metav1.LabelSelector{}}
}

func (s *selectors) namespace(name string) *metav1.LabelSelector {
	if s.namespaces[name] == nil {
		s.namespaces[name] = &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: name}}
	}
	return s.namespaces[name]
}

func (s *selectors) pods(of edge.Endpoint) *metav1.LabelSelector {
	known := s.workloads[of]
	if known == nil {
		known = s.inv.Workload(of).Selector.DeepCopy()
		s.workloads[of] = known
	}
	return known
}

func ports(keys []portKey) []networkingv1.NetworkPolicyPort {
	out := make([]networkingv1.NetworkPolicyPort, 0, len(keys))
	for _, k := range keys {
		port := intstr.FromInt32(int32(k.port))
		out = append(out, networkingv1.NetworkPolicyPort{Protocol: &k.protocol, Port: &port})
	}
	return out
}
