// SPDX-License-Identifier: Apache-2.0

package netpol

import (
	"hash/maphash"
	"iter"
	"maps"
	"slices"
)

// shardSize is how many entries a shard of a dict has on average when the dict is made. A change copies a
// shard, so it is small; a dict has room for eight times as many before it is made anew.
const shardSize = 16

var shardSeed = maphash.MakeSeed()

// dict is an immutable map that shares most of its memory with the dicts that were edited from it. The
// zero dict is empty.
type dict[K comparable, V any] struct {
	shards []map[K]V // a power of two; nil shards are empty
	count  int
}

func (d *dict[K, V]) get(k K) V {
	if len(d.shards) == 0 {
		var none V
		return none
	}
	return d.shards[shardOf(d.shards, k)][k]
}

// all are the entries in no order.
func (d *dict[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for _, shard := range d.shards {
			for k, v := range shard {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}

func shardOf[K comparable, V any](shards []map[K]V, k K) int {
	if len(shards) == 1 {
		return 0
	}
	return int(maphash.Comparable(shardSeed, k) & uint64(len(shards)-1))
}

// edit is a dict that is being changed. It copies a shard before it first writes to it.
type edit[K comparable, V any] struct {
	dict[K, V]
	owned []bool // by shard; nil: nothing is written yet
}

// edit begins a change that may add so many entries.
func (d *dict[K, V]) edit(more int) *edit[K, V] {
	e := &edit[K, V]{dict: *d}
	e.reserve(more)
	return e
}

func (e *edit[K, V]) reserve(more int) {
	if n := e.count + more; n > 8*shardSize*len(e.shards) {
		e.resize(n)
	}
}

// resize spreads the entries over as many shards as n entries need.
func (e *edit[K, V]) resize(n int) {
	shards := 1
	for shards*shardSize < n {
		shards *= 2
	}
	old := e.dict
	e.dict = dict[K, V]{shards: make([]map[K]V, shards)}
	e.owned = make([]bool, shards)
	for k, v := range old.all() {
		e.set(k, v)
	}
}

func (e *edit[K, V]) set(k K, v V) {
	e.reserve(1)
	shard := e.own(k)
	before := len(shard)
	shard[k] = v
	e.count += len(shard) - before
}

func (e *edit[K, V]) delete(k K) {
	if len(e.shards) == 0 {
		return
	}
	shard := e.own(k)
	before := len(shard)
	delete(shard, k)
	e.count += len(shard) - before
}

// own is the shard of a key, which may be written to.
func (e *edit[K, V]) own(k K) map[K]V {
	if e.owned == nil {
		e.shards, e.owned = slices.Clone(e.shards), make([]bool, len(e.shards))
	}
	i := shardOf(e.shards, k)
	if !e.owned[i] {
		e.owned[i] = true
		if e.shards[i] = maps.Clone(e.shards[i]); e.shards[i] == nil {
			e.shards[i] = make(map[K]V)
		}
	}
	return e.shards[i]
}
