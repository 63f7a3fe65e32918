// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"iter"
	"math/bits"
	"time"
)

// maxDays is how far back from the newest day a Days remembers: more than any retention.
const maxDays = 7 * 64

const day = 24 * time.Hour

// Days is a set of days (UTC): the newest one added, and those of the 447 days before it. It depends on
// the set of days added alone, not on their order. The zero Days is empty.
type Days struct {
	newest int32                // since 1970-01-01
	bits   [maxDays / 64]uint64 // bit n: newest-n; bit 0 is set unless the set is empty
}

func dayOf(t time.Time) int32 {
	s := t.Unix()
	d := s / (24 * 60 * 60)
	if s < 0 && s%(24*60*60) != 0 {
		d--
	}
	return int32(d)
}

func (d *Days) empty() bool { return d.bits[0]&1 == 0 }

func (d *Days) has(day int32) bool {
	back := int64(d.newest) - int64(day)
	return back >= 0 && back < maxDays && d.bits[back/64]>>(back%64)&1 == 1
}

// add reports whether that changed anything.
func (d *Days) add(day int32) bool {
	if d.empty() {
		*d = Days{newest: day}
	}
	if day > d.newest {
		d.bits = shift(d.bits, int64(day)-int64(d.newest))
		d.newest = day
	}
	back := int64(d.newest) - int64(day)
	if back >= maxDays {
		return false
	}
	word, bit := &d.bits[back/64], uint64(1)<<(back%64)
	changed := *word&bit == 0
	*word |= bit
	return changed
}

func (d *Days) merge(o Days) {
	if o.empty() {
		return
	}
	if d.empty() || o.newest > d.newest {
		*d, o = o, *d
	}
	if o.empty() {
		return
	}
	for i, word := range shift(o.bits, int64(d.newest)-int64(o.newest)) {
		d.bits[i] |= word
	}
}

// shift moves days n further back; what is then too far back is gone.
func shift(bits [maxDays / 64]uint64, n int64) (out [maxDays / 64]uint64) {
	if n >= maxDays {
		return out
	}
	words, rest := int(n/64), uint(n%64)
	for i := words; i < len(out); i++ {
		out[i] = bits[i-words] << rest
		if rest > 0 && i > words {
			out[i] |= bits[i-words-1] >> (64 - rest)
		}
	}
	return out
}

// from drops the days before the first one to be kept, and reports whether there were any.
func (d *Days) from(first int32) (changed bool) {
	kept := int64(d.newest) - int64(first) + 1 // days that may stay
	if d.empty() || kept >= maxDays {
		return false
	}
	if kept <= 0 {
		*d = Days{}
		return true
	}
	for i := range d.bits {
		mask := ^uint64(0)
		if left := kept - int64(i)*64; left < 64 {
			mask = 1<<max(left, 0) - 1
		}
		changed = changed || d.bits[i]&^mask != 0
		d.bits[i] &= mask
	}
	return changed
}

// Len is the number of days.
func (d *Days) Len() (n int) {
	for _, word := range d.bits {
		n += bits.OnesCount64(word)
	}
	return n
}

// All yields the days in order, each as its midnight UTC.
func (d *Days) All() iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		for back := int64(maxDays - 1); back >= 0; back-- {
			if d.bits[back/64]>>(back%64)&1 == 1 && !yield(time.Unix((int64(d.newest)-back)*int64(day/time.Second), 0).UTC()) {
				return
			}
		}
	}
}
