// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/random"
)

var planSeed = flag.Uint64("plan.seed", 1, "seed of the random clusters that worlds and evaluator must agree on; 0: another one each time")

// TestRandomClusters plans clusters that have everything, faults and disputed addresses included, and the worlds
// after changes of them, and compares each with the evaluator.
func TestRandomClusters(t *testing.T) {
	seed := *planSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	addrs := []netip.Addr{
		netip.MustParseAddr("10.0.1.1"), netip.MustParseAddr("10.0.2.1"), netip.MustParseAddr("10.0.0.15"), netip.MustParseAddr("192.0.2.1"),
		netip.MustParseAddr("fd00::1:1"), netip.MustParseAddr("fd00::f"), netip.MustParseAddr("2001:db8::1"),
	}
	compared := 0
	for cluster := range uint64(60) {
		g := random.New(seed, cluster)
		objs := g.Objects()
		snap, _ := netpol.Compile(objs) // what has a fault matches nothing
		var p Planner
		world := &World{}
		for step := range 6 {
			c, in := unplanned(fmt.Sprintf("-plan.seed=%d, cluster %d, step %d", seed, cluster, step), snap)
			world = world.add(next(t, &p, snap, in))
			c.world = world
			compared += compare(t, c, addrs, []uint16{0, 1, 53, 80, 8080, 65535})
			if t.Failed() {
				text, err := random.YAML(objs)
				t.Fatalf("%s%v", text, err)
			}
			change := g.Change(objs)
			objs = random.Changed(objs, change)
			snap, _ = snap.Apply(change)
		}
	}
	t.Logf("seed %d: %d decisions compared", seed, compared)
	if compared < 500_000 {
		t.Errorf("only %d decisions compared", compared)
	}
}
