// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/store"
	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
)

const (
	// commitEvery is how much of what was seen a crash may have to read again at the least. A commit that takes
	// long is followed by a pause of ten times as long.
	commitEvery = time.Second
	// commitRetry is the pause after one that failed.
	commitRetry = 30 * time.Second
	expireEvery = time.Hour
	// overlap is how far before its position an observer is read again: flows are not quite in the order of time.
	overlap = time.Minute
	// lockWait is how long the state file may still be held by the process before this one.
	lockWait = 10 * time.Second
)

// observations is everything seen so far. It is safe for concurrent use.
type observations struct {
	store *store.Store
	inv   atomic.Pointer[inventory.Inventory]
	meter *meter
}

// recall goes on from a state file (empty: memory only). A damaged one is an error: going on without it
// would propose to take away rules.
func recall(file string, inv *inventory.Inventory, m *meter) (*observations, error) {
	s, err := store.Open(file, store.Options{Limits: edge.DefaultLimits, Wait: lockWait})
	if err != nil {
		return nil, err
	}
	o := &observations{store: s, meter: m}
	o.inv.Store(inv)
	return o, nil
}

// use switches to a newer inventory and returns what was seen.
func (o *observations) use(inv *inventory.Inventory) ([]edge.Edge, []edge.Overflow, tree.Loss) {
	o.inv.Store(inv)
	edges, overflows := o.store.Edges()
	return edges, overflows, tree.Loss(o.store.Tally())
}

// since is from when on an observer's flows are not known to be there; zero: ever.
func (o *observations) since(observer string) time.Time {
	at := o.store.Position(observer)
	if at.IsZero() {
		return at
	}
	return at.Add(-overlap)
}

// add folds one flow. A flow of the future does not take the observer's position there, or those that come
// before it would not be asked for.
func (o *observations) add(observer string, r *flows.Record) {
	at := r.Time
	if now := time.Now(); at.After(now) {
		at = now
	}
	o.store.Add(observer, at, o.inv.Load().Key(r), inventory.Observe(r))
}

// missed adds what an observer reported since the last call.
func (o *observations) missed(before, now flows.Stats) {
	lost, malformed := now.Lost-before.Lost, now.Malformed-before.Malformed
	if lost+malformed == 0 {
		return
	}
	o.store.Miss(lost, malformed)
	o.meter.lost.Add(float64(lost))
	o.meter.malformed.Add(float64(malformed))
}

// keep commits what was seen, and forgets what is too old, until the context ends.
func (s *server) keep(ctx context.Context) {
	expire := time.Time{}
	for wait := commitEvery; ctx.Err() == nil; {
		pause(ctx, wait, nil)
		before, began := s.seen.store.Stats(), time.Now()
		if s.cfg.Retention > 0 && !began.Before(expire) {
			s.seen.store.Expire(began, s.cfg.Retention)
			expire = began.Add(expireEvery)
		}
		err := s.seen.store.Commit()
		s.meter.committed(before, s.seen.store.Stats(), err)
		wait = max(commitEvery, 10*time.Since(began))
		if err != nil {
			s.cfg.Log.Error("what was seen is in memory only", "error", err)
			wait = max(wait, commitRetry)
		}
	}
}
