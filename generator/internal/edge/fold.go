// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"fmt"
	"slices"
)

// DefaultLimit bounds the edges of a Fold. A cluster with more has something that scans it, or
// needs to be looked at by namespace.
const DefaultLimit = 200_000

// Fold collects edges. It is not safe for concurrent use.
type Fold struct {
	edges map[Key]*Edge
	limit int
}

// NewFold returns an empty Fold for at most limit edges.
func NewFold(limit int) *Fold { return &Fold{edges: map[Key]*Edge{}, limit: limit} }

// Len is the number of edges.
func (f *Fold) Len() int { return len(f.edges) }

// Add adds one observation. The error says that the limit is reached; then the observation is not
// part of the Fold, and what is derived from it would be incomplete.
func (f *Fold) Add(k Key, o Observation) error {
	e, err := f.edge(k)
	if err != nil {
		return err
	}
	e.observe(o)
	return nil
}

// Put adds the evidence of an edge under another key: what two keys have in common is one edge.
func (f *Fold) Put(k Key, o *Edge) error {
	e, err := f.edge(k)
	if err != nil {
		return err
	}
	e.merge(o)
	return nil
}

// Merge adds everything of another Fold, which is not changed.
func (f *Fold) Merge(o *Fold) error {
	for k, other := range o.edges {
		if err := f.Put(k, other); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fold) edge(k Key) (*Edge, error) {
	if e, ok := f.edges[k]; ok {
		return e, nil
	}
	if len(f.edges) >= f.limit {
		return nil, fmt.Errorf("more than %d edges: something scans, or the input is too wide; read fewer flows (--since, --last)", f.limit)
	}
	e := &Edge{Key: k}
	f.edges[k] = e
	return e, nil
}

// Edges returns copies of the edges in the order of Key.Compare.
func (f *Fold) Edges() []Edge {
	out := make([]Edge, 0, len(f.edges))
	for _, e := range f.edges {
		c := *e
		c.Flows = c.Flows.clone()
		c.Nodes, c.Names = slices.Clone(c.Nodes), slices.Clone(c.Names)
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Edge) int { return a.Compare(b.Key) })
	return out
}
