// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"slices"
	"time"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
)

const (
	// gap is the time without any flow that separates eras.
	gap = 24 * time.Hour
	// minor is the part of all flows, as 1/minor, below which an era is taken for the work of a wrong clock.
	minor   = 20
	maxEras = 32
)

// era is a time with flows, and none for a gap before and after it. A clock that jumps makes an era of its
// own, with few flows: they are left out and counted, because what they say of when is wrong.
type era struct {
	span
	flows uint64
	fold  *edge.Fold
	rest  *edge.Fold // what waits together
}

type eras struct {
	list    []*era
	limit   int    // of edges
	dropped uint64 // flows that did not fit: more than maxEras
}

// at returns the era of a time, which it makes longer or new; nil: there are too many.
func (e *eras) at(at int64) (*era, error) {
	var home *era
	for _, o := range e.list {
		if o.from <= at && at <= o.until {
			return o, nil // the usual case; no other one is near
		}
	}
	for _, o := range slices.Clone(e.list) {
		switch {
		case at < later(o.from, -gap) || at > later(o.until, gap):
		case home == nil:
			home = o
			o.from, o.until = min(o.from, at), max(o.until, at)
		default: // the time closes the gap between two
			if err := home.join(o); err != nil {
				return nil, err
			}
			e.list = slices.DeleteFunc(e.list, func(x *era) bool { return x == o })
		}
	}
	if home == nil && len(e.list) < maxEras {
		home = &era{span: span{at, at}, fold: edge.NewFold(e.limit), rest: edge.NewFold(e.limit)}
		e.list = append(e.list, home)
	}
	return home, nil
}

func (e *era) join(o *era) error {
	e.from, e.until, e.flows = min(e.from, o.from), max(e.until, o.until), e.flows+o.flows
	if err := e.fold.Merge(o.fold); err != nil {
		return err
	}
	return e.rest.Merge(o.rest)
}

// main merges the eras that are not minor, and returns how many flows the others have.
func (e *eras) main() (fold *edge.Fold, misdated uint64, err error) {
	var all uint64
	for _, o := range e.list {
		all += o.flows
	}
	slices.SortFunc(e.list, func(a, b *era) int { return b.fold.Len() - a.fold.Len() })
	misdated = e.dropped
	for _, o := range e.list {
		switch {
		case o.flows*minor < all:
			misdated += o.flows
		case fold == nil:
			fold = o.fold
		default:
			if err := fold.Merge(o.fold); err != nil {
				return nil, 0, err
			}
		}
	}
	if fold == nil {
		fold = edge.NewFold(e.limit)
	}
	return fold, misdated, nil
}
