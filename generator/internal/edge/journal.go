// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// Change is an edge or an overflow at rest: what to keep under a key, or, when Value is nil, that nothing
// is kept under it any more.
type Change struct{ Key, Value []byte }

// journal is what changed since it was handed over, oldest first: records, overflows, and the keys at rest
// ([]byte) of what is gone.
type journal struct{ queue []any }

// mark is a record's or an overflow's place in the journal.
type mark struct {
	dirty  bool // it is in the journal
	stored bool // it was handed over at least once
	out    bool // it is not part of the Fold any more
}

// The first byte of a Change's key.
const (
	edgeAtRest     = 'e'
	overflowAtRest = 'o'
)

// Track makes the Fold keep account for Changes. It is called while the Fold is empty.
func (f *Fold) Track() { f.journal = new(journal) }

// Prepare returns how many changes make up for everything added until now, and puts these in the order of
// their keys: a database writes neighbours at less cost.
func (f *Fold) Prepare() int {
	f.settle()
	type keyed struct {
		key  []byte
		item any
	}
	items := make([]keyed, len(f.journal.queue))
	for i, item := range f.journal.queue {
		items[i] = keyed{restingKey(item), item}
	}
	slices.SortStableFunc(items, func(a, b keyed) int { return bytes.Compare(a.key, b.key) })
	for i := range items {
		f.journal.queue[i] = items[i].item
	}
	return len(items)
}

func restingKey(item any) []byte {
	switch item := item.(type) {
	case *record:
		return item.atRest()
	case *Overflow:
		return item.atRest()
	}
	return item.([]byte)
}

// Changes hands over the first limit changes. They are to be kept in this order.
func (f *Fold) Changes(limit int) []Change {
	j := f.journal
	taken := j.queue[:min(limit, len(j.queue))]
	out := make([]Change, 0, len(taken))
	for _, item := range taken {
		switch item := item.(type) {
		case []byte:
			out = append(out, Change{Key: item})
		case *record:
			if item.mark.handOver() {
				e := item.evidence()
				out = append(out, Change{item.atRest(), appendEvidence(nil, &e)})
			}
		case *Overflow:
			if item.mark.handOver() {
				out = append(out, Change{item.atRest(), appendEvidence(appendCount(nil, &item.Edges), &item.Evidence)})
			}
		}
	}
	clear(taken)
	j.queue = j.queue[len(taken):]
	return out
}

// handOver reports whether there is anything to be kept.
func (m *mark) handOver() bool {
	if m.out {
		return false
	}
	m.dirty, m.stored = false, true
	return true
}

// Restore puts back what Changes handed over. The Fold is tracked; a change that is within its limits is
// not handed over again.
func (f *Fold) Restore(c Change) error {
	if len(c.Key) == 0 {
		return errors.New("an entry has no key")
	}
	k, err := ParseKey(c.Key[1:])
	if err != nil {
		return err
	}
	switch c.Key[0] {
	case edgeAtRest:
		return f.restoreEdge(k, c.Value)
	case overflowAtRest:
		return f.restoreOverflow(k, c.Value)
	}
	return fmt.Errorf("an entry is of kind %q", c.Key[0])
}

func (f *Fold) restoreEdge(k Key, value []byte) error {
	e, err := parseEvidence(value)
	if err != nil {
		return fmt.Errorf("%s: %w", k, err)
	}
	r, group := f.insert(k)
	if r == nil { // the limits are narrower now
		group.merge(&e)
		f.journal.add(AppendKey([]byte{edgeAtRest}, k))
		return nil
	}
	f.set(r, &e)
	r.mark.stored = true
	return nil
}

func (f *Fold) restoreOverflow(k Key, value []byte) error {
	r := reader{rest: value}
	count := r.count()
	if r.err != nil {
		return fmt.Errorf("overflow of %s: %w", k, r.err)
	}
	e, err := parseEvidence(r.rest)
	if err != nil {
		return fmt.Errorf("overflow of %s: %w", k, err)
	}
	o := f.overflow(k)
	o.Edges.Merge(&count)
	o.merge(&e)
	o.mark.stored = true
	return nil
}

func (j *journal) add(item any) { j.queue = append(j.queue, item) }

func (f *Fold) touch(r *record) {
	if f.journal != nil && !r.mark.dirty {
		r.mark.dirty = true
		f.journal.add(r)
	}
}

func (f *Fold) touchOverflow(o *Overflow) {
	if f.journal != nil && !o.mark.dirty {
		o.mark.dirty = true
		f.journal.add(o)
	}
}

func (f *Fold) forget(r *record) {
	r.mark.out = true
	if f.journal != nil && r.mark.stored {
		f.journal.add(r.atRest())
	}
}

func (f *Fold) forgetOverflow(o *Overflow) {
	o.mark.out = true
	if f.journal != nil && o.mark.stored {
		f.journal.add(o.atRest())
	}
}

func (r *record) out() bool { return r.mark.out }

func (r *record) atRest() []byte { return AppendKey([]byte{edgeAtRest}, r.key()) }

func (o *Overflow) atRest() []byte { return AppendKey([]byte{overflowAtRest}, o.Key) }
