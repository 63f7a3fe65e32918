// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/store"
)

// TestLoss: what is missing is judged by the last days on which anything was counted.
func TestLoss(t *testing.T) {
	const year = 365
	good, bad := store.Tally{Flows: 1000}, store.Tally{Flows: 160, Lost: 840}
	for name, tt := range map[string]struct {
		bad   map[int]store.Tally // by days ago; the other days of a year are good
		later int                 // days without any flow since
		want  float64             // per cent
	}{
		"a good year":                           {nil, 0, 0},
		"today":                                 {map[int]store.Tally{0: bad}, 0, 42},
		"an hour of today":                      {map[int]store.Tally{0: {Flows: 1000, Lost: 42}}, 0, 2.1},
		"two days":                              {map[int]store.Tally{0: bad, 1: bad}, 0, 84},
		"lines that cannot be read":             {map[int]store.Tally{0: {Flows: 1000, Malformed: 1000}}, 0, 33.3},
		"six days ago":                          {map[int]store.Tally{6: bad}, 0, 12},
		"eight days ago":                        {map[int]store.Tally{8: bad}, 0, 0},
		"the last days, then nothing for weeks": {map[int]store.Tally{0: bad, 1: bad}, 30, 84},
	} {
		path := filepath.Join(t.TempDir(), "state")
		s := open(t, path, edge.DefaultLimits)
		for ago := range year {
			day, counted := start.AddDate(0, 0, -ago), good
			if b, is := tt.bad[ago]; is {
				counted = b
			}
			s.Count(day, counted, nil)
		}
		s.Count(start.AddDate(1, 0, 0), bad, nil) // by a clock that is wrong
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, path, edge.DefaultLimits)
		l := s.Loss(start.AddDate(0, 0, tt.later))
		got := 100 * float64(l.Lost+l.Malformed) / float64(l.Flows+l.Lost+l.Malformed)
		if diff := got - tt.want; diff > 0.1 || diff < -0.1 {
			t.Errorf("%s: %.1f %% is missing (%+v), want %.1f %%", name, got, l, tt.want)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if l := open(t, "", edge.DefaultLimits).Loss(start); l != (store.Tally{}) {
		t.Errorf("of nothing: %+v", l)
	}
}

// TestLossIsBounded: days and places are bounded, and old days are forgotten with the edges.
func TestLossIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	s := open(t, path, edge.DefaultLimits)
	add(s, random(1, 10))
	for ago := range 1000 {
		day := start.AddDate(0, 0, ago-999)
		for n := range 50 {
			s.Count(day, store.Tally{Lost: 1}, []store.PlaceLoss{{Place: fmt.Sprint("node-", n), Lost: 1}})
		}
		s.Count(day, store.Tally{Lost: 10}, []store.PlaceLoss{{Place: "node-7", Lost: 10}})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if size := metaSize(t, path); size > 64<<10 {
		t.Errorf("the tallies take %d bytes", size)
	}
	s = open(t, path, edge.DefaultLimits)
	defer s.Close()
	at := s.LostAt(start)
	if len(at) != 33 || at[0] != (store.PlaceLoss{Place: "", Lost: 7 * 18}) || at[1] != (store.PlaceLoss{Place: "node-7", Lost: 7 * 11}) {
		t.Errorf("%d places, the first %+v", len(at), at[:min(len(at), 2)])
	}
	s.Expire(start.Add(time.Hour), 3*24*time.Hour)
	if l := s.Loss(start); l.Lost != 4*60 {
		t.Errorf("after old days were forgotten: %+v", l)
	}
	s.Count(start, store.Tally{Lost: 1}, nil)
	if l := s.Loss(start); l.Lost != 4*60+1 || s.Tally().Lost != 60_001 {
		t.Errorf("then %+v, %+v in all", l, s.Tally())
	}
}
