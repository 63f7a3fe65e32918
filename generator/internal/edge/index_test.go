// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"math/rand/v2"
	"testing"
)

// TestIndex compares with a plain set what is found after items came and went, with hashes of which many are equal,
// are neighbours, or are those that mark slots.
func TestIndex(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var x index[int]
	items, in := make([]int, 300), map[*int]bool{}
	hash := func(item *int) uint64 { return uint64(*item%40) - 3 }
	for i := range items {
		items[i] = i
	}
	for range 20_000 {
		item := &items[r.IntN(1+r.IntN(len(items)))]
		if in[item] {
			x.remove(hash(item), item)
		} else {
			x.add(hash(item), item)
		}
		in[item] = !in[item]
		other := &items[r.IntN(len(items))]
		if found := x.find(hash(other), func(o *int) bool { return *o == *other }); (found == other) != in[other] {
			t.Fatalf("%d: found %v, want %v", *other, found, in[other])
		}
	}
	for item := range x.all() {
		if !in[item] {
			t.Errorf("%d is there, or is there twice", *item)
		}
		in[item] = false
		x.remove(hash(item), item)
	}
	for item, missing := range in {
		if missing {
			t.Errorf("%d is not there", *item)
		}
	}
	if x.count != 0 || len(x.slots) > 1024 {
		t.Errorf("%d items are left in %d slots", x.count, len(x.slots))
	}
}
