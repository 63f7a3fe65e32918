// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"iter"
	"slices"
)

// Join makes one edge of those that have the same key, in the order of Key.Compare. Where a key is alone, the edge is
// the given one; nothing is written to any of those.
func Join(edges []*Edge) []*Edge {
	byKey := func(a, b *Edge) int { return a.Compare(b.Key) }
	if !slices.IsSortedFunc(edges, byKey) {
		edges = slices.SortedStableFunc(slices.Values(edges), byKey)
	}
	out := make([]*Edge, 0, len(edges))
	for _, e := range edges {
		if n := len(out); n > 0 && out[n-1].Key == e.Key {
			out[n-1] = &Edge{e.Key, out[n-1].With(&e.Evidence)}
			continue
		}
		out = append(out, e)
	}
	return out
}

// With is all that two Evidences say, of which it shares nothing.
func (e *Evidence) With(o *Evidence) Evidence {
	both := e.clone()
	both.merge(o)
	return both
}

// Keys yields the key of each edge, in no order.
func (f *Fold) Keys() iter.Seq[Key] {
	return func(yield func(Key) bool) {
		f.prune()
		for r := range f.records.all() {
			if !yield(r.key()) {
				return
			}
		}
	}
}

// Drain returns what Edges does and leaves the Fold empty, so that nothing has to be copied. Overflows are gone.
func (f *Fold) Drain() []Edge {
	records := f.sorted()
	most, limits := f.most, f.limits
	*f = *NewSample(limits)
	f.most = most
	out := make([]Edge, len(records))
	for i, r := range records {
		out[i], records[i] = Edge{r.key(), r.evidence()}, nil
	}
	return out
}
