// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"sync"
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
	// lockWait is how long the state file may still be held by the process before this one.
	lockWait = 10 * time.Second
)

// observations is everything seen so far. It is safe for concurrent use.
type observations struct {
	store *store.Store
	meter *meter

	mu      sync.Mutex // of the three below
	tracker *inventory.Tracker
	told    inventory.Figures    // of the tracker, to the meter
	reached map[string]time.Time // the newest flow of each observer since the start
}

// recall goes on from a state file (empty: memory only). A damaged one is an error: going on without it
// would propose to take away rules.
func recall(file string, inv *inventory.Inventory, m *meter) (*observations, error) {
	s, err := store.Open(file, store.Options{Limits: edge.DefaultLimits, Wait: lockWait})
	if err != nil {
		return nil, err
	}
	return &observations{store: s, meter: m, tracker: inventory.NewTracker(inv, s.Addresses()), reached: map[string]time.Time{}}, nil
}

// use goes on with a newer inventory.
func (o *observations) use(inv *inventory.Inventory) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tracker.Use(inv)
	o.settle()
}

// watched lets the tracker know what a watch tells now.
func (o *observations) watched(tell func(t *inventory.Tracker, now time.Time)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	tell(o.tracker, time.Now())
}

// settle takes what has waited long enough. It is called with the lock held.
func (o *observations) settle() {
	if f := o.tracker.Settle(); f != nil {
		o.store.Merge(f)
	}
	now := o.tracker.Figures()
	o.meter.tracked(o.told, now)
	o.told = now
}

// all is what was seen, and how much is missing.
func (o *observations) all(now time.Time) ([]edge.Edge, []edge.Overflow, tree.Loss) {
	edges, overflows := o.store.Edges()
	o.mu.Lock()
	edges = o.tracker.Reconcile(edges)
	o.mu.Unlock()
	loss := lossOf(o.store.Loss(now))
	loss.Worst = o.store.WorstNode(now)
	return edges, overflows, loss
}

func lossOf(t store.Tally) tree.Loss {
	return tree.Loss{Flows: t.Flows, Lost: t.Lost, Malformed: t.Malformed}
}

// since is from when on an observer's flows are not known to be there; zero: ever.
func (o *observations) since(observer string) time.Time {
	o.mu.Lock()
	at := o.reached[observer]
	o.mu.Unlock()
	if at.IsZero() {
		at = o.store.Position(observer)
	}
	if at.IsZero() {
		return at
	}
	return at.Add(-flows.Overlap)
}

// add folds one flow that came now, or keeps it until it is known whose its addresses were. A flow of the future does not take the
// observer's position there, or those that come before it would not be asked for.
func (o *observations) add(observer string, r *flows.Record, now time.Time) {
	at := r.Time
	if at.After(now) {
		at = now
	}
	o.store.Count(now, store.Tally{Flows: 1}, []flows.NodeLoss{{Node: r.Node, Flows: 1}})
	o.mu.Lock()
	defer o.mu.Unlock()
	if k, settled := o.tracker.Add(observer, r, now); settled {
		o.store.Add(k, inventory.Observe(r))
	}
	if at.After(o.reached[observer]) {
		o.reached[observer] = at
	}
}

// leave is said of an observer that is not followed any more.
func (o *observations) leave(observer string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.reached, observer)
}

// missed counts what an observer reported beside flows, and begins anew with that.
func (o *observations) missed(s *flows.Stats) {
	if s.Lost+s.Malformed+s.Ignored == 0 {
		return
	}
	var nodes []flows.NodeLoss
	for _, at := range s.LostAt() {
		nodes = append(nodes, flows.NodeLoss{Node: at.Node, Lost: at.Lost})
	}
	o.store.Count(time.Now(), store.Tally{Lost: s.Lost, Malformed: s.Malformed}, nodes)
	o.meter.missed(s)
	*s = flows.Stats{}
}

// acknowledge says how far each observer was read: up to its oldest flow that waits, because only what is settled
// survives a crash.
func (o *observations) acknowledge() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.settle()
	o.store.Remember(o.tracker.Addresses(), time.Now())
	oldest := o.tracker.Oldest()
	for observer, at := range o.reached {
		if waits, some := oldest[observer]; some && waits.Before(at) {
			at = waits
		}
		o.store.Reach(observer, at)
	}
}

// commit keeps everything that is settled.
func (o *observations) commit() error {
	o.acknowledge()
	return o.store.Commit()
}

func (o *observations) close() error {
	o.acknowledge()
	return o.store.Close()
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
		err := s.seen.commit()
		s.meter.committed(before, s.seen.store.Stats(), err)
		s.meter.missing.Set(lossOf(s.seen.store.Loss(began)).Share())
		wait = max(commitEvery, 10*time.Since(began))
		if err != nil {
			s.cfg.Log.Error("what was seen is in memory only", "error", err)
			wait = max(wait, commitRetry)
		}
	}
}
