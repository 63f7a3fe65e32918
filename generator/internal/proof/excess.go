// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"fmt"
	"math/big"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// maxListed bounds the lists of a report; the counts are of all.
const maxListed = 1000

// Excess is what the policies allow and nobody was seen to use. It does not count what the
// baseline allows to everyone (DNS).
type Excess struct {
	// Count is the number of allowed, unseen (source workload, destination workload, protocol,
	// range of ports) of the inventory.
	Count int      `json:"count"`
	Pairs []Unseen `json:"pairs"` // the first 1000 of them
	// Ranges are the rules that allow more addresses than one at a time.
	Ranges []Range `json:"ranges"`
}

// Unseen is something allowed between two workloads that was not observed.
type Unseen struct {
	From     string          `json:"from"`
	To       string          `json:"to"`
	Protocol corev1.Protocol `json:"protocol"`
	Ports    string          `json:"ports"` // "3000" or "1-65535"
}

// Range is a rule's peer that is a range of addresses, or everyone.
type Range struct {
	Rule      string `json:"rule"`
	Range     string `json:"range"`     // a CIDR, or "everyone"
	Addresses string `json:"addresses"` // how many, in decimal; empty for everyone
	Seen      int    `json:"seen"`      // distinct addresses observed in it
}

type ports struct{ from, to uint16 }

func (p ports) String() string {
	if p.from == p.to {
		return fmt.Sprint(p.from)
	}
	return fmt.Sprintf("%d-%d", p.from, p.to)
}

func excess(s *netpol.Snapshot, policies []*networkingv1.NetworkPolicy, seen []evidence.Connection, sample *inventory.Sample, namespaces []string) Excess {
	out := Excess{Pairs: []Unseen{}, Ranges: []Range{}}
	observed := map[edge.Key]bool{}
	for _, c := range seen {
		observed[edge.Key{From: c.From, To: c.To, Protocol: c.Protocol, Port: c.Port}] = true
	}
	classes := portClasses(policies, seen, sample)
	workloads := sample.Workloads()
	for _, from := range workloads {
		for _, to := range workloads {
			if !slices.Contains(namespaces, from.Namespace) && !slices.Contains(namespaces, to.Namespace) {
				continue
			}
			for _, k := range unseen(s, sample, from, to, classes, observed) {
				out.Count++
				if len(out.Pairs) < maxListed {
					out.Pairs = append(out.Pairs, k)
				}
			}
		}
	}
	for _, p := range policies {
		out.Ranges = append(out.Ranges, ranges(p, seen)...)
	}
	out.Ranges = out.Ranges[:min(len(out.Ranges), maxListed)]
	return out
}

func unseen(s *netpol.Snapshot, sample *inventory.Sample, from, to edge.Endpoint, classes map[corev1.Protocol][]ports, observed map[edge.Key]bool) []Unseen {
	pairs, err := sample.Pairs(from, to)
	if err != nil {
		return nil // not in the sample: nothing can be allowed
	}
	var out []Unseen
	for _, protocol := range protocols {
		for _, class := range classes[protocol] {
			if observed[edge.Key{From: from, To: to, Protocol: protocol, Port: class.from}] {
				continue // the ports that were seen are classes of their own
			}
			if slices.ContainsFunc(pairs, func(pair [2]netpol.Peer) bool {
				v := s.Evaluate(netpol.Connection{From: pair[0], To: pair[1], Protocol: protocol, Port: class.from})
				return v.Allowed && !(v.Egress.Rule != nil && isBaseline(v.Egress.Rule.Name))
			}) {
				out = append(out, Unseen{from.String(), to.String(), protocol, class.String()})
			}
		}
	}
	return out
}

var protocols = []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}

// portClasses divides the ports of each protocol into ranges that every policy treats alike, so that
// one port of a range answers for all.
func portClasses(policies []*networkingv1.NetworkPolicy, seen []evidence.Connection, sample *inventory.Sample) map[corev1.Protocol][]ports {
	edges := map[corev1.Protocol]map[int]bool{}
	for _, p := range protocols {
		edges[p] = map[int]bool{1: true}
	}
	mark := func(p corev1.Protocol, from, to uint16) {
		if edges[p] != nil {
			edges[p][max(1, int(from))], edges[p][int(to)+1] = true, true
		}
	}
	for _, p := range policies {
		for _, rule := range netpol.View(p).Allows {
			for _, port := range rule.Ports {
				mark(corev1.Protocol(port.Protocol), port.From, port.To)
			}
		}
	}
	for _, c := range seen {
		mark(c.Protocol, c.Port, c.Port)
	}
	for _, pod := range sample.Pods { // named ports stand for these
		for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
			for _, port := range c.Ports {
				mark(protocolOf(port), uint16(port.ContainerPort), uint16(port.ContainerPort))
			}
		}
	}
	classes := map[corev1.Protocol][]ports{}
	for p, set := range edges {
		classes[p] = between(set)
	}
	return classes
}

func protocolOf(p corev1.ContainerPort) corev1.Protocol {
	if p.Protocol == "" {
		return corev1.ProtocolTCP
	}
	return p.Protocol
}

func between(edges map[int]bool) []ports {
	starts := make([]int, 0, len(edges))
	for e := range edges {
		if e <= 65535 {
			starts = append(starts, e)
		}
	}
	slices.Sort(starts)
	var out []ports
	for i, from := range starts {
		to := 65535
		if i+1 < len(starts) {
			to = starts[i+1] - 1
		}
		out = append(out, ports{uint16(from), uint16(to)})
	}
	return out
}

func ranges(p *networkingv1.NetworkPolicy, seen []evidence.Connection) []Range {
	var out []Range
	for _, rule := range netpol.View(p).Allows {
		name := fmt.Sprintf("NetworkPolicy %s/%s %s", p.Namespace, p.Name, rule.Path)
		if rule.Everyone {
			out = append(out, Range{Rule: name, Range: "everyone", Seen: addressesIn(netip.Prefix{}, seen)})
		}
		for _, peer := range rule.Peers {
			block, err := netip.ParsePrefix(peer.CIDR)
			if err != nil || block.IsSingleIP() {
				continue
			}
			out = append(out, Range{name, peer.CIDR, size(block, peer.Except).String(), addressesIn(block, seen)})
		}
	}
	return out
}

// addressesIn counts the distinct observed addresses of a block; of any block for the zero Prefix.
func addressesIn(block netip.Prefix, seen []evidence.Connection) int {
	distinct := map[netip.Addr]bool{}
	for end := range evidence.Ends(seen) {
		if !end.IsPod() && (!block.IsValid() || block.Contains(end.Addr)) {
			distinct[end.Addr] = true
		}
	}
	return len(distinct)
}

func size(block netip.Prefix, except []string) *big.Int {
	n := new(big.Int).Lsh(big.NewInt(1), uint(block.Addr().BitLen()-block.Bits()))
	for _, e := range except {
		if hole, err := netip.ParsePrefix(e); err == nil {
			n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(hole.Addr().BitLen()-hole.Bits())))
		}
	}
	return n
}
