// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

const (
	// recent is the number of days by which it is judged how much is missing, the newest one included: what happens
	// regularly was seen on one of them, or was missed.
	recent = 7
	// latest is the same for what is new. Of a day that has just begun there is little to judge by.
	latest  = 2
	maxDays = 448 // that are kept; more than any retention
	// maxPlaces bounds the places of one day. Further ones are counted as one without a name.
	maxPlaces = 32
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
func (t Tally) share() float64 {
	missing := t.Lost + t.Malformed
	return float64(missing) / max(1, float64(missing+t.Flows))
}

// tallies are Tallies by day (UTC), as "2026-11-22".
type tallies map[string]*dayTally

type dayTally struct {
	Tally
	// Places are where flows were lost, the newest days only; with an empty name: further ones, or not known.
	Places map[string]uint64 `json:"places,omitempty"`
}

func dayOf(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// on returns the tally of a day, which is made if there is none. The oldest days make room.
func (d tallies) on(now time.Time) *dayTally {
	day := dayOf(now)
	if d[day] == nil {
		d[day] = &dayTally{}
		for old, t := range d {
			if old < dayOf(now.AddDate(0, 0, -recent)) {
				t.Places = nil
			}
		}
		for len(d) > maxDays {
			delete(d, slices.Min(slices.Collect(maps.Keys(d))))
		}
	}
	return d[day]
}

func (d *dayTally) lose(place string, n uint64) {
	if d.Places == nil {
		d.Places = map[string]uint64{}
	}
	if _, known := d.Places[place]; !known && len(d.Places) >= maxPlaces {
		place = ""
	}
	d.Places[place] += n
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
		sum.add(s.meta.Days[day].Tally)
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

// PlaceLoss is how many flows were lost in one place. Its name is empty where it is not known.
type PlaceLoss struct {
	Place string
	Lost  uint64
}

// LostAt says where flows were lost within the last seven days, the worst place first.
func (s *Store) LostAt(now time.Time) []PlaceLoss {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := map[string]uint64{}
	for day := range s.days(now, recent) {
		for place, n := range s.meta.Days[day].Places {
			sum[place] += n
		}
	}
	var out []PlaceLoss
	for place, n := range sum {
		out = append(out, PlaceLoss{place, n})
	}
	slices.SortFunc(out, func(a, b PlaceLoss) int {
		return cmp.Or(cmp.Compare(b.Lost, a.Lost), cmp.Compare(a.Place, b.Place))
	})
	return out
}

// Count adds to the tally of a day. places are where the lost ones were lost, as far as it is known; nil: it is not.
func (s *Store) Count(now time.Time, t Tally, places []PlaceLoss) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if day := now.Unix() / (24 * 60 * 60); s.today == nil || day != s.day {
		s.today, s.day = s.meta.Days.on(now), day
	}
	s.meta.Tally.add(t)
	s.today.add(t)
	for _, p := range places {
		s.today.lose(p.Place, p.Lost)
	}
}

// Tally is how many flows were added and missed since the file was made.
func (s *Store) Tally() Tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.meta.Tally
}
