// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"cmp"
	"math"
	"slices"
)

// Limits are kept lazily: a scope or a kind may grow beyond its limit by a part of it, and is then cut
// back by one sort. What is cut is what would have been refused at once, because an edge only ever loses
// its place to smaller hashes, and these do not go away before Expire. So how often it is cut does not
// change the result either.

// scope are the edges of one workload in one direction.
type scope struct {
	members []*record      // and some that were taken out
	below   uint64         // largest hash that may still have a place
	groups  map[Key]uint64 // the same for groups that are full; nil: none is
	pruneAt int            // members
	grown   bool           // since it was cut
}

// kind are the edges between pods, or the others.
type kind struct {
	limit, count int
	below        uint64
}

func (f *Fold) kind(internal bool) *kind {
	if internal {
		return &f.kinds[1]
	}
	return &f.kinds[0]
}

func (f *Fold) kindOf(r *record) *kind { return f.kind(r.from.value.IsPod() && r.to.value.IsPod()) }

// admits reports whether a new edge may have a place.
func (f *Fold) admits(group Key, hash uint64) bool {
	if hash > f.kind(group.internal()).below {
		return false
	}
	s := f.scopes[group.scope()]
	if s == nil {
		return true
	}
	if below, full := s.groups[group]; full && hash > below {
		return false
	}
	return hash <= s.below
}

func (f *Fold) scope(key Key) *scope {
	s := f.scopes[key]
	if s == nil {
		s = &scope{below: math.MaxUint64, pruneAt: f.limits.Group + f.slack()}
		f.scopes[key] = s
	}
	return s
}

// slack is by how much a scope may grow before it is cut.
func (f *Fold) slack() int { return f.limits.Group/2 + 1 }

func (f *Fold) grow(s *scope, r *record) {
	s.members = append(s.members, r)
	s.grown = true
	if len(s.members) >= s.pruneAt {
		f.pruneScope(s)
	}
	k := f.kindOf(r)
	k.count++
	if k.count > k.limit+k.limit/4 {
		f.pruneKind(k)
	}
}

// prune brings everything within its limits.
func (f *Fold) prune() {
	f.settle()
	f.pruneScopes()
	for i := range f.kinds {
		f.pruneKind(&f.kinds[i])
	}
	f.pruneOverflows()
}

func (f *Fold) pruneScopes() {
	for _, s := range f.scopes {
		if s.grown && len(s.members) > f.limits.Group {
			f.pruneScope(s)
		}
	}
}

func (f *Fold) pruneScope(s *scope) {
	s.members = byHash(s.members)
	s.below, s.groups = math.MaxUint64, nil
	kept, sizes := s.members[:0], map[Key]int{}
	for _, r := range s.members {
		group := r.key().group()
		if len(kept) >= f.limits.Scope || sizes[group] >= f.limits.Group {
			f.evict(r, group)
			continue
		}
		kept = append(kept, r)
		if sizes[group]++; sizes[group] == f.limits.Group {
			if s.groups == nil {
				s.groups = map[Key]uint64{}
			}
			s.groups[group] = r.hash
		}
	}
	clear(s.members[len(kept):])
	s.members = kept
	if len(kept) >= f.limits.Scope {
		s.below = kept[len(kept)-1].hash
	}
	s.pruneAt, s.grown = max(len(kept), f.limits.Group)+f.slack(), false
}

// pruneKind cuts a kind after its scopes, because what these do not keep takes no place.
func (f *Fold) pruneKind(k *kind) {
	if k.count <= k.limit {
		return
	}
	f.pruneScopes()
	if k.count <= k.limit {
		return
	}
	all := make([]*record, 0, k.count)
	for r := range f.records.all() {
		if f.kindOf(r) == k {
			all = append(all, r)
		}
	}
	all = byHash(all)
	for _, r := range all[k.limit:] {
		f.evict(r, r.key().group())
	}
	k.below = all[k.limit-1].hash
	f.compact()
}

// evict takes an edge out and adds its evidence to its group's overflow.
func (f *Fold) evict(r *record, group Key) {
	o := f.overflow(group)
	o.Edges.Add(r.hash)
	e := r.evidence()
	o.merge(&e)
	f.touchOverflow(o)
	f.remove(r)
}

// compact lets go of edges that were taken out, and of scopes that have no others.
func (f *Fold) compact() {
	for key, s := range f.scopes {
		s.members = slices.DeleteFunc(s.members, (*record).out)
		if len(s.members) == 0 {
			delete(f.scopes, key)
		}
	}
}

// reopen gives the places of forgotten edges to new ones.
func (f *Fold) reopen() {
	f.compact()
	for _, s := range f.scopes {
		s.below, s.groups, s.grown = math.MaxUint64, nil, true
	}
	for i := range f.kinds {
		f.kinds[i].below = math.MaxUint64
	}
}

// byHash returns the records that were not taken out, ordered.
func byHash(records []*record) []*record {
	records = slices.DeleteFunc(records, (*record).out)
	slices.SortFunc(records, func(a, b *record) int {
		if a.hash != b.hash {
			return cmp.Compare(a.hash, b.hash)
		}
		return a.key().Compare(b.key())
	})
	return records
}
