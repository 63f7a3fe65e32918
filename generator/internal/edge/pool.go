// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"hash/maphash"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
)

// pool keeps one of each value that is in use: many edges have an end in common, and most were seen by the same
// nodes, on the same days. The zero pool is empty.
type pool[T any] struct{ index[shared[T]] }

type shared[T any] struct {
	value T // nobody writes to it
	hash  uint64
	uses  int
}

// take returns the value of this hash that is equal, for one more use; if there is none, it is added.
func (p *pool[T]) take(hash uint64, value T, is func(*shared[T]) bool) *shared[T] {
	s := p.find(hash, is)
	if s == nil {
		s = &shared[T]{value: value, hash: hash}
		p.add(hash, s)
	}
	s.uses++
	return s
}

// release ends one use; nil is no value.
func (p *pool[T]) release(s *shared[T]) {
	if s == nil {
		return
	}
	if s.uses--; s.uses == 0 {
		p.remove(s.hash, s)
	}
}

// class is what a key has beside its ends and port. There are few.
type class struct {
	protocol corev1.Protocol
	side     flows.Side
	verdict  flows.Verdict
}

var seed = maphash.MakeSeed()

func (c *class) hash() uint64 {
	return mix(uint64(len(c.protocol))<<16 | uint64(len(c.side))<<8 | uint64(len(c.verdict)))
}

func (s Set) hash() (h uint64) {
	for _, word := range s {
		h = mix(h ^ maphash.String(seed, word))
	}
	return h
}

func (d Days) hash() uint64 { return maphash.Comparable(seed, d) }

func (f *Fold) findClass(c *class) *shared[class] {
	return f.classes.find(c.hash(), func(s *shared[class]) bool { return s.value == *c })
}

func (f *Fold) takeClass(c class) *shared[class] {
	return f.classes.take(c.hash(), c, func(s *shared[class]) bool { return s.value == c })
}

// setDays makes an edge's days these.
func (f *Fold) setDays(at **shared[Days], days Days) {
	before := *at
	if *at = nil; !days.empty() {
		*at = f.days.take(days.hash(), days, func(s *shared[Days]) bool { return s.value == days })
	}
	f.days.release(before)
}

// setWords makes an edge's nodes or names these.
func (f *Fold) setWords(at **shared[Set], words Set) {
	before := *at
	if *at = nil; len(words) > 0 {
		*at = f.sets.take(words.hash(), words, func(s *shared[Set]) bool { return slices.Equal(s.value, words) })
	}
	f.sets.release(before)
}
