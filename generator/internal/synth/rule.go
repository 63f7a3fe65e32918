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

// rule is peers × ports, all of which were observed.
type rule struct {
	peers []edge.Endpoint
	ports []portKey
}

// group makes one rule of each workload, so that a reviewer reads one peer at a time and a new
// port changes one rule. Addresses with the same ports share a rule. Every pair of peer and port
// in a rule was observed, so a rule allows nothing in excess.
func group(connections []evidence.Connection, d netpol.Direction) []rule {
	byPeer := map[edge.Endpoint]*rule{}
	for _, c := range connections {
		peer := c.To
		if d == netpol.Ingress {
			peer = c.From
		}
		if !peer.IsPod() {
			peer.Entity = "" // policies know addresses, not what an observer calls them
		}
		r := byPeer[peer]
		if r == nil {
			r = &rule{peers: []edge.Endpoint{peer}}
			byPeer[peer] = r
		}
		if key := (portKey{c.Protocol, c.Port}); !slices.Contains(r.ports, key) {
			r.ports = append(r.ports, key)
		}
	}
	return share(byPeer)
}

func share(byPeer map[edge.Endpoint]*rule) []rule {
	var rules []rule
	addresses := map[string]*rule{} // by ports
	peers := make([]edge.Endpoint, 0, len(byPeer))
	for e := range byPeer {
		peers = append(peers, e)
	}
	slices.SortFunc(peers, edge.Endpoint.Compare) // pods come first
	for _, e := range peers {
		r := byPeer[e]
		slices.SortFunc(r.ports, portKey.compare)
		if e.IsPod() {
			rules = append(rules, *r)
			continue
		}
		key := fmt.Sprint(r.ports)
		if shared := addresses[key]; shared != nil {
			shared.peers = append(shared.peers, e)
			continue
		}
		addresses[key] = r
	}
	var tail []rule
	for _, r := range addresses {
		tail = append(tail, *r)
	}
	slices.SortFunc(tail, func(a, b rule) int { return a.peers[0].Compare(b.peers[0]) })
	return append(rules, tail...)
}

func peers(ends []edge.Endpoint, inv *inventory.Inventory) []networkingv1.NetworkPolicyPeer {
	var out []networkingv1.NetworkPolicyPeer
	for _, e := range ends {
		if !e.IsPod() {
			out = append(out, networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: host(e.Addr)}})
			continue
		}
		out = append(out, networkingv1.NetworkPolicyPeer{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: e.Namespace}},
			PodSelector:       inv.Workload(e).Selector.DeepCopy(),
		})
	}
	return out
}

// host is the narrowest block that holds an address.
func host(a netip.Addr) string { return netip.PrefixFrom(a, a.BitLen()).String() }

func ports(keys []portKey) []networkingv1.NetworkPolicyPort {
	var out []networkingv1.NetworkPolicyPort
	for _, k := range keys {
		port := intstr.FromInt32(int32(k.port))
		out = append(out, networkingv1.NetworkPolicyPort{Protocol: &k.protocol, Port: &port})
	}
	return out
}
