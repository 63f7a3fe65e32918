// SPDX-License-Identifier: Apache-2.0

package reach

import (
	"net/netip"
	"slices"
	"sort"
	"strings"
)

var families = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

// division is addresses cut along prefixes. The cell of a prefix is what of it lies in no narrower one.
type division []netip.Prefix // in order, so that a prefix comes before the narrower ones in it

func divide(prefixes []netip.Prefix) division {
	d := slices.Clone(prefixes)
	slices.SortFunc(d, netip.Prefix.Compare)
	return slices.Compact(d)
}

// merge gives for each class the fewest prefixes that make up its cells in whole. Class is asked with
// the index of a cell, and with -1 for what lies in no prefix of the division.
func (d division) merge(whole netip.Prefix, class func(cell int) int) map[int][]netip.Prefix {
	m := merger{d, class, map[int][]netip.Prefix{}}
	from := sort.Search(len(d), func(i int) bool { return d[i].Compare(whole) >= 0 })
	to := from + sort.Search(len(d)-from, func(i int) bool { return !whole.Contains(d[from+i].Addr()) })
	if c, uniform := m.merge(whole, from, to, -1); uniform {
		m.found[c] = append(m.found[c], whole)
	}
	for _, list := range m.found {
		slices.SortFunc(list, netip.Prefix.Compare)
	}
	return m.found
}

type merger struct {
	division
	class func(cell int) int
	found map[int][]netip.Prefix
}

// merge notes the parts of whole, unless it is all of one class: then its caller may merge it with its
// other half. The prefixes from and before to lie in whole; innermost is the narrowest around it.
func (m *merger) merge(whole netip.Prefix, from, to, innermost int) (class int, uniform bool) {
	if from < to && m.division[from] == whole {
		innermost, from = from, from+1
	}
	if from == to {
		return m.class(innermost), true
	}
	low, high := halves(whole)
	middle := from + sort.Search(to-from, func(i int) bool { return !low.Contains(m.division[from+i].Addr()) })
	lowClass, lowUniform := m.merge(low, from, middle, innermost)
	highClass, highUniform := m.merge(high, middle, to, innermost)
	if lowUniform && highUniform && lowClass == highClass {
		return lowClass, true
	}
	if lowUniform {
		m.found[lowClass] = append(m.found[lowClass], low)
	}
	if highUniform {
		m.found[highClass] = append(m.found[highClass], high)
	}
	return 0, false
}

func halves(p netip.Prefix) (low, high netip.Prefix) {
	bytes := p.Addr().AsSlice()
	bytes[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	middle, _ := netip.AddrFromSlice(bytes)
	return netip.PrefixFrom(p.Addr(), p.Bits()+1), netip.PrefixFrom(middle, p.Bits()+1)
}

// free is an address of each cell that nobody owns; the zero Addr where there is none.
func (d division) free(owned map[netip.Addr]bool) []netip.Addr {
	all := make([]netip.Addr, len(d))
	for _, whole := range families {
		for cell, prefixes := range d.merge(whole, func(cell int) int { return cell }) {
			if cell >= 0 {
				all[cell] = firstFree(prefixes, owned)
			}
		}
	}
	return all
}

func firstFree(prefixes []netip.Prefix, owned map[netip.Addr]bool) netip.Addr {
	for _, p := range prefixes {
		for a := p.Addr(); p.Contains(a); a = a.Next() {
			if !owned[a] {
				return a
			}
		}
	}
	return netip.Addr{}
}

// String is the ranges as people write them: "10.0.0.0/8, 2001:db8::/32", and where it is shorter
// "0.0.0.0/0 except 10.0.0.0/8 and 172.16.0.0/12".
func (r *Ranges) String() string {
	var phrases []string
	for _, family := range families {
		var prefixes []netip.Prefix
		for _, p := range r.Prefixes {
			if family.Contains(p.Addr()) {
				prefixes = append(prefixes, p)
			}
		}
		if len(prefixes) > 0 {
			phrases = append(phrases, phrase(prefixes))
		}
	}
	return strings.Join(phrases, ", ")
}

// phrase is ranges of one family in words.
func phrase(prefixes []netip.Prefix) string {
	whole := around(prefixes)
	gaps := divide(prefixes).merge(whole, func(cell int) int { return min(cell, 0) })[-1]
	if len(gaps)+1 < len(prefixes) {
		return whole.String() + " except " + join(gaps, " and ")
	}
	return join(prefixes, ", ")
}

// around is the narrowest prefix that holds all of them.
func around(prefixes []netip.Prefix) netip.Prefix {
	whole := prefixes[0]
	for _, p := range prefixes {
		for !whole.Contains(p.Addr()) || whole.Bits() > p.Bits() {
			whole = netip.PrefixFrom(whole.Addr(), whole.Bits()-1).Masked()
		}
	}
	return whole
}

func join(prefixes []netip.Prefix, between string) string {
	var words []string
	for _, p := range prefixes {
		words = append(words, p.String())
	}
	return strings.Join(words, between)
}
