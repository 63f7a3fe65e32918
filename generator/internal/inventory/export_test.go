// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
)

// The bounds of what waits in a Tracker.
const (
	MaxSlots   = maxSlots
	MaxUnclear = maxUnclear
	MaxGaps    = maxGaps
	MaxServed  = maxServed // and of Jobs
)

// Size is how many slots wait, and edges in them.
func (t *Tracker) Size() (slots, edges int) { return len(t.waiting.byKey), t.waiting.unclear }

// Watched is how many gaps, addresses of Services and Jobs are remembered.
func (t *Tracker) Watched() (gaps, served, owners int) {
	return len(t.watched.gaps), len(t.watched.served), len(t.watched.owners)
}

// Key is the edge of a record by the inventory and the record alone.
func (inv *Inventory) Key(r *flows.Record) edge.Key {
	first, last := covered(r)
	return inv.history.attribute(inv.named(r), first, last)
}

// MaxMet is the bound of the addresses that an Attribution has met pods at.
const MaxMet = maxMet

// Met is at how many addresses it has.
func (a *Attribution) Met() int { return len(a.met) }

// Ends are what an end is for an Attribution, and by the inventory and the record alone. known: it was met before.
func (a *Attribution) Ends(e *flows.Endpoint, r *flows.Record) (met, anew edge.Endpoint, known bool) {
	p := a.met.find(e)
	return a.end(e, p, r), a.inv.end(e, r), p != nil
}
