// SPDX-License-Identifier: Apache-2.0

package edge

// Observations of a large Fold wait until there are some, and are then added step by step. Most of the time that one
// takes is spent waiting for memory; what a step needs for one is fetched while the step is done for those before it.
const (
	queueFrom = 4096 // edges; fewer are all near
	queueSize = 16
)

// queued is an observation of an edge whose ends and class are known.
type queued struct {
	trait
	found   *record // nil: there is none
	changed bool
	Observation
}

// enqueue reports whether the observation waits. One with names does not: they lie in memory of the caller.
func (f *Fold) enqueue(k *Key, o *Observation) bool {
	if f.records.count < queueFrom || f.most > 0 || len(o.Name) > 0 {
		return false
	}
	var t trait
	if !f.trait(k, &t) {
		return false
	}
	f.queue = append(f.queue, queued{trait: t, Observation: *o})
	if len(f.queue) == queueSize {
		f.settle()
	}
	return true
}

// settle adds the observations that wait. What reads edges, or lets go of them, begins with it.
func (f *Fold) settle() {
	waiting := f.queue
	f.queue = waiting[:0]
	for i := range waiting {
		q := &waiting[i]
		q.found = f.records.find(q.hash(), q.of)
	}
	for i := range waiting {
		if q := &waiting[i]; q.found != nil {
			q.changed = q.found.flows.Add(q.ID)
		}
	}
	for i := range waiting {
		if q := &waiting[i]; q.found != nil && (f.seenAt(q.found, &q.Observation) || q.changed) {
			f.touch(q.found)
		}
	}
	for i := range waiting { // at last, because a new edge may take the place of one that was found
		if q := &waiting[i]; q.found == nil {
			k := q.key()
			_ = f.add(&k, &q.Observation) // a sample never fails
		}
	}
}
