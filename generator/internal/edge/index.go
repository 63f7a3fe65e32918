// SPDX-License-Identifier: Apache-2.0

package edge

import "iter"

// index finds items by hashes of what they are equal in. It is one flat table, so that finding an item reads
// one line of memory beside the item's own. The zero index is empty.
type index[T any] struct {
	slots []slot[T] // their number is a power of two
	taken int       // slots that are not free
	count int       // items
}

// slot has an item; it is free when its hash is zero, too. An item is in the first slot from that of its hash on
// that was not taken when it came.
type slot[T any] struct {
	hash uint64
	item *T // nil: none
}

// gone is the hash of a slot whose item was removed. It is not free: the search for others goes on behind it.
const gone = 1

// find returns nil when there is none.
func (x *index[T]) find(hash uint64, is func(*T) bool) *T {
	if x.count == 0 {
		return nil
	}
	for at := hash; ; at++ {
		s := &x.slots[at&uint64(len(x.slots)-1)]
		switch {
		case s.item == nil && s.hash == 0:
			return nil
		case s.hash == hash && s.item != nil && is(s.item):
			return s.item
		}
	}
}

// add adds an item that is not in the index.
func (x *index[T]) add(hash uint64, item *T) {
	if x.taken >= len(x.slots)/5*4 {
		x.rebuild()
	}
	x.place(hash, item)
	x.count++
}

func (x *index[T]) place(hash uint64, item *T) {
	for at := hash; ; at++ {
		s := &x.slots[at&uint64(len(x.slots)-1)]
		if s.item == nil && s.hash == 0 {
			*s = slot[T]{hash, item}
			x.taken++
			return
		}
	}
}

// rebuild makes slots free whose items are gone, and more of them if few are.
func (x *index[T]) rebuild() {
	old, size := x.slots, max(8, len(x.slots))
	if x.count > size/2 {
		size *= 2
	}
	x.slots, x.taken = make([]slot[T], size), 0
	for _, s := range old {
		if s.item != nil {
			x.place(s.hash, s.item)
		}
	}
}

// remove removes an item that is in the index.
func (x *index[T]) remove(hash uint64, item *T) {
	at := hash
	for x.slots[at&uint64(len(x.slots)-1)].item != item {
		at++
	}
	x.slots[at&uint64(len(x.slots)-1)] = slot[T]{hash: gone}
	x.count--
}

// all yields each item once. Any may be removed meanwhile.
func (x *index[T]) all() iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for i := range x.slots {
			if item := x.slots[i].item; item != nil && !yield(item) {
				return
			}
		}
	}
}
