// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"iter"
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
	// words are the hashes, ascending and distinct; of an estimate they are its registers, eight to a word.
	words     []uint64
	told      uint64 // a count that was written without its sketch: there were at least so many. 0: none was.
	estimated bool
	rough     bool // told was an estimate
}

// Add counts the flow with this hash unless it was counted. It reports whether that changed anything.
func (c *Count) Add(hash uint64) bool {
	if c.estimated {
		return c.rank(hash)
	}
	i, found := slices.BinarySearch(c.words, hash)
	if found {
		return false
	}
	if len(c.words) == exact {
		c.estimate()
		c.rank(hash)
		return true
	}
	c.words = slices.Insert(c.words, i, hash)
	return true
}

// estimate goes from remembered hashes to registers.
func (c *Count) estimate() {
	hashes := c.words
	c.words, c.estimated = make([]uint64, registers/8), true
	for _, h := range hashes {
		c.rank(h)
	}
}

// rank adds a hash to its register. The hash is mixed first, because a source that chooses its
// identifiers may not make hashes that are uniform.
func (c *Count) rank(hash uint64) bool {
	h := mix(hash)
	return c.raise(h>>(64-indexBits), min(uint8(bits.LeadingZeros64(h<<indexBits))+1, maxRank))
}

// raise makes a register at least as large as the rank.
func (c *Count) raise(register uint64, rank uint8) bool {
	word, shift := &c.words[register/8], register%8*8
	if rank <= uint8(*word>>shift) {
		return false
	}
	*word = *word&^(0xff<<shift) | uint64(rank)<<shift
	return true
}

// ranks yields the registers of an estimate.
func (c *Count) ranks() iter.Seq2[uint64, uint8] {
	return func(yield func(uint64, uint8) bool) {
		for register := range uint64(registers) {
			if !yield(register, uint8(c.words[register/8]>>(register%8*8))) {
				return
			}
		}
	}
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
	if len(c.words) == 0 {
		c.words, c.estimated = slices.Clone(o.words), o.estimated
		return
	}
	if !o.estimated {
		for _, h := range o.words {
			c.Add(h)
		}
		return
	}
	if !c.estimated {
		c.estimate()
	}
	for register, rank := range o.ranks() {
		c.raise(register, rank)
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
	if c.estimated && n <= exact+1 {
		return false // what is estimated is never less
	}
	value, _ := c.Value()
	return value < n
}

func (c *Count) counted() (n uint64, estimated bool) {
	if !c.estimated {
		return uint64(len(c.words)), false
	}
	var histogram [maxRank + 1]int
	for _, rank := range c.ranks() {
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
	c.words = slices.Clone(c.words)
	return c
}

// maxSet bounds a Set: more names say no more to a reader.
const maxSet = 16

// Set is a small sorted set of words. When it is full the smallest stay, so that the result does not
// depend on the order of adding. The zero Set is empty. Adding makes a new slice, so that what a copy of the Set has
// does not change.
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
	after := (*s)[i:min(len(*s), maxSet-1)]
	*s = slices.Concat((*s)[:i], Set{word}, after)
	return true
}

// merge adds the words of another Set, which are cut off where they are too long.
func (s *Set) merge(o Set) {
	if len(*s) == 0 && o.proper() {
		*s = o
		return
	}
	for _, word := range o {
		if !slices.Contains(*s, word) {
			s.Add(bounded(word))
		}
	}
}

// proper reports whether the words are as Add would have added them: a Set that was read from JSON may have others.
func (s Set) proper() bool {
	for i, word := range s {
		if word == "" || len(word) > maxWord || i > 0 && word <= s[i-1] {
			return false
		}
	}
	return len(s) <= maxSet
}
