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
// an address waits until an inventory was taken long enough after it came: then the inventories before and after
// it, and records that name pods, tell whose the address was. It is not safe for concurrent use.
type Tracker struct {
	inv     *Inventory
	history *history
	waiting slots
	figures Figures
}

// Figures are what a Tracker did, in records.
type Figures struct {
	Waiting uint64 // now
	// Attributed had an address that was a pod's at that time. The Addresses of others never were one's. Of Ambiguous
	// ones it cannot be told: they are edges of EntityPodAddress. These are estimates where an edge has many records.
	Attributed, Addresses, Ambiguous uint64
	// Forgotten named a pod when there was no room to remember one more.
	Forgotten uint64
}

// NewTracker returns a Tracker that begins with what an inventory knows, and with addresses that were pods'
// before: it is not known whose.
func NewTracker(inv *Inventory, addresses []netip.Addr) *Tracker {
	t := &Tracker{history: newHistory(), waiting: newSlots()}
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
	t.inv = inv
	t.history.follow(inv.history)
	t.history.forget(later(inv.taken, -remembered))
}

// Settle returns the edges of the records that have waited long enough for the newest inventory, attributed; nil:
// there are none.
func (t *Tracker) Settle() *edge.Fold {
	taken := t.waiting.take(later(t.inv.taken, -reporting))
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
		k := t.history.attribute(t.inv.again(e.Key, e.Nodes), first, last)
		t.count(k, e)
		_ = out.Put(k, &e) // a sample never fails
	}
	for _, o := range from.Overflows() {
		out.PutOverflow(&o)
	}
}

func (t *Tracker) count(k edge.Key, e edge.Edge) {
	n, _ := e.Flows.Value()
	switch {
	case k.From.Entity == EntityPodAddress || k.To.Entity == EntityPodAddress:
		t.figures.Ambiguous += n
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

// again names the ends of an edge that only have addresses by an inventory that is newer than the one that named
// them before.
func (inv *Inventory) again(k edge.Key, nodes edge.Set) edge.Key {
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
	k.To, k.Port = inv.destination(r)
	return k
}
