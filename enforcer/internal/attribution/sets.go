// SPDX-License-Identifier: Apache-2.0

package attribution

import (
	"time"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// policySets name the rules of policy sets, by number. They hold origins only, not the world that they are from.
type policySets map[uint32]*policySet

type policySet struct {
	rules, isolation [2][]*netpol.Origin // by Direction
	until            time.Time           // zero: endpoints are under it
}

// Prepare writes down the policy sets that a world brings. It must be called before the datapath judges by it: a
// record may name one at once.
func (b *Book) Prepare(world *plan.World) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, entry := range world.Sets {
		number, named := world.FirstSet+uint32(i), new(policySet)
		for _, d := range []netpol.Direction{netpol.Ingress, netpol.Egress} {
			named.isolation[d] = world.Isolation(number, d)
			for rule := range int(entry.Rules[d]) {
				named.rules[d] = append(named.rules[d], world.Rule(number, d, rule))
			}
		}
		b.sets[number] = named
	}
}

// Loaded says that the datapath judges by a world from now on. Sets that no endpoint is under any more are forgotten
// after a while: a record keeps its verdict then, and loses the name of the rule.
func (b *Book) Loaded(world *plan.World, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	used := make(map[uint32]bool)
	for _, e := range world.Endpoints {
		used[e.Set] = true
		used[e.Staged] = used[e.Staged] || e.IsStaged
	}
	for number, set := range b.sets {
		switch {
		case used[number]:
			set.until = time.Time{}
		case set.until.IsZero():
			set.until = now
		case now.Sub(set.until) > remember:
			delete(b.sets, number)
		}
	}
}
