// SPDX-License-Identifier: Apache-2.0

package netpol

import (
	"maps"
	"math/rand/v2"
	"testing"
)

// A dict behaves like a map through any sequence of edits, and what it was edited from stays as it was.
func TestDictIsAMapThatDoesNotChange(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var d dict[int, int]
	model := map[int]int{}
	for step := range 200 {
		before, was := d, maps.Clone(model)
		e := d.edit(r.IntN(20))
		for range r.IntN(200) {
			if k := r.IntN(3000); r.IntN(3) == 0 {
				e.delete(k)
				delete(model, k)
			} else {
				v := r.Int()
				e.set(k, v)
				model[k] = v
			}
		}
		d = e.dict
		same(t, step, &d, model)
		same(t, step, &before, was)
	}
}

func same(t *testing.T, step int, d *dict[int, int], want map[int]int) {
	t.Helper()
	if got := maps.Collect(d.all()); !maps.Equal(got, want) {
		t.Fatalf("step %d: %d entries differ from the %d expected", step, len(got), len(want))
	}
	if d.count != len(want) {
		t.Fatalf("step %d: counts %d, has %d", step, d.count, len(want))
	}
	for k := range 3000 {
		if d.get(k) != want[k] {
			t.Fatalf("step %d: %d is %d, want %d", step, k, d.get(k), want[k])
		}
	}
}

// A small change must not copy the whole.
func TestEditSharesWhatItDoesNotChange(t *testing.T) {
	var none dict[int, int]
	e := none.edit(10_000)
	for i := range 10_000 {
		e.set(i, i)
	}
	d := e.dict
	next := d.edit(1)
	next.set(7, 0)
	copied := 0
	for i := range d.shards {
		if next.owned[i] {
			copied++
		}
	}
	if copied != 1 {
		t.Errorf("%d of %d shards were copied for one entry", copied, len(d.shards))
	}
	if n := testing.AllocsPerRun(100, func() { d.edit(1) }); n > 1 {
		t.Errorf("%v allocations before anything is written", n)
	}
}
