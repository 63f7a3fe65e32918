// SPDX-License-Identifier: Apache-2.0

package attribution

import (
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// keptGenerations bounds how many past rule tables are kept. A record that is older than that keeps its
// verdict and loses the name of the rule.
const keptGenerations = 64

// generations holds the latest rule tables, oldest first.
type generations []ruleTable

// ruleTable names the rules of one generation. It holds origins only, not the world that they are from.
type ruleTable struct {
	generation uint32
	sets       [][2]directionRules // by set and direction
}

type directionRules struct{ rules, isolation []*netpol.Origin }

// Loaded writes down the rules of a world that the datapath judges by from now on.
func (b *Book) Loaded(generation uint32, world *plan.World) {
	table := ruleTable{generation: generation, sets: make([][2]directionRules, len(world.Sets))}
	for set, entry := range world.Sets {
		for _, d := range []netpol.Direction{netpol.Ingress, netpol.Egress} {
			named := &table.sets[set][d]
			named.isolation = world.Isolation(uint32(set), d)
			for rule := range int(entry.Rules[d]) {
				named.rules = append(named.rules, world.Rule(uint32(set), d, rule))
			}
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rules = append(b.rules, table)
	if extra := len(b.rules) - keptGenerations; extra > 0 {
		b.rules = append(generations(nil), b.rules[extra:]...)
	}
}

// find returns the rules of a set; nil if they are not known (any more).
func (g generations) find(generation, set uint32, d netpol.Direction) *directionRules {
	for i := len(g) - 1; i >= 0; i-- {
		if g[i].generation == generation && int(set) < len(g[i].sets) {
			return &g[i].sets[set][d]
		}
	}
	return nil
}
