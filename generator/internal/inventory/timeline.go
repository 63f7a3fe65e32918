// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"cmp"
	"slices"
)

// segment says who had an address from a time on, until the next segment begins.
type segment struct {
	from  int64
	owner int // index of the tenant; nobody: it cannot be said
}

const nobody = -1

// owner is who had the address at all times from first to last, or nobody.
func owner(timeline []segment, first, last int64) int {
	i, _ := slices.BinarySearchFunc(timeline, first, func(s segment, at int64) int {
		if s.from <= at {
			return -1
		}
		return 1
	})
	if i == 0 || i < len(timeline) && timeline[i].from <= last {
		return nobody
	}
	return timeline[i-1].owner
}

// timeline decides for all times: an address is a pod's when the pod had it for certain and no other
// pod can have had it, clocks being apart by skew. It is never nil.
func timeline(tenants []*tenant) []segment {
	starts := startsOf(tenants)
	var events []event
	for i, t := range tenants {
		for _, s := range t.proofs {
			events = mark(events, i, s, true)
			events = mark(events, i, s, false)
		}
		for _, s := range t.seen {
			events = mark(events, i, s, false)
		}
		for _, l := range t.lives {
			certain, possible := t.stay(l, i, starts)
			events = mark(events, i, certain, true)
			events = mark(events, i, possible, false)
		}
	}
	slices.SortFunc(events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	return sweep(events, len(tenants))
}

// start is from when on a tenant had the address, or had it at some time soon after.
type start struct {
	at     int64
	tenant int
}

func startsOf(tenants []*tenant) []start {
	var starts []start
	for i, t := range tenants {
		for _, s := range slices.Concat(t.proofs, t.seen) {
			starts = append(starts, start{s.from, i})
		}
		for _, l := range t.lives {
			if l.sure != forever {
				starts = append(starts, start{l.sure, i})
			}
		}
	}
	slices.SortFunc(starts, func(a, b start) int { return cmp.Compare(a.at, b.at) })
	return starts
}

// stay is when the pod of an object had its address for certain, and when it can have had it. One that ran
// when the inventory was taken had it until then. After that it is unknown, unless nobody knows when that was:
// then a pod that nobody followed has it until today.
func (t *tenant) stay(l *life, self int, starts []start) (certain, possible span) {
	if l.until != forever {
		return span{l.sure, later(l.until, -tick)}, span{l.from, l.until}
	}
	last := l.from
	if l.sure != forever {
		last = l.sure
	}
	last = max(last, t.lastProof(l))
	if l.alive && l.taken != forever {
		last = max(last, l.taken)
	}
	next := follower(starts, self, last)
	switch {
	case !l.alive:
		return span{forever, never}, span{l.from, next}
	case next == forever && l.taken == forever:
		return span{l.sure, forever}, span{l.from, forever}
	}
	return span{l.sure, last}, span{l.from, next}
}

// lastProof is the last of the proofs that are not of a later pod of the same name; never: there is none.
func (t *tenant) lastProof(l *life) int64 {
	next := int64(forever)
	for _, o := range t.lives {
		if o.from > l.from {
			next = min(next, o.from)
		}
	}
	for _, p := range slices.Backward(t.proofs) {
		if p.until < next {
			return p.until
		}
	}
	return never
}

// follower is from when on the first other tenant after that time had the address; forever: none.
func follower(starts []start, self int, after int64) int64 {
	i, _ := slices.BinarySearchFunc(starts, after, func(s start, at int64) int {
		if s.at <= at {
			return -1
		}
		return 1
	})
	for ; i < len(starts); i++ {
		if starts[i].tenant != self {
			return starts[i].at
		}
	}
	return forever
}

// event is where an interval of a tenant begins or ends.
type event struct {
	at      int64
	tenant  int
	certain bool // the interval is of certainty, not of possibility
	delta   int  // +1 begins, -1 ends
}

// mark adds an interval: what is certain without the time that clocks may be apart, what is possible with it.
func mark(events []event, tenant int, s span, certain bool) []event {
	margin := skew
	if certain {
		margin = -skew
	}
	s = span{later(s.from, -margin), later(s.until, margin)}
	if s.from > s.until {
		return events
	}
	events = append(events, event{s.from, tenant, certain, 1})
	if s.until < forever {
		events = append(events, event{s.until + 1, tenant, certain, -1})
	}
	return events
}

func sweep(events []event, tenants int) []segment {
	certain, possible := make([]int, tenants), make([]int, tenants)
	candidates, sum := 0, 0 // tenants that can have the address now: how many, and the sum of their indices
	out := []segment{{never, nobody}}
	for i, e := range events {
		if e.certain {
			certain[e.tenant] += e.delta
		} else {
			before := possible[e.tenant] > 0
			possible[e.tenant] += e.delta
			if after := possible[e.tenant] > 0; after != before {
				candidates, sum = candidates+e.delta, sum+e.delta*e.tenant
			}
		}
		if i+1 < len(events) && events[i+1].at == e.at {
			continue
		}
		now := nobody
		if candidates == 1 && certain[sum] > 0 {
			now = sum
		}
		if out[len(out)-1].owner != now {
			out = append(out, segment{e.at, now})
		}
	}
	return out
}
