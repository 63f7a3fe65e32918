// SPDX-License-Identifier: Apache-2.0

// Package store keeps edges in a file, so that what was observed outlives the program, however it ends.
//
// The edges are in memory, in an edge.Fold; the file follows. Commit writes what changed, and with it how far
// each observer was read. After a crash reading goes on from there: flows that are read a second time
// change nothing, because folding is a set union, and so nothing is lost and nothing counted twice.
package store

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
)

// MaxRetention is how long evidence can be kept.
const MaxRetention = 400 * 24 * time.Hour

// maxPositions bounds the observers whose positions are kept. The one that is furthest behind goes first.
const maxPositions = 8192

// Options of a Store.
type Options struct {
	Limits edge.Limits
	// Wait is how long another process may hold the file before Open fails. Zero: it fails at once.
	Wait time.Duration
}

// Stats are the Store's figures since it was opened, and of now.
type Stats struct {
	Edges     int
	LeftOut   uint64 // edges that had no place within the limits, about
	Overflows int    // that stand for them
	Expired   uint64 // edges forgotten by Expire
	Changes   uint64 // written by commits
}

// Store keeps edges. It is safe for concurrent use.
type Store struct {
	path string
	db   *bbolt.DB // nil: memory only

	mu    sync.Mutex // of all below
	fold  *edge.Fold
	meta  meta
	known addresses
	stats Stats
	found bool
	nodes nodes
	today *Tally // of the day with this number since 1970; nil: it is to be looked up
	day   int64

	writing sync.Mutex    // of the two below; held by a commit, and taken before mu
	unsaved []edge.Change // were taken from the fold and are not written yet
	written []byte        // the positions that were; nil: none yet
}

// meta is what is kept beside the edges.
type meta struct {
	Tally     Tally                `json:"tally"` // of all days
	Days      tallies              `json:"days,omitempty"`
	Positions map[string]time.Time `json:"positions"`
}

// Open opens the Store of a file, which is made if it is not there. A file that is damaged, of another kind
// or in use is an error that says what to do, never an empty Store. An empty path is a Store in memory.
func Open(path string, o Options) (*Store, error) {
	s := &Store{path: path, fold: edge.NewSample(o.Limits), known: newAddresses(), nodes: newNodes(), meta: meta{Days: tallies{}, Positions: map[string]time.Time{}}}
	if path == "" {
		return s, nil
	}
	db, err := openFile(path, o.Wait)
	if err != nil {
		return nil, err
	}
	s.db = db
	s.fold.Track()
	if err := s.load(); err != nil {
		return nil, errors.Join(damaged(path, err), db.Close())
	}
	s.found = s.fold.Len() > 0
	return s, nil
}

// Found reports whether the file had edges when it was opened.
func (s *Store) Found() bool { return s.found }

// Add folds an observation.
func (s *Store) Add(k edge.Key, o edge.Observation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.fold.Add(k, o) // a sample never fails
}

// Merge adds everything of a Fold.
func (s *Store) Merge(f *edge.Fold) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.fold.Merge(f) // a sample never fails
}

// Reach says up to when an observer was read: everything of it before at was added. The time may go back, when it turns
// out that this is not so. An input of another kind, such as a file, has a name and a time of its own.
func (s *Store) Reach(observer string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	positions := s.meta.Positions
	if _, known := positions[observer]; !known && len(positions) >= maxPositions {
		delete(positions, slices.MinFunc(slices.Collect(maps.Keys(positions)), func(a, b string) int {
			return cmp.Or(positions[a].Compare(positions[b]), cmp.Compare(a, b))
		}))
	}
	positions[observer] = at
}

// Position is up to when the observer was read; zero when it never was.
func (s *Store) Position(observer string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.meta.Positions[observer]
}

// Edges returns the edges and what was left out of them, both ordered.
func (s *Store) Edges() ([]edge.Edge, []edge.Overflow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fold.Edges(), s.fold.Overflows()
}

// Expire forgets the edges that were not seen for that long, counted back from now or from the newest
// evidence, whichever is earlier: a clock that is wrong alone forgets nothing. It returns their number.
func (s *Store) Expire(now time.Time, retention time.Duration) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if newest := s.fold.Newest(); newest.Before(now) {
		now = newest
	}
	before := now.Add(-retention)
	s.known.forget(hourOf(before))
	s.today = nil
	maps.DeleteFunc(s.meta.Days, func(day string, _ *Tally) bool { return day < dayOf(before) })
	expired := s.fold.Expire(before)
	s.stats.Expired += uint64(expired)
	return expired
}

// Stats returns the figures.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.stats
	out.Edges = s.fold.Len()
	out.LeftOut, out.Overflows = s.fold.LeftOut()
	return out
}

// Close commits and closes the file.
func (s *Store) Close() error {
	if s.db == nil {
		return nil
	}
	return errors.Join(s.commit(true), s.db.Close())
}
