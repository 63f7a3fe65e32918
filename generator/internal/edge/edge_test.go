// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
)

type observed struct {
	key edge.Key
	obs edge.Observation
}

// random makes observations of a few edges, so that many fall on the same one.
func random(r *rand.Rand, n int) []observed {
	start := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	var out []observed
	for i := range n {
		out = append(out, observed{
			edge.Key{
				From:     edge.Endpoint{Kind: "Deployment", Namespace: "a", Name: fmt.Sprint("from", r.IntN(4))},
				To:       edge.Endpoint{Kind: "Deployment", Namespace: "b", Name: fmt.Sprint("to", r.IntN(4))},
				Protocol: "TCP", Port: uint16(80 + r.IntN(3)), Side: flows.Egress, Verdict: flows.Forwarded,
			},
			edge.Observation{
				ID: xxhash.Sum64String(fmt.Sprint(i)), Time: start.Add(time.Duration(r.IntN(1e9)) * time.Microsecond),
				Node: fmt.Sprint("node", r.IntN(100)), Name: []string{fmt.Sprint("name", r.IntN(100))},
			},
		})
	}
	return out
}

func fold(t *testing.T, observations []observed) *edge.Fold {
	t.Helper()
	f := edge.NewFold(1000)
	for _, o := range observations {
		if err := f.Add(o.key, o.obs); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func state(t *testing.T, f *edge.Fold) string {
	t.Helper()
	data, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestFoldIsASetUnion folds the same observations shuffled, repeated and sharded (with overlap), and
// wants the same state, sketches included.
func TestFoldIsASetUnion(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 1))
		all := random(r, 200+r.IntN(2000)*int(seed%3)*10) // some edges exceed what is counted exactly
		want := state(t, fold(t, all))

		shuffled := append(slices.Clone(all), all[:len(all)/3]...)
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if got := state(t, fold(t, shuffled)); got != want {
			t.Fatalf("seed %d: order or repetition changed the result", seed)
		}

		merged := edge.NewFold(1000)
		for i := 0; i < len(shuffled); i += 97 {
			shard := fold(t, shuffled[i:min(len(shuffled), i+150)]) // shards overlap
			if err := merged.Merge(shard); err != nil {
				t.Fatal(err)
			}
		}
		if err := merged.Merge(merged); err != nil || state(t, merged) != want {
			t.Fatalf("seed %d: sharding changed the result (%v)", seed, err)
		}

		restored := edge.NewFold(1000)
		if err := json.Unmarshal([]byte(want), restored); err != nil || state(t, restored) != want {
			t.Fatalf("seed %d: saving and restoring changed the result (%v)", seed, err)
		}
	}
}

func TestLimit(t *testing.T) {
	f := edge.NewFold(1)
	if err := f.Add(edge.Key{Port: 1}, edge.Observation{ID: 1}); err != nil {
		t.Fatal(err)
	}
	if err := f.Add(edge.Key{Port: 2}, edge.Observation{ID: 2}); err == nil {
		t.Error("a second edge fits a fold for one")
	}
	if err := f.Add(edge.Key{Port: 1}, edge.Observation{ID: 3}); err != nil || f.Len() != 1 {
		t.Errorf("the first edge is refused: %v, %d edges", err, f.Len())
	}
}
