// SPDX-License-Identifier: Apache-2.0

package store

import (
	"maps"
	"slices"
	"time"

	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
)

const (
	// recent is the number of days by which it is judged how much is missing, the newest one included: what happens
	// regularly was seen on one of them, or was missed.
	recent = 7
	// latest is the same for what is new. Of a day that has just begun there is little to judge by.
	latest  = 2
	maxDays = 448 // that are kept; more than any retention
)

// Tally counts flows. What is read twice after a crash is counted twice here.
type Tally struct {
	Flows     uint64 `json:"flows"`     // that were added
	Lost      uint64 `json:"lost"`      // by observers
	Malformed uint64 `json:"malformed"` // that could not be read
}

func (t *Tally) add(o Tally) {
	t.Flows, t.Lost, t.Malformed = t.Flows+o.Flows, t.Lost+o.Lost, t.Malformed+o.Malformed
}

// share is the part of all flows that is missing, from 0 to 1.
func (t Tally) share() float64 { return flows.Share(t.Lost+t.Malformed, t.Flows) }

// tallies are Tallies by day (UTC), as "2026-11-22".
type tallies map[string]*Tally

func dayOf(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// on returns the tally of a day, which is made if there is none. The oldest days make room.
func (d tallies) on(now time.Time) *Tally {
	day := dayOf(now)
	if d[day] == nil {
		d[day] = &Tally{}
		for len(d) > maxDays {
			delete(d, slices.Min(slices.Collect(maps.Keys(d))))
		}
	}
	return d[day]
}

// Loss is how many flows there were and how many are missing: within the last seven days, or the last two if these
// are worse. So a bad day is forgotten when regular connections were seen since, and a good week does not hide it.
// The days are counted back from the last one on which anything was counted.
func (s *Store) Loss(now time.Time) Tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	week, days := s.window(now, recent), s.window(now, latest)
	if days.share() > week.share() {
		return days
	}
	return week
}

func (s *Store) window(now time.Time, days int) (sum Tally) {
	for day := range s.days(now, days) {
		sum.add(*s.meta.Days[day])
	}
	return sum
}

// days are those that a window has something of.
func (s *Store) days(now time.Time, days int) map[string]bool {
	newest := ""
	for day := range s.meta.Days {
		if day <= dayOf(now) { // the others are of a clock that was wrong
			newest = max(newest, day)
		}
	}
	last, err := time.Parse(time.DateOnly, newest)
	if err != nil {
		return nil // there are none
	}
	found := map[string]bool{}
	for n := range days {
		if day := dayOf(last.AddDate(0, 0, -n)); s.meta.Days[day] != nil {
			found[day] = true
		}
	}
	return found
}

// Count adds to the tally of a day. nodes are what of it each node reported and lost, as far as it is known; nil: it is not.
func (s *Store) Count(now time.Time, t Tally, nodes []flows.NodeLoss) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if day := now.Unix() / (24 * 60 * 60); s.today == nil || day != s.day {
		s.today, s.day = s.meta.Days.on(now), day
		s.nodes.on(now)
	}
	s.meta.Tally.add(t)
	s.today.add(t)
	for _, n := range nodes {
		s.nodes.add(n)
	}
}

// Tally is how many flows were added and missed since the file was made.
func (s *Store) Tally() Tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.meta.Tally
}
