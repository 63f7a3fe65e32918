// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
)

const (
	slotTime  = time.Second     // of the records of a slot
	readyTime = 8 * time.Second // in which slots are ready together
)

// Bounds of what waits. Beyond them neighbours are joined: then records are of less exact times, fewer addresses can be
// told, and none is wrong.
const (
	maxSlots   = 4096
	maxUnclear = 3 << 16 // edges in slots; one slot has a third of them at the most
	maxTimes   = 1 << 19 // of the oldest records
)

// slots are the records that wait, by their time and by when they will be ready.
type slots struct {
	byKey   map[slotKey]*slot
	oldest  map[int64]oldest // of all slots with the same ready
	unclear int              // edges
	times   int              // in oldest
	records uint64
}

// slotKey is what the records of a slot have in common.
type slotKey struct {
	wrong bool  // their times are of a wrong clock; time is 0
	time  int64 // of the first one, in slotTimes since 1970
	ready int64 // all of them came before this, in readyTimes since 1970
}

func (k slotKey) compare(o slotKey) int {
	if k.wrong != o.wrong {
		if o.wrong {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(k.time, o.time), cmp.Compare(k.ready, o.ready))
}

type slot struct {
	fold    *edge.Fold
	records uint64
}

// oldest is the time of the oldest record by observer.
type oldest map[string]time.Time

func (o oldest) add(observer string, at time.Time) {
	if before, known := o[observer]; !known || at.Before(before) {
		o[observer] = at
	}
}

func newSlots() slots { return slots{byKey: map[slotKey]*slot{}, oldest: map[int64]oldest{}} }

// add keeps a record that came from an observer now.
func (w *slots) add(observer string, k edge.Key, r *flows.Record, now time.Time, wrong bool) {
	key := slotKey{wrong: wrong, ready: nanos(now.Add(skew))/int64(readyTime) + 1}
	if !wrong {
		key.time = nanos(r.Time) / int64(slotTime)
	}
	s := w.at(key)
	w.unclear -= s.fold.Len()
	o := Observe(r)
	_ = s.fold.Add(k, o) // a sample never fails
	if first, last := covered(r); first != last {
		o.Time = time.Unix(0, first).UTC()
		_ = s.fold.Add(k, o) // the same flow: only the time that is covered grows
	}
	w.unclear += s.fold.Len()
	s.records++
	w.records++
	at := r.Time
	if at.After(now) {
		at = now
	}
	w.before(key.ready, oldest{observer: at})
	for len(w.byKey) > 2 && (len(w.byKey) > maxSlots || w.unclear > maxUnclear || w.times > maxTimes) {
		w.join()
	}
}

func (w *slots) at(key slotKey) *slot {
	s := w.byKey[key]
	if s == nil {
		s = &slot{fold: edge.NewSample(edge.DefaultLimits)}
		w.byKey[key] = s
	}
	return s
}

func (w *slots) before(ready int64, list oldest) {
	if w.oldest[ready] == nil {
		w.oldest[ready] = oldest{}
	}
	into := w.oldest[ready]
	w.times -= len(into)
	for observer, at := range list {
		into.add(observer, at)
	}
	w.times += len(into)
}

// join makes one slot of each two that are neighbours.
func (w *slots) join() {
	old := *w
	*w = newSlots()
	w.records = old.records
	keys := slices.SortedFunc(maps.Keys(old.byKey), slotKey.compare)
	for len(keys) > 0 {
		pair := keys[:1]
		if len(keys) > 1 && keys[0].wrong == keys[1].wrong {
			pair = keys[:2]
		}
		keys = keys[len(pair):]
		key := slotKey{wrong: pair[0].wrong, time: pair[0].time, ready: max(pair[0].ready, pair[len(pair)-1].ready)}
		into := w.at(key)
		w.unclear -= into.fold.Len()
		for _, k := range pair {
			_ = into.fold.Merge(old.byKey[k].fold) // a sample never fails
			into.records += old.byKey[k].records
			w.before(key.ready, old.oldest[k.ready])
		}
		w.unclear += into.fold.Len()
	}
}

// take returns the slots that are ready at a time, and lets go of them.
func (w *slots) take(now int64) map[slotKey]*slot {
	ready := func(at int64) bool { return at*int64(readyTime) <= now }
	taken := map[slotKey]*slot{}
	for key, s := range w.byKey {
		if ready(key.ready) {
			taken[key] = s
			delete(w.byKey, key)
			w.unclear -= s.fold.Len()
			w.records -= s.records
		}
	}
	for at, list := range w.oldest {
		if ready(at) {
			w.times -= len(list)
			delete(w.oldest, at)
		}
	}
	return taken
}
