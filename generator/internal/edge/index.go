// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"hash/maphash"
	"iter"
)

// index finds records by their keys. Hashing all of a Key takes longer than all else that folding does, so it is
// by a hash of what mostly differs; those that have it in common are a list.
type index struct {
	seed  maphash.Seed
	heads map[uint64]*record
	count int
}

func newIndex() index { return index{seed: maphash.MakeSeed(), heads: map[uint64]*record{}} }

// find returns nil when there is none.
func (x *index) find(k *Key) *record {
	r := x.heads[x.hash(k)]
	for r != nil && !r.is(k) {
		r = r.next
	}
	return r
}

func (x *index) add(r *record) {
	k := r.key()
	h := x.hash(&k)
	r.next = x.heads[h]
	x.heads[h] = r
	x.count++
}

func (x *index) remove(r *record) {
	k := r.key()
	h := x.hash(&k)
	x.count--
	if x.heads[h] != r {
		before := x.heads[h]
		for before.next != r {
			before = before.next
		}
		before.next = r.next
		return
	}
	if r.next == nil {
		delete(x.heads, h)
		return
	}
	x.heads[h] = r.next
}

// all yields each record once. The one that was yielded may be removed.
func (x *index) all() iter.Seq[*record] {
	return func(yield func(*record) bool) {
		for _, r := range x.heads {
			for r != nil {
				next := r.next
				if !yield(r) {
					return
				}
				r = next
			}
		}
	}
}

func (x *index) hash(k *Key) uint64 {
	h := x.end(&k.From)*3 + x.end(&k.To)
	return mix(h ^ uint64(k.Port)<<16 ^ uint64(len(k.Side))<<8 ^ uint64(len(k.Verdict))<<4 ^ uint64(len(k.Protocol)))
}

func (x *index) end(e *Endpoint) uint64 {
	if !e.IsPod() {
		if !e.Addr.IsValid() {
			return 0
		}
		addr := e.Addr.As16()
		return maphash.Bytes(x.seed, addr[:])
	}
	return maphash.String(x.seed, e.Name) + maphash.String(x.seed, e.Namespace)*5
}

func (r *record) is(k *Key) bool {
	return r.id.port == k.Port && r.id.from.Endpoint == k.From && r.id.to.Endpoint == k.To &&
		r.id.class.protocol == k.Protocol && r.id.class.side == k.Side && r.id.class.verdict == k.Verdict
}
