// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
)

const day = 24 * time.Hour

// TestDays compares with a plain set of the days within 448 of the newest.
func TestDays(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		spread := []int{1, 10, 100, 447, 448, 2000}[r.IntN(6)]
		a, b := edge.NewSample(edge.Limits{}), edge.NewSample(edge.Limits{})
		want := map[time.Time]bool{}
		newest := time.Time{}
		for range 1 + r.IntN(100) {
			at := start.Add(time.Duration(r.IntN(spread)-spread/2)*day + time.Duration(r.IntN(int(day))))
			[]*edge.Fold{a, b}[r.IntN(2)].Add(edge.Key{}, edge.Observation{ID: r.Uint64(), Time: at})
			want[at.Truncate(day)] = true
			if at.After(newest) {
				newest = at
			}
		}
		_ = a.Merge(b)
		maps.DeleteFunc(want, func(d time.Time, _ bool) bool { return newest.Truncate(day).Sub(d) > 447*day })
		e := a.Edges()[0]
		if got := slices.Collect(e.Days.All()); !slices.Equal(got, slices.SortedFunc(maps.Keys(want), time.Time.Compare)) || e.Days.Len() != len(want) {
			t.Fatalf("seed %d: %v, want %v", seed, got, want)
		}
	}
}

func TestExpire(t *testing.T) {
	f := edge.NewSample(edge.Limits{Group: 2})
	see := func(k edge.Key, days ...int) {
		for _, d := range days {
			_ = f.Add(k, edge.Observation{ID: uint64(d), Time: start.Add(time.Duration(d) * day)})
		}
	}
	lasting, old := tcp(pod("web"), pod("api"), 80), tcp(pod("web"), pod("old"), 80)
	see(lasting, 0, 5, 10, 80)
	see(old, 0, 9)
	for n := range 5 {
		see(tcp(pod("web"), world(n), 443), 9)
	}
	if n := f.Expire(start.Add(9 * day)); n != 0 || len(f.Edges()) != 4 || len(f.Overflows()) != 1 {
		t.Fatalf("%d edges are forgotten that were seen at that time; %d are there, and %d overflows", n, len(f.Edges()), len(f.Overflows()))
	}
	if n := f.Expire(start.Add(10 * day)); n != 3 {
		t.Errorf("%d edges are forgotten, want 3", n)
	}
	edges := f.Edges()
	if len(edges) != 1 || edges[0].Key != lasting || !edges[0].First.Equal(start) || edges[0].Days.Len() != 2 || len(f.Overflows()) != 0 {
		t.Errorf("what is left is %+v and %+v", edges, f.Overflows())
	}
	for n := range 2 {
		see(tcp(pod("web"), world(100+n), 443), 20)
	}
	if got := len(f.Edges()); got != 3 {
		t.Errorf("%d edges; the places of forgotten ones are not free again", got)
	}
}
