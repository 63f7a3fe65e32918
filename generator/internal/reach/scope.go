// SPDX-License-Identifier: Apache-2.0

package reach

import (
	"maps"
	"net/netip"
	"slices"
)

// scope is all ends that are asked about, numbered: the workloads, then the cells of addresses, then the pods
// that do not exist yet.
type scope struct {
	workloads []End
	division  division     // by all ranges
	outside   division     // by those with addresses that no pod has
	cells     []netip.Addr // one such address of each cell of outside
	witnesses []*witness
}

// newScope is what the clusters have in common to be asked about.
func newScope(exposure bool, clusters ...*Cluster) (*scope, error) {
	s := &scope{}
	if exposure {
		s.witnesses = witnesses(clusters...)
	}
	prefixes := slices.Clone(families)
	owned := map[netip.Addr]bool{}
	for _, c := range clusters {
		for _, m := range c.members {
			s.workloads = append(s.workloads, m.end)
		}
		maps.Copy(owned, c.owned)
		rules, err := c.allRules(s.witnesses)
		if err != nil {
			return nil, err
		}
		prefixes = append(prefixes, c.prefixes(rules)...)
	}
	slices.SortFunc(s.workloads, End.Compare)
	s.workloads = slices.Compact(s.workloads)
	s.division = divide(prefixes)
	for i, addr := range s.division.free(owned) {
		if addr.IsValid() {
			s.outside, s.cells = append(s.outside, s.division[i]), append(s.cells, addr)
		}
	}
	return s, nil
}

// cellOf is the index of the narrowest prefix that has an address.
func (d division) cellOf(addr netip.Addr) int {
	for bits := addr.BitLen(); bits >= 0; bits-- {
		p, _ := addr.Prefix(bits)
		if i, ok := slices.BinarySearchFunc(d, p, netip.Prefix.Compare); ok {
			return i
		}
	}
	return -1
}

// firstOfCells leaves one of several addresses that no rule tells apart.
func (d division) firstOfCells(addrs []netip.Addr) (firsts []netip.Addr) {
	seen := map[int]bool{}
	for _, addr := range addrs {
		if i := d.cellOf(addr); !seen[i] {
			seen[i] = true
			firsts = append(firsts, addr)
		}
	}
	return firsts
}

// size is how many ends there are.
func (s *scope) size() int { return len(s.workloads) + len(s.cells) + len(s.witnesses) }

// firstCell and firstWitness are the numbers of those.
func (s *scope) firstCell() int    { return len(s.workloads) }
func (s *scope) firstWitness() int { return len(s.workloads) + len(s.cells) }

func (s *scope) isCell(number int) bool { return s.firstCell() <= number && number < s.firstWitness() }

// elsewhere is the address of a cell that is in no range but the whole family's; the zero Addr when there is none.
func (s *scope) elsewhere() netip.Addr {
	for i, addr := range s.cells {
		if slices.Contains(families, s.outside[i]) {
			return addr
		}
	}
	return netip.Addr{}
}

// ranges are the addresses of cells, given by their number.
func (s *scope) ranges(cells []int) *Ranges {
	in := map[int]int{}
	for _, n := range cells {
		in[n-s.firstCell()] = 1
	}
	var r Ranges
	for _, family := range families {
		r.Prefixes = append(r.Prefixes, s.outside.merge(family, func(cell int) int { return in[cell] })[1]...)
	}
	return &r
}
