// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
)

// many makes observations of more edges than make a Fold large, between pods and to addresses; each fifth one has
// a name.
func many(n int) []observed {
	r := rand.New(rand.NewPCG(3, 1))
	out := make([]observed, n)
	for i := range out {
		to := pod(fmt.Sprint("to", r.IntN(40)))
		if r.IntN(2) == 0 {
			to = world(r.IntN(200))
		}
		o := edge.Observation{
			ID: xxhash.Sum64String(fmt.Sprint(i)), Time: start.Add(time.Duration(r.IntN(40*24)) * time.Hour), Node: fmt.Sprint("node", r.IntN(30)),
		}
		if i%5 == 0 {
			o.Name = []string{fmt.Sprint("name", r.IntN(100))}
		}
		out[i] = observed{tcp(pod(fmt.Sprint("from", r.IntN(30))), to, uint16(80+r.IntN(3))), o}
	}
	return out
}

// TestLargeFold: observations that wait change nothing, whatever is done meanwhile. Each of them is at last where it is in
// a Fold in which none waits: one of parts that are small.
func TestLargeFold(t *testing.T) {
	all := many(25_000)
	for _, limits := range []edge.Limits{{}, {Internal: 2800, External: 2500, Scope: 200, Group: 90}} {
		parts := edge.NewSample(limits)
		parts.Track()
		for part := range slices.Chunk(all, 500) {
			_ = parts.Merge(fold(limits, part))
		}
		if n := parts.Len(); n < 5000 {
			t.Fatalf("%d edges: that is not large", n)
		}
		want := parts.State()
		for seed := range uint64(4) {
			r := rand.New(rand.NewPCG(seed, 4))
			shuffled := append(slices.Clone(all), all[:r.IntN(len(all))]...)
			r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			f, kept := edge.NewSample(limits), map[string][]byte{}
			f.Track()
			for _, o := range shuffled {
				_ = f.Add(o.key, o.obs)
				switch r.IntN(8000) {
				case 0:
					f = restart(t, limits, f, kept)
				case 1:
					f.Edges()
				case 2:
					again := edge.NewSample(limits)
					again.Track()
					_ = again.Merge(f)
					f, kept = again, map[string][]byte{}
				}
			}
			if seed%2 == 0 {
				f = restart(t, limits, f, kept)
			}
			if got := f.State(); !bytes.Equal(got, want) {
				t.Fatalf("limits %+v, seed %d: %d edges, the bytes differ", limits, seed, f.Len())
			}
		}
	}
}
