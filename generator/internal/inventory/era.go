// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"math"
	"slices"
	"time"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
)

const (
	// gap is the time without any flow that separates eras.
	gap = 24 * time.Hour
	// few is the part of all flows, as 1/few, below which an era is taken for the work of a wrong clock.
	few     = 20
	maxEras = 32
)

// era is a time with flows, and none for a gap before and after it. A clock that jumps makes an era of its
// own, with few flows: what they say of who talks to whom is right, and what they say of when is not.
type era struct {
	span
	flows uint64
	wrong bool // its times are of a wrong clock; known once all flows were read
	fold  *edge.Fold
	rest  *edge.Fold // what waits together
}

type eras struct {
	list    []*era
	limits  edge.Limits
	dropped uint64 // flows that did not fit: more than maxEras
}

// at returns the era of a time, which it makes longer or new; nil: there are too many.
func (e *eras) at(at int64) *era {
	var home *era
	for _, o := range e.list {
		if o.from <= at && at <= o.until {
			return o // the usual case; no other one is near
		}
	}
	for _, o := range slices.Clone(e.list) {
		switch {
		case at < later(o.from, -gap) || at > later(o.until, gap):
		case home == nil:
			home = o
			o.from, o.until = min(o.from, at), max(o.until, at)
		default: // the time closes the gap between two
			home.join(o)
			e.list = slices.DeleteFunc(e.list, func(x *era) bool { return x == o })
		}
	}
	if home == nil && len(e.list) < maxEras {
		home = &era{span: span{at, at}, fold: edge.NewSample(e.limits), rest: edge.NewSample(e.limits)}
		e.list = append(e.list, home)
	}
	return home
}

func (e *era) join(o *era) {
	e.from, e.until, e.flows = min(e.from, o.from), max(e.until, o.until), e.flows+o.flows
	_ = e.fold.Merge(o.fold) // a sample never fails
	_ = e.rest.Merge(o.rest)
}

// judge finds the eras of wrong clocks, and returns how many flows they have.
func (e *eras) judge() (misdated uint64) {
	var all uint64
	for _, o := range e.list {
		all += o.flows
	}
	for _, o := range e.list {
		if o.wrong = o.flows*few < all; o.wrong {
			misdated += o.flows
		}
	}
	return misdated + e.dropped
}

// merge makes one Fold of all eras. Edges of a wrong clock are of the nearest time of a right one.
func (e *eras) merge() *edge.Fold {
	var out *edge.Fold
	right := slices.DeleteFunc(slices.Clone(e.list), func(o *era) bool { return o.wrong })
	slices.SortFunc(right, func(a, b *era) int { return b.fold.Len() - a.fold.Len() }) // the smaller are copied
	for _, o := range right {
		if out == nil {
			out = o.fold
			continue
		}
		_ = out.Merge(o.fold) // a sample never fails
	}
	if out == nil {
		return edge.NewSample(e.limits) // there were no flows
	}
	for _, o := range e.list {
		if !o.wrong {
			continue
		}
		at := time.Unix(0, nearest(right, o.from)).UTC()
		for _, wrong := range o.fold.Edges() {
			wrong.Evidence = wrong.At(at)
			_ = out.Put(wrong.Key, &wrong)
		}
		for _, wrong := range o.fold.Overflows() {
			wrong.Evidence = wrong.At(at)
			out.PutOverflow(&wrong)
		}
	}
	return out
}

// nearest is the time within the eras that is nearest to another one.
func nearest(list []*era, at int64) int64 {
	best := list[0].from
	for _, o := range list {
		for _, t := range []int64{o.from, o.until} {
			if math.Abs(float64(t)-float64(at)) < math.Abs(float64(best)-float64(at)) {
				best = t
			}
		}
	}
	return best
}
