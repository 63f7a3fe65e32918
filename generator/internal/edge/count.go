// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"math"
	"slices"
)

// exact is how many distinct flows a Count remembers. Beyond it the count is an estimate with a
// standard error of 1/√exact, about 3 %.
const exact = 1024

// Count counts distinct flows. It keeps the smallest hashes it has seen (a k-minimum-values sketch):
// unlike a plain counter it does not count a flow twice that is read twice, and two Counts of
// overlapping input merge into the Count of the union. The zero Count is empty.
type Count struct {
	hashes []uint64 // ascending, distinct
}

// Add counts the flow with this hash unless it was counted.
func (c *Count) Add(hash uint64) {
	if len(c.hashes) == exact && hash > c.hashes[exact-1] {
		return
	}
	i, found := slices.BinarySearch(c.hashes, hash)
	if found {
		return
	}
	if len(c.hashes) == exact {
		c.hashes = c.hashes[:exact-1]
	}
	c.hashes = slices.Insert(c.hashes, i, hash)
}

// Merge adds everything that o counted.
func (c *Count) Merge(o *Count) {
	for _, h := range o.hashes {
		c.Add(h)
	}
}

// Value is the number of distinct flows; estimated is true when it is not exact.
func (c *Count) Value() (n uint64, estimated bool) {
	if len(c.hashes) < exact {
		return uint64(len(c.hashes)), false
	}
	// k hashes fill this part of the hash space, so (k-1)/part hashes fill all of it.
	part := float64(c.hashes[exact-1]) / math.MaxUint64
	return uint64(math.Round((exact - 1) / part)), true
}

// maxSet bounds a Set: more names say no more to a reader.
const maxSet = 32

// Set is a small sorted set of words. When it is full the smallest stay, so that the result does not
// depend on the order of adding. The zero Set is empty.
type Set []string

// Add adds a word; the empty word is not added.
func (s *Set) Add(word string) {
	if word == "" {
		return
	}
	i, found := slices.BinarySearch(*s, word)
	if found || i == maxSet {
		return
	}
	*s = slices.Insert(*s, i, word)
	*s = (*s)[:min(len(*s), maxSet)]
}
