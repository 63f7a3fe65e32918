// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
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

var start = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)

func pod(name string) edge.Endpoint {
	return edge.Endpoint{Kind: "Deployment", Namespace: "shop", Name: name}
}

func world(n int) edge.Endpoint {
	return edge.Endpoint{Addr: netip.AddrFrom4([4]byte{203, byte(n >> 16), byte(n >> 8), byte(n)}), Entity: "world"}
}

func tcp(from, to edge.Endpoint, port uint16) edge.Key {
	return edge.Key{From: from, To: to, Protocol: "TCP", Port: port, Side: flows.Egress, Verdict: flows.Forwarded}
}

// random makes observations of so few edges that many fall on the same one, and of so many that small
// limits leave out some of every kind.
func random(r *rand.Rand, n int) []observed {
	var out []observed
	for i := range n {
		from, to := pod(fmt.Sprint("from", r.IntN(4))), pod(fmt.Sprint("to", r.IntN(3)))
		switch r.IntN(6) {
		case 0:
			to = world(r.IntN(20))
		case 1:
			from = world(r.IntN(20))
		case 2:
			from = edge.Endpoint{Kind: "Job", Namespace: "batch", Name: fmt.Sprint("run-", r.IntN(10))}
		case 3:
			from, to = world(r.IntN(4)), edge.Endpoint{Addr: netip.MustParseAddr("10.0.0.1"), Entity: "host"}
		}
		out = append(out, observed{tcp(from, to, uint16(80+r.IntN(12))), edge.Observation{
			ID: xxhash.Sum64String(fmt.Sprint(i)), Time: start.Add(time.Duration(r.IntN(40*24)) * time.Hour),
			Node: fmt.Sprint("node", r.IntN(100)), Name: []string{fmt.Sprint("name", r.IntN(100))},
		}})
	}
	return out
}

func fold(limits edge.Limits, observations []observed) *edge.Fold {
	f := edge.NewSample(limits)
	f.Track()
	for _, o := range observations {
		_ = f.Add(o.key, o.obs)
	}
	return f
}

// restart keeps what a Fold hands over, as a database would, and returns the Fold of what is kept.
func restart(t *testing.T, limits edge.Limits, f *edge.Fold, kept map[string][]byte) *edge.Fold {
	t.Helper()
	for n := f.Prepare(); n > 0; n -= 7 {
		for _, c := range f.Changes(7) {
			if c.Value == nil {
				delete(kept, string(c.Key))
				continue
			}
			kept[string(c.Key)] = c.Value
		}
	}
	again := edge.NewSample(limits)
	again.Track()
	for _, key := range slices.Sorted(maps.Keys(kept)) {
		if err := again.Restore(edge.Change{Key: []byte(key), Value: kept[key]}); err != nil {
			t.Fatal(err)
		}
	}
	return again
}

var narrow = edge.Limits{Internal: 30, External: 25, Scope: 12, Group: 5}

// TestFoldIsASetUnion folds the same observations a thousand times: shuffled, some twice, over shards that
// overlap, cut back at other times, and with restarts. It wants the same bytes each time, sketches and
// what is left out included, without limits and with limits of which each takes effect.
func TestFoldIsASetUnion(t *testing.T) {
	for _, tt := range []struct {
		name   string
		limits edge.Limits
		orders uint64
	}{
		{"no limits", edge.Limits{}, 140},
		{"narrow", narrow, 430},
		{"narrower", edge.Limits{Internal: 3, External: 3, Scope: 2, Group: 1}, 430},
	} {
		limits := tt.limits
		t.Run(tt.name, func(t *testing.T) {
			all := random(rand.New(rand.NewPCG(1, 1)), 1000)
			want := fold(limits, all).State()
			for seed := range tt.orders {
				r := rand.New(rand.NewPCG(seed, 2))
				shuffled := append(slices.Clone(all), all[:r.IntN(len(all))]...)
				r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })

				merged, kept := edge.NewSample(limits), map[string][]byte{}
				merged.Track()
				shards := 1 + r.IntN(5)
				for i := range shards {
					from, to := i*len(shuffled)/shards, min(len(shuffled), (i+1)*len(shuffled)/shards+r.IntN(50))
					_ = merged.Merge(fold(limits, shuffled[from:to]))
					if r.IntN(2) == 0 {
						merged = restart(t, limits, merged, kept)
					}
					if r.IntN(2) == 0 {
						merged.Edges() // cuts back
					}
				}
				if got := restart(t, limits, merged, kept).State(); !bytes.Equal(got, want) {
					t.Fatalf("seed %d: %d edges and %d overflows, the bytes differ", seed, len(merged.Edges()), len(merged.Overflows()))
				}
			}
		})
	}
}

// TestNothingIsLeftOutSilently: each observation is in an edge or in the overflow that stands for it.
func TestNothingIsLeftOutSilently(t *testing.T) {
	all := random(rand.New(rand.NewPCG(1, 1)), 2000)
	complete, f := fold(edge.Limits{}, all), fold(narrow, all)
	var whole, kept, left edge.Count
	for _, e := range complete.Edges() {
		whole.Merge(&e.Flows)
	}
	edges := f.Edges()
	for _, e := range edges {
		kept.Merge(&e.Flows)
	}
	distinct := uint64(len(edges))
	for _, o := range f.Overflows() {
		left.Merge(&o.Flows)
		n, _ := o.Edges.Value()
		distinct += n
	}
	kept.Merge(&left)
	got, _ := kept.Value()
	if n, _ := whole.Value(); got != n {
		t.Errorf("edges and overflows have %d flows, want %d", got, n)
	}
	if !near(distinct, len(complete.Edges()), 0.15) {
		t.Errorf("%d edges are kept or counted as left out, want %d", distinct, len(complete.Edges()))
	}
	counts := map[bool]int{}
	for _, e := range edges {
		counts[e.From.IsPod() && e.To.IsPod()]++
	}
	if counts[true] != narrow.Internal || counts[false] != narrow.External {
		t.Errorf("%d edges between pods and %d others, want all of %+v", counts[true], counts[false], narrow)
	}
}

func TestAtRest(t *testing.T) {
	var keys []edge.Key
	for _, o := range random(rand.New(rand.NewPCG(1, 1)), 300) {
		keys = append(keys, o.key)
	}
	keys = append(keys, edge.Key{}, edge.Key{From: edge.Endpoint{Name: "a\x00b"}}, edge.Key{From: edge.Endpoint{Name: "a"}}, edge.Key{From: edge.Endpoint{Name: "a\x00"}},
		edge.Key{From: edge.Endpoint{Name: "a\x01"}}, edge.Key{To: edge.Endpoint{Addr: netip.MustParseAddr("2001:db8::1")}})
	for _, a := range keys {
		b := edge.AppendKey(nil, a)
		if got, err := edge.ParseKey(b); err != nil || got != a {
			t.Fatalf("%+v is read as %+v, %v", a, got, err)
		}
		for _, other := range keys {
			if got, want := bytes.Compare(b, edge.AppendKey(nil, other)), a.Compare(other); got != want {
				t.Fatalf("%s and %s are in order %d at rest, want %d", a, other, got, want)
			}
		}
	}
}

// FuzzRestore gives a Fold what a damaged database may have. What it takes, it writes the same way again.
func FuzzRestore(f *testing.F) {
	seed := fold(narrow, random(rand.New(rand.NewPCG(1, 1)), 600))
	for _, c := range seed.Changes(seed.Prepare()) {
		f.Add(c.Key, c.Value)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		folded := edge.NewSample(narrow)
		folded.Track()
		if err := folded.Restore(edge.Change{Key: key, Value: value}); err != nil {
			return
		}
		if got := folded.State(); !bytes.Equal(got, append(bytes.Clone(key), value...)) {
			t.Errorf("%q is %q when it is written again", append(key, value...), got)
		}
	})
}
