// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"fmt"
	"math"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
)

// Fold collects edges. It is not safe for concurrent use, not even for reading.
type Fold struct {
	most    int // more edges are an error; 0: the limits keep their number down
	limits  Limits
	records index
	ends    map[Endpoint]*end
	classes map[class]*class
	scopes  map[Key]*scope
	kinds   [2]kind // external, internal
	over    map[Key]*Overflow
	journal *journal
}

// record is an edge in memory: 256 bytes, beside its count and sets. Its key is made of pointers to what it
// shares with others.
type record struct {
	Evidence
	id   id
	hash uint64 // of the key
	mark mark
	next *record // with the same hash in the index; nil: none
}

// id is a Key in 32 bytes.
type id struct {
	from, to *end
	class    *class
	port     uint16
}

type class struct {
	protocol corev1.Protocol
	side     flows.Side
	verdict  flows.Verdict
}

type end struct {
	Endpoint
	uses int // by records
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
		limits: limits, records: newIndex(), ends: map[Endpoint]*end{}, classes: map[class]*class{},
		scopes: map[Key]*scope{}, over: map[Key]*Overflow{},
	}
	f.kinds = [2]kind{{limit: limits.External, below: math.MaxUint64}, {limit: limits.Internal, below: math.MaxUint64}}
	return f
}

// Add adds one observation. The error, which a sample never has, says that the limit is reached; then the
// observation is not part of the Fold, and what is derived from it would be incomplete.
func (f *Fold) Add(k Key, o Observation) error {
	r, group, err := f.place(&k)
	switch {
	case err != nil:
		return err
	case r == nil:
		group.observe(o)
	case r.observe(o):
		f.touch(r)
	}
	return nil
}

// Put adds the evidence of an edge under another key: what two keys have in common is one edge. The error is
// that of Add.
func (f *Fold) Put(k Key, o *Edge) error { return f.put(k, &o.Evidence) }

func (f *Fold) put(k Key, e *Evidence) error {
	r, group, err := f.place(&k)
	switch {
	case err != nil:
		return err
	case r == nil:
		group.merge(e)
	default:
		r.merge(e)
		f.touch(r)
	}
	return nil
}

// Merge adds everything of another Fold, of which nothing is shared afterwards. The error is that of Add.
func (f *Fold) Merge(o *Fold) error {
	if f == o {
		return nil
	}
	for r := range o.records.all() {
		if err := f.put(r.key(), &r.Evidence); err != nil {
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
	f.prune()
	out := make([]Edge, 0, f.records.count)
	for r := range f.records.all() {
		out = append(out, Edge{r.key(), r.clone()})
	}
	slices.SortFunc(out, func(a, b Edge) int { return a.Compare(b.Key) })
	return out
}

// Len is the number of edges. It may be above the limits by what the next Edges takes out.
func (f *Fold) Len() int { return f.records.count }

// Newest is when an edge was last seen; zero when there are none.
func (f *Fold) Newest() (at time.Time) {
	for r := range f.records.all() {
		if r.Last.After(at) {
			at = r.Last
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
		switch {
		case r.Last.Before(before):
			f.remove(r)
			expired++
		case r.Days.from(first):
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
// overflow that stands for it. It bounds the key's words.
func (f *Fold) place(k *Key) (*record, *Overflow, error) {
	k.From.bound()
	k.To.bound()
	if r := f.records.find(k); r != nil {
		return r, nil, nil
	}
	if f.most > 0 && f.records.count >= f.most {
		return nil, nil, fmt.Errorf("more than %d edges: something scans, or the input is too wide; read fewer flows (--since, --last)", f.most)
	}
	r, group := f.insert(*k)
	return r, group, nil
}

func (f *Fold) class(k Key) *class {
	c := class{k.Protocol, k.Side, k.Verdict}
	if f.classes[c] == nil {
		f.classes[c] = &c
	}
	return f.classes[c]
}

// insert makes a record for a key that has none, or returns the overflow that stands for it.
func (f *Fold) insert(k Key) (*record, *Overflow) {
	hash, group := k.hash(), k.group()
	if f.admits(group, hash) {
		r := &record{id: f.id(k), hash: hash}
		f.records.add(r)
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

// remove takes a record out.
func (f *Fold) remove(r *record) {
	f.forget(r)
	f.kindOf(r).count--
	f.records.remove(r)
	f.release(r.id.from)
	f.release(r.id.to)
}

func (f *Fold) id(k Key) id {
	return id{f.end(k.From), f.end(k.To), f.class(k), k.Port}
}

func (f *Fold) end(e Endpoint) *end {
	found := f.ends[e]
	if found == nil {
		found = &end{Endpoint: e}
		f.ends[e] = found
	}
	found.uses++
	return found
}

func (f *Fold) release(e *end) {
	if e.uses--; e.uses == 0 {
		delete(f.ends, e.Endpoint)
	}
}

func (r *record) key() Key {
	return Key{From: r.id.from.Endpoint, To: r.id.to.Endpoint, Protocol: r.id.class.protocol, Port: r.id.port, Side: r.id.class.side, Verdict: r.id.class.verdict}
}
