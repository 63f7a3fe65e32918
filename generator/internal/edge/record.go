// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"slices"
	"time"
)

// record is an edge in memory: 128 bytes, which are two lines of it, beside its count. All else it shares with others.
type record struct {
	from, to     *shared[Endpoint]
	class        *shared[class]
	port         uint16
	mark         mark
	span         span
	days         *shared[Days] // nil: none
	flows        Count
	nodes, names *shared[Set] // nil: none
	hash         uint64       // of the key: it decides whether the edge stays
}

func (r *record) key() Key { return r.trait().key() }

func (t *trait) key() Key {
	c := &t.class.value
	return Key{From: t.from.value, To: t.to.value, Protocol: c.protocol, Port: t.port, Side: c.side, Verdict: c.verdict}
}

// trait is what a record is found by.
type trait struct {
	from, to *shared[Endpoint]
	class    *shared[class]
	port     uint16
}

func (t *trait) of(r *record) bool {
	return r.from == t.from && r.to == t.to && r.port == t.port && r.class == t.class
}

// hash is of random hashes.
func (t *trait) hash() uint64 {
	return mix(t.from.hash*3 + t.to.hash ^ t.class.hash<<16 ^ uint64(t.port))
}

func (r *record) trait() *trait { return &trait{r.from, r.to, r.class, r.port} }

// evidence is what is known of the edge. The count is shared with the record.
func (r *record) evidence() Evidence {
	e := Evidence{Flows: r.flows}
	e.First, e.Last = r.span.times()
	if r.days != nil {
		e.Days = r.days.value
	}
	e.Nodes, e.Names = words(r.nodes), words(r.names)
	return e
}

func words(s *shared[Set]) Set {
	if s == nil {
		return nil
	}
	return s.value
}

// find returns the record of a key; nil: there is none.
func (f *Fold) find(k *Key) *record {
	var t trait
	if !f.trait(k, &t) {
		return nil
	}
	return f.records.find(t.hash(), t.of)
}

// trait reports whether each part of the key is known, of this edge or others.
func (f *Fold) trait(k *Key, t *trait) bool {
	t.from, t.to, t.port = f.ends.find(&k.From), f.ends.find(&k.To), k.Port
	t.class = f.findClass(&class{k.Protocol, k.Side, k.Verdict})
	return t.from != nil && t.to != nil && t.class != nil
}

// record adds a record for a key that has none.
func (f *Fold) record(k Key, hash uint64) *record {
	r := &record{
		from: f.ends.take(k.From), to: f.ends.take(k.To), class: f.takeClass(class{k.Protocol, k.Side, k.Verdict}),
		port: k.Port, hash: hash,
	}
	f.records.add(r.trait().hash(), r)
	return r
}

// remove takes a record out.
func (f *Fold) remove(r *record) {
	f.forget(r)
	f.kindOf(r).count--
	f.records.remove(r.trait().hash(), r)
	f.ends.release(r.from)
	f.ends.release(r.to)
	f.classes.release(r.class)
	f.days.release(r.days)
	f.sets.release(r.nodes)
	f.sets.release(r.names)
}

// observe reports whether the observation says anything new of the edge.
func (f *Fold) observe(r *record, o *Observation) bool {
	changed := r.flows.Add(o.ID)
	return f.seenAt(r, o) || changed
}

// seenAt is observe without the count of flows.
func (f *Fold) seenAt(r *record, o *Observation) bool {
	changed := r.span.cover(spanOf(o.Time, o.Time))
	changed = f.seenOn(r, dayOf(o.Time)) || changed
	changed = f.seen(&r.nodes, o.Node) || changed
	for _, n := range o.Name {
		changed = f.seen(&r.names, n) || changed
	}
	return changed
}

func (f *Fold) seenOn(r *record, day int32) bool {
	var days Days
	if r.days != nil {
		days = r.days.value
	}
	if days.has(day) || !days.add(day) {
		return false
	}
	f.setDays(&r.days, days)
	return true
}

func (f *Fold) seen(in **shared[Set], word string) bool {
	set := words(*in)
	if slices.Contains(set, word) || !set.Add(bounded(word)) {
		return false
	}
	f.setWords(in, set)
	return true
}

// merge adds evidence to an edge.
func (f *Fold) merge(r *record, e *Evidence) {
	both := r.evidence()
	both.merge(e)
	f.set(r, &both)
}

// set makes the evidence of an edge this; its count is shared then.
func (f *Fold) set(r *record, e *Evidence) {
	r.flows = e.Flows
	r.span = spanOf(e.First, e.Last)
	f.setDays(&r.days, e.Days)
	f.setWords(&r.nodes, e.Nodes)
	f.setWords(&r.names, e.Names)
}

// span is a first and a last time, in seconds and nanoseconds since that of the zero time.Time, which is no time.
type span struct {
	first, last           int64
	firstNanos, lastNanos int32
}

// zeroTime is that of a time.Time, in seconds since 1970.
const zeroTime = -62135596800

func spanOf(first, last time.Time) span {
	return span{first.Unix() - zeroTime, last.Unix() - zeroTime, int32(first.Nanosecond()), int32(last.Nanosecond())}
}

func (s *span) times() (first, last time.Time) {
	return time.Unix(s.first+zeroTime, int64(s.firstNanos)).UTC(), time.Unix(s.last+zeroTime, int64(s.lastNanos)).UTC()
}

// cover reports whether that changed anything.
func (s *span) cover(o span) (changed bool) {
	if o.last > s.last || o.last == s.last && o.lastNanos > s.lastNanos {
		s.last, s.lastNanos, changed = o.last, o.lastNanos, true
	}
	none := s.first == 0 && s.firstNanos == 0
	if none || o.first < s.first || o.first == s.first && o.firstNanos < s.firstNanos {
		s.first, s.firstNanos, changed = o.first, o.firstNanos, true
	}
	return changed
}
