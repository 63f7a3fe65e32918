// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/store"
)

// resume reads the parts of the source that the state does not have yet, commits each, and returns all that
// the state has. Each part is attributed by itself, so that it makes no difference where a run was stopped.
func (s *source) resume(ctx context.Context, inv *inventory.Inventory, told *progress) (_ *edge.Fold, total flows.Stats, err error) {
	state, err := store.Open(s.state, store.Options{Limits: edge.DefaultLimits})
	if err != nil {
		return nil, total, err
	}
	defer func() { err = errors.Join(err, state.Close()) }()
	for _, part := range s.parts() {
		stats, err := part.into(ctx, state, inv, told)
		total.Add(stats)
		if err != nil {
			return nil, total, err
		}
	}
	t := state.Tally()
	total.Flows, total.Lost, total.Malformed = t.Flows, t.Lost, t.Malformed
	s.worst = state.WorstNode(time.Now())
	fold, err := inv.Translate(everything(state.Edges()))
	return fold, total, err
}

// everything is a Fold of all edges, with one for each overflow.
func everything(edges []edge.Edge, overflows []edge.Overflow) *edge.Fold {
	for _, o := range overflows {
		edges = append(edges, o.Edge())
	}
	fold := edge.NewSample(edge.Limits{})
	for _, e := range edges {
		_ = fold.Put(e.Key, &e) // it has no limits
	}
	return fold
}

// parts are sources of one file or observer each.
func (s *source) parts() (parts []source) {
	for _, f := range s.files {
		part := *s
		part.files = []string{f}
		parts = append(parts, part)
	}
	for _, addr := range s.hubble {
		part := *s
		part.hubble = []string{addr}
		parts = append(parts, part)
	}
	return parts
}

// into reads a part unless the state has it.
func (s *source) into(ctx context.Context, state *store.Store, inv *inventory.Inventory, told *progress) (flows.Stats, error) {
	name, at, err := s.identity()
	if err != nil {
		return flows.Stats{}, err
	}
	if !at.IsZero() && state.Position(name).Equal(at) {
		return flows.Stats{}, nil
	}
	fold, stats, err := s.readAll(ctx, inv, told)
	if err != nil {
		return stats, err
	}
	state.Merge(fold)
	state.Count(time.Now(), store.Tally{Flows: stats.Flows, Lost: stats.Lost, Malformed: stats.Malformed}, stats.Nodes())
	if !at.IsZero() {
		state.Reach(name, at)
	}
	return stats, state.Commit()
}

// identity tells whether a part was read before: a file by its path, size and time. The time is zero of what is
// always read again: standard input, and an observer, which may have seen more.
func (s *source) identity() (name string, at time.Time, err error) {
	if len(s.files) == 0 || s.files[0] == "-" {
		return "", at, nil
	}
	path, err := filepath.Abs(s.files[0])
	if err != nil {
		return "", at, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", at, err
	}
	if !info.Mode().IsRegular() { // a pipe is read once
		return "", at, nil
	}
	return fmt.Sprintf("file %s of %d bytes", path, info.Size()), info.ModTime(), nil
}
