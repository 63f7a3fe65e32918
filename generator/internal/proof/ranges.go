// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"math/big"
	"net/netip"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Range is a rule's peer that is a range of addresses, or everyone.
type Range struct {
	Rule      string `json:"rule"`
	Range     string `json:"range"`     // a CIDR, or "everyone"
	Addresses string `json:"addresses"` // how many, in decimal; empty for everyone
	Ports     string `json:"ports"`     // "TCP/443, UDP/53" or "all"
	Seen      int    `json:"seen"`      // distinct addresses observed in it
}

// ranges lists the rules that allow more addresses than one at a time.
func (j *judge) ranges(seen []*evidence.Connection) (all []Range) {
	addrs := addresses(seen)
	for _, r := range j.excessive() {
		if len(r.compiled.Peers) == 0 {
			all = append(all, Range{Rule: r.name(), Range: "everyone", Ports: portsText(r.compiled), Seen: len(addrs)})
		}
		for i := range r.compiled.Peers {
			if m := &r.compiled.Peers[i]; m.Block.IsValid() && !m.Block.IsSingleIP() {
				all = append(all, Range{r.name(), m.Block.String(), size(m).String(), portsText(r.compiled), within(m, addrs)})
			}
		}
	}
	return all
}

// excessive are the rules that may allow something in excess: those that govern a pod, but the baseline's.
func (j *judge) excessive() (rules []*rule) {
	for _, r := range j.rules {
		if r.compiled != nil && !r.baseline {
			rules = append(rules, r)
		}
	}
	return rules
}

// addresses are the observed ends that are no pods, each once.
func addresses(seen []*evidence.Connection) []netip.Addr {
	distinct := map[netip.Addr]bool{}
	var all []netip.Addr
	for _, c := range seen {
		for _, end := range []*edge.Endpoint{&c.From, &c.To} {
			if !end.IsPod() && !distinct[end.Addr] {
				distinct[end.Addr] = true
				all = append(all, end.Addr)
			}
		}
	}
	return all
}

func within(m *netpol.PeerMatch, addrs []netip.Addr) (n int) {
	for _, a := range addrs {
		if m.Block.Contains(a) {
			n++
		}
	}
	return n
}

func size(m *netpol.PeerMatch) *big.Int {
	n := addressesOf(m.Block)
	for _, hole := range m.Except {
		n.Sub(n, addressesOf(hole))
	}
	return n
}

func addressesOf(block netip.Prefix) *big.Int {
	return new(big.Int).Lsh(big.NewInt(1), uint(block.Addr().BitLen()-block.Bits()))
}
