// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"math"
	"math/bits"
	"slices"
)

const (
	// exact is how many distinct flows a Count remembers one by one: as many hashes as the registers
	// take memory.
	exact = 32
	// registers of the estimate beyond that. Its standard error is 1.04/√registers, 6.5 %.
	registers = 256
	indexBits = 8 // log2(registers)
	maxRank   = 64 - indexBits + 1
)

// Count counts distinct flows in at most 256 bytes: exactly while they are few, by HyperLogLog beyond.
// Unlike a plain counter it does not count a flow twice that is read twice, and two Counts of
// overlapping input merge into the Count of the union. What it holds depends on the set of flows
// alone, not on their order. The zero Count is empty.
type Count struct {
	hashes []uint64          // ascending, distinct; nil when there are registers
	ranks  *[registers]uint8 // nil while the count is exact
	// told is a count that was written without its sketch: there were at least so many. 0: none was.
	told  uint64
	rough bool // told was an estimate
}

// Add counts the flow with this hash unless it was counted. It reports whether that changed anything.
func (c *Count) Add(hash uint64) bool {
	if c.ranks != nil {
		return c.rank(hash)
	}
	i, found := slices.BinarySearch(c.hashes, hash)
	if found {
		return false
	}
	if len(c.hashes) == exact {
		c.estimate()
		c.rank(hash)
		return true
	}
	c.hashes = slices.Insert(c.hashes, i, hash)
	return true
}

// estimate goes from remembered hashes to registers.
func (c *Count) estimate() {
	c.ranks = new([registers]uint8)
	for _, h := range c.hashes {
		c.rank(h)
	}
	c.hashes = nil
}

// rank adds a hash to its register. The hash is mixed first, because a source that chooses its
// identifiers may not make hashes that are uniform.
func (c *Count) rank(hash uint64) bool {
	h := mix(hash)
	rank := min(uint8(bits.LeadingZeros64(h<<indexBits))+1, maxRank)
	at := &c.ranks[h>>(64-indexBits)]
	if rank <= *at {
		return false
	}
	*at = rank
	return true
}

// mix is the finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// Merge adds everything that o counted.
func (c *Count) Merge(o *Count) {
	c.tell(o.told, o.rough)
	for _, h := range o.hashes {
		c.Add(h)
	}
	if o.ranks == nil {
		return
	}
	if c.ranks == nil {
		c.estimate()
	}
	for i, rank := range o.ranks {
		c.ranks[i] = max(c.ranks[i], rank)
	}
}

// tell adds a count without its sketch: of two, and of what is counted beside it, the largest is what is known.
func (c *Count) tell(n uint64, rough bool) {
	if n > c.told || n == c.told && !rough {
		c.told, c.rough = n, rough
	}
}

// Value is the number of distinct flows; estimated is true when it is not exact.
func (c *Count) Value() (n uint64, estimated bool) {
	n, estimated = c.counted()
	if c.told > n {
		return c.told, c.rough || n > 0
	}
	return n, estimated
}

// Below reports whether Value is less than n. It takes less time.
func (c *Count) Below(n uint64) bool {
	if c.ranks != nil && n <= exact+1 {
		return false // what is estimated is never less
	}
	value, _ := c.Value()
	return value < n
}

func (c *Count) counted() (n uint64, estimated bool) {
	if c.ranks == nil {
		return uint64(len(c.hashes)), false
	}
	var histogram [maxRank + 1]int
	for _, rank := range c.ranks {
		histogram[rank]++
	}
	return max(exact+1, uint64(math.Round(cardinality(&histogram)))), true
}

// cardinality is the improved raw estimator of Ertl, New cardinality estimation algorithms for
// HyperLogLog sketches (2017), algorithm 6: it needs no table and no cases for small counts.
func cardinality(histogram *[maxRank + 1]int) float64 {
	const m = float64(registers)
	z := m * tau(1-float64(histogram[maxRank])/m)
	for k := maxRank - 1; k >= 1; k-- {
		z = 0.5 * (z + float64(histogram[k]))
	}
	return m * m / (2 * math.Ln2) / (z + m*sigma(float64(histogram[0])/m))
}

// sigma corrects for registers that are still empty.
func sigma(x float64) float64 {
	if x == 1 {
		return math.Inf(1)
	}
	y, z := 1.0, x
	for {
		x *= x
		before := z
		z += x * y
		y += y
		if z == before {
			return z
		}
	}
}

// tau corrects for registers that are full.
func tau(x float64) float64 {
	if x == 0 || x == 1 {
		return 0
	}
	y, z := 1.0, 1-x
	for {
		x = math.Sqrt(x)
		before := z
		y *= 0.5
		z -= (1 - x) * (1 - x) * y
		if z == before {
			return z / 3
		}
	}
}

func (c Count) clone() Count {
	c.hashes = slices.Clone(c.hashes)
	if c.ranks != nil {
		ranks := *c.ranks
		c.ranks = &ranks
	}
	return c
}

// maxSet bounds a Set: more names say no more to a reader.
const maxSet = 16

// Set is a small sorted set of words. When it is full the smallest stay, so that the result does not
// depend on the order of adding. The zero Set is empty.
type Set []string

// Add adds a word; the empty word is not added. It reports whether that changed anything.
func (s *Set) Add(word string) bool {
	if word == "" {
		return false
	}
	i, found := slices.BinarySearch(*s, word)
	if found || i == maxSet {
		return false
	}
	if len(*s) == maxSet {
		*s = (*s)[:maxSet-1]
	}
	*s = slices.Insert(*s, i, word)
	return true
}
