// SPDX-License-Identifier: Apache-2.0

package synth

import (
	"math"
	"net/netip"
	"slices"
)

// widen covers blocks by fewer and wider ones, as long as they hold at most budget addresses more. Blocks that fill a
// wider one are joined in any case. What costs least is joined first. The result is sorted, and depends on no order.
func widen(blocks []netip.Prefix, budget uint64) []netip.Prefix {
	out := distinct(blocks)
	for len(out) > 1 {
		held := heldBefore(out)
		cheapest, cost := -1, uint64(math.MaxUint64)
		for i := range len(out) - 1 {
			if c := priceOf(out, held, i); c < cost {
				cheapest, cost = i, c
			}
		}
		if cheapest < 0 || cost > budget {
			return out
		}
		budget -= cost
		out = distinct(append(out, cover(out[cheapest], out[cheapest+1])))
	}
	return out
}

// heldBefore is how many addresses the blocks before each one hold, and all of them last. Beyond 2^64 it begins anew,
// which differences of what can be counted do not notice.
func heldBefore(blocks []netip.Prefix) []uint64 {
	held := make([]uint64, 1, len(blocks)+1)
	for i, b := range blocks {
		n, _ := sizeOf(b)
		held = append(held, held[i]+n)
	}
	return held
}

// distinct sorts blocks and leaves out those that lie in others.
func distinct(blocks []netip.Prefix) []netip.Prefix {
	sorted := slices.Clone(blocks)
	slices.SortFunc(sorted, netip.Prefix.Compare) // a wider block comes before those in it
	var out []netip.Prefix
	for _, b := range sorted {
		if len(out) == 0 || !out[len(out)-1].Overlaps(b) {
			out = append(out, b)
		}
	}
	return out
}

// cover is the narrowest block that holds two.
func cover(a, b netip.Prefix) netip.Prefix {
	x, y := a.Addr().As16(), b.Addr().As16()
	first := 128 - a.Addr().BitLen() // IPv4 addresses are the last 32 bits
	same := 0
	for same < a.Bits() && same < b.Bits() {
		at := first + same
		if (x[at/8]^y[at/8])>>(7-at%8)&1 != 0 {
			break
		}
		same++
	}
	return netip.PrefixFrom(a.Addr(), same).Masked()
}

// priceOf is how many addresses more the cover of blocks i and i+1 holds than all blocks in it; the largest number if
// they cannot be joined, or if it is beyond counting.
func priceOf(blocks []netip.Prefix, held []uint64, i int) uint64 {
	a, b := blocks[i], blocks[i+1]
	if a.Addr().Is4() != b.Addr().Is4() {
		return math.MaxUint64
	}
	all := cover(a, b)
	size, countable := sizeOf(all)
	if !countable {
		return math.MaxUint64
	}
	// Blocks that overlap the cover lie in it: no two blocks overlap, and it is wider than either.
	first, _ := slices.BinarySearchFunc(blocks, all, func(o, all netip.Prefix) int { return o.Addr().Compare(all.Addr()) })
	behind := i + 2
	for step := len(blocks); step > 0; step /= 2 {
		for behind+step <= len(blocks) && all.Contains(blocks[behind+step-1].Addr()) {
			behind += step
		}
	}
	return size - (held[behind] - held[first])
}

// sizeOf is how many addresses a block holds; false: 2^64 or more.
func sizeOf(b netip.Prefix) (uint64, bool) {
	host := b.Addr().BitLen() - b.Bits()
	return 1 << min(host, 63), host < 64
}
