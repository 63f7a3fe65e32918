// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"net/netip"
	"time"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
)

const (
	// reporting is how long after a pod got its address, or lost it, an inventory may not say so yet: nodes tell
	// the API server later.
	reporting = 30 * time.Second
	// remembered is for how long a Tracker knows who had an address.
	remembered = 24 * time.Hour
	// ancient records are of a wrong clock, as those of the future are.
	ancient = 400 * 24 * time.Hour
)

// Tracker attributes records while they come, for as long as a service runs. A record with an end that only has
// an address waits until an inventory was taken long enough after it came, and what is watched was told: then the inventories
// before and after it, what came and went in between, and records that name pods, tell whose the address was. It is not safe
// for concurrent use.
type Tracker struct {
	inv     *Inventory
	history *history
	watched watched
	waiting slots
	figures Figures
}

// Figures are what a Tracker did, in records.
type Figures struct {
	Waiting uint64 // now
	// Attributed had an address that was a pod's at that time. The Addresses of others never were one's. Of Ambiguous
	// ones it cannot be told: they are edges of EntityPodAddress. These are estimates where an edge has many records.
	Attributed, Addresses, Ambiguous uint64
	// Unwatched had an address that was not known to be a pod's, and could be one's that came and went while nobody
	// watched: they are edges of EntityPodAddress, too, and not among the Ambiguous.
	Unwatched uint64
	// Forgotten named a pod when there was no room to remember one more; objects that were watched count as well.
	Forgotten uint64
	// Restarts are how many times a watch began anew. They are not in records.
	Restarts uint64
}

// NewTracker returns a Tracker that begins with what an inventory knows, and with addresses that were pods'
// before: it is not known whose.
func NewTracker(inv *Inventory, addresses []netip.Addr) *Tracker {
	t := &Tracker{history: newHistory(), watched: newWatched(), waiting: newSlots()}
	for _, addr := range addresses {
		t.history.address(addr)
	}
	t.history.fresh = []netip.Addr{}
	t.Use(inv)
	return t
}

// Addresses are those that became known to be pods' since the last call.
func (t *Tracker) Addresses() []netip.Addr {
	fresh := t.history.fresh
	t.history.fresh = []netip.Addr{}
	return fresh
}

// Add returns the edge of a record that came from an observer now. settled is false when the record waits for
// Settle instead.
func (t *Tracker) Add(observer string, r *flows.Record, now time.Time) (k edge.Key, settled bool) {
	k = t.inv.named(r)
	wrong := r.Time.After(now.Add(skew)) || r.Time.Before(now.Add(-ancient))
	if !wrong {
		t.learn(&r.Source, k.From, r)
		t.learn(&r.Destination, k.To, r)
	}
	if !open(k.From) && !open(k.To) {
		return k, true
	}
	t.waiting.add(observer, k, r, now, wrong)
	return k, false
}

func (t *Tracker) learn(e *flows.Endpoint, end edge.Endpoint, r *flows.Record) {
	if t.inv.learn(t.history, e, end, r) != nil {
		t.figures.Forgotten++
	}
}

// Use goes on with a later inventory. An earlier one, which took longer to read, is not used.
func (t *Tracker) Use(inv *Inventory) {
	if t.inv != nil && inv.taken < t.inv.taken {
		return
	}
	t.followServices(inv)
	t.inv = inv
	t.history.follow(inv.history)
	before := later(inv.taken, -remembered)
	t.history.forget(before)
	t.watched.forget(before)
}

// Settle returns the edges of the records that have waited long enough for the newest inventory and for the watch,
// attributed; nil: there are none.
func (t *Tracker) Settle() *edge.Fold {
	told := t.inv.taken
	if until := t.watched.until(); until > later(told, -patience) { // it works
		told = min(told, until)
	}
	taken := t.waiting.take(later(told, -reporting))
	if len(taken) == 0 {
		return nil
	}
	out := edge.NewSample(edge.DefaultLimits)
	for key, s := range taken {
		t.settle(s.fold, key.wrong, out)
	}
	return out
}

func (t *Tracker) settle(from *edge.Fold, wrong bool, out *edge.Fold) {
	for _, e := range from.Edges() {
		first, last := nanos(e.First), nanos(e.Last)
		if wrong {
			first, last = never, forever
		}
		was := t.history.attribute(t.inv.again(e.Key, e.Nodes, last), first, last)
		k := was
		k.From, k.To = t.resolve(k.From, first, last), t.resolve(k.To, first, last)
		t.count(was, k, e)
		_ = out.Put(k, &e) // a sample never fails
	}
	for _, o := range from.Overflows() {
		out.PutOverflow(&o)
	}
}

// count takes an edge as it was by times, and as it is by all that is known.
func (t *Tracker) count(was, k edge.Key, e edge.Edge) {
	n, _ := e.Flows.Value()
	switch {
	case was.From.Entity == EntityPodAddress || was.To.Entity == EntityPodAddress:
		t.figures.Ambiguous += n
	case k.From.Entity == EntityPodAddress || k.To.Entity == EntityPodAddress:
		t.figures.Unwatched += n
	case k.From.IsPod() != e.From.IsPod() || k.To.IsPod() != e.To.IsPod():
		t.figures.Attributed += n
	default:
		t.figures.Addresses += n
	}
}

// Oldest is the time of each observer's oldest record that waits, at most when it came.
func (t *Tracker) Oldest() map[string]time.Time {
	all := oldest{}
	for _, o := range t.waiting.oldest {
		for observer, at := range o {
			all.add(observer, at)
		}
	}
	return all
}

// Figures returns the figures.
func (t *Tracker) Figures() Figures {
	f := t.figures
	f.Waiting = t.waiting.records
	return f
}

// again names the ends of an edge until last that only have addresses by an inventory that is newer than the one that named
// them before. A Service that was made after it is not the one that was meant.
func (inv *Inventory) again(k edge.Key, nodes edge.Set, last int64) edge.Key {
	r := &flows.Record{Protocol: k.Protocol, DestinationPort: k.Port}
	if len(nodes) == 1 {
		r.Node = nodes[0]
	}
	if open(k.From) {
		k.From = inv.end(&flows.Endpoint{Addr: k.From.Addr, Entity: k.From.Entity}, r)
	}
	if !open(k.To) {
		return k
	}
	r.Destination = flows.Endpoint{Addr: k.To.Addr, Entity: k.To.Entity}
	if k.Side == flows.SideUnknown {
		k.To = inv.end(&r.Destination, r)
		return k
	}
	if s := inv.services.byAddr[k.To.Addr]; s != nil && nanos(s.CreationTimestamp.Time) > later(last, skew) {
		k.To = edge.Endpoint{Addr: k.To.Addr, Entity: EntityService}
		return k
	}
	k.To, k.Port = inv.destination(inv.end(&r.Destination, r), r)
	return k
}
