// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// Fold collects edges. It is not safe for concurrent use, not even for reading.
type Fold struct {
	most    int // more edges are an error; 0: the limits keep their number down
	limits  Limits
	records index[record]
	ends    ends
	classes pool[class]
	days    pool[Days]
	sets    pool[Set] // nodes and names
	scopes  map[Key]*scope
	kinds   [2]kind // external, internal
	over    map[Key]*Overflow
	journal *journal
	queue   []queued
}

// NewFold returns an empty Fold for at most limit edges. It has all of what is added, or it fails.
func NewFold(limit int) *Fold {
	f := NewSample(Limits{})
	f.most = max(limit, 1)
	return f
}

// NewSample returns an empty Fold that keeps those edges that have a place within the limits, and an
// Overflow of the others.
func NewSample(limits Limits) *Fold {
	for _, limit := range []*int{&limits.Internal, &limits.External, &limits.Scope, &limits.Group} {
		if *limit <= 0 {
			*limit = math.MaxInt / 4
		}
	}
	f := &Fold{
		limits: limits, scopes: map[Key]*scope{}, over: map[Key]*Overflow{},
	}
	f.kinds = [2]kind{{limit: limits.External, below: math.MaxUint64}, {limit: limits.Internal, below: math.MaxUint64}}
	return f
}

// Add adds one observation. The error, which a sample never has, says that the limit is reached; then the
// observation is not part of the Fold, and what is derived from it would be incomplete.
func (f *Fold) Add(k Key, o Observation) error {
	k.From.bound()
	k.To.bound()
	if f.enqueue(&k, &o) {
		return nil
	}
	return f.add(&k, &o)
}

func (f *Fold) add(k *Key, o *Observation) error {
	r, group, err := f.place(k)
	switch {
	case err != nil:
		return err
	case r == nil:
		group.observe(*o)
	case f.observe(r, o):
		f.touch(r)
	}
	return nil
}

// Put adds the evidence of an edge under another key: what two keys have in common is one edge. The error is
// that of Add.
func (f *Fold) Put(k Key, o *Edge) error {
	k.From.bound()
	k.To.bound()
	return f.put(k, &o.Evidence)
}

func (f *Fold) put(k Key, e *Evidence) error {
	r, group, err := f.place(&k)
	switch {
	case err != nil:
		return err
	case r == nil:
		group.merge(e)
	default:
		f.merge(r, e)
		f.touch(r)
	}
	return nil
}

// Merge adds everything of another Fold, of which nothing is shared afterwards. The error is that of Add.
func (f *Fold) Merge(o *Fold) error {
	if f == o {
		return nil
	}
	o.settle()
	for r := range o.records.all() {
		e := r.evidence()
		if err := f.put(r.key(), &e); err != nil {
			return err
		}
	}
	for _, overflow := range o.over {
		f.PutOverflow(overflow)
	}
	return nil
}

// Edges returns copies of the edges in the order of Key.Compare.
func (f *Fold) Edges() []Edge {
	records := f.sorted()
	out := make([]Edge, len(records))
	for i, r := range records {
		e := r.evidence()
		out[i] = Edge{r.key(), e.clone()}
	}
	return out
}

// sorted returns the records within the limits in the order of Key.Compare. There are far fewer ends than edges, so these
// are sorted first, and edges by numbers.
func (f *Fold) sorted() []*record {
	f.prune()
	type ranked struct {
		ends uint64
		*record
	}
	ranks, all := f.ends.ranks(), make([]ranked, 0, f.records.count)
	for r := range f.records.all() {
		all = append(all, ranked{ranks[r.from]<<32 | ranks[r.to], r})
	}
	slices.SortFunc(all, func(a, b ranked) int {
		if a.ends != b.ends {
			return cmp.Compare(a.ends, b.ends)
		}
		return a.key().Compare(b.key())
	})
	out := make([]*record, len(all))
	for i := range all {
		out[i] = all[i].record
	}
	return out
}

// Len is the number of edges. It may be above the limits by what the next Edges takes out.
func (f *Fold) Len() int {
	f.settle()
	return f.records.count
}

// Newest is when an edge was last seen; zero when there are none.
func (f *Fold) Newest() (at time.Time) {
	f.settle()
	for r := range f.records.all() {
		if _, last := r.span.times(); last.After(at) {
			at = last
		}
	}
	return at
}

// Expire forgets the edges that were last seen before a time, and of the others the days before it. It
// returns the number of forgotten edges. An edge that is seen again later begins anew.
func (f *Fold) Expire(before time.Time) (expired int) {
	f.prune()
	first := dayOf(before)
	for r := range f.records.all() {
		e := r.evidence()
		switch {
		case e.Last.Before(before):
			f.remove(r)
			expired++
		case e.Days.from(first):
			f.setDays(&r.days, e.Days)
			f.touch(r)
		}
	}
	for _, o := range f.over {
		switch {
		case o.Last.Before(before):
			f.removeOverflow(o)
		case o.Days.from(first):
			f.touchOverflow(o)
		}
	}
	if expired > 0 {
		f.reopen()
	}
	return expired
}

// place returns the record of a key, which is made if there is none and it has a place; otherwise the
// overflow that stands for it.
func (f *Fold) place(k *Key) (*record, *Overflow, error) {
	if r := f.find(k); r != nil {
		return r, nil, nil
	}
	if f.most > 0 && f.records.count >= f.most {
		return nil, nil, fmt.Errorf("more than %d edges: something scans, or the input is too wide; read fewer flows (--since, --last)", f.most)
	}
	r, group := f.insert(*k)
	return r, group, nil
}

// insert makes a record for a key that has none, or returns the overflow that stands for it.
func (f *Fold) insert(k Key) (*record, *Overflow) {
	hash, group := k.hash(), k.group()
	if f.admits(group, hash) {
		r := f.record(k, hash)
		f.grow(f.scope(group.scope()), r)
		if !r.mark.out {
			return r, nil
		}
	}
	o := f.overflow(group)
	o.Edges.Add(hash)
	f.touchOverflow(o)
	return nil, o
}
