// SPDX-License-Identifier: Apache-2.0

package inventory

// The bounds of what waits in a Tracker.
const (
	MaxSlots   = maxSlots
	MaxUnclear = maxUnclear
)

// Size is how many slots wait, and edges in them.
func (t *Tracker) Size() (slots, edges int) { return len(t.waiting.byKey), t.waiting.unclear }
