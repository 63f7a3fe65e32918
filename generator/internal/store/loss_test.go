// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
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

// TestWorstNode: a node that lost most of its flows is judged by the same days as all are, and by the file's.
func TestWorstNode(t *testing.T) {
	day := func(ago int) time.Time { return start.AddDate(0, 0, -ago) }
	well, bad := flows.NodeLoss{Node: "a", Flows: 1000}, flows.NodeLoss{Node: "a", Flows: 160, Lost: 840}
	for name, tt := range map[string]struct {
		counts map[int]flows.NodeLoss // by days ago
		want   flows.NodeLoss
	}{
		"none":                    {map[int]flows.NodeLoss{0: well, 1: well}, flows.NodeLoss{}},
		"today":                   {map[int]flows.NodeLoss{0: bad, 6: well}, bad},
		"within the week":         {map[int]flows.NodeLoss{0: well, 6: bad}, flows.NodeLoss{Node: "a", Flows: 1160, Lost: 840}},
		"a week ago":              {map[int]flows.NodeLoss{0: well, 7: bad}, flows.NodeLoss{}},
		"nothing since":           {map[int]flows.NodeLoss{20: bad}, bad},
		"too little to tell":      {map[int]flows.NodeLoss{0: {Node: "a", Lost: 99}}, flows.NodeLoss{}},
		"no node":                 {map[int]flows.NodeLoss{0: {Lost: 5000}}, flows.NodeLoss{}},
		"clocks that were wrong":  {map[int]flows.NodeLoss{-400: well, -300: well, -200: well, 0: bad}, bad},
		"of a year, by old files": {map[int]flows.NodeLoss{400: well, 0: bad}, bad},
	} {
		path := filepath.Join(t.TempDir(), "state")
		s := open(t, path, edge.DefaultLimits)
		for ago, l := range tt.counts {
			s.Count(day(ago), store.Tally{Flows: l.Flows, Lost: l.Lost}, []flows.NodeLoss{l})
		}
		if err := errors.Join(s.Commit(), s.Close()); err != nil {
			t.Fatal(err)
		}
		s = open(t, path, edge.DefaultLimits)
		if got := s.WorstNode(start); got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNodesAreBounded: more nodes than there are in a cluster are counted as one, and a clock that jumps does no harm.
func TestNodesAreBounded(t *testing.T) {
	s := open(t, "", edge.DefaultLimits)
	for n := range 10_000 {
		s.Count(start, store.Tally{}, []flows.NodeLoss{{Node: fmt.Sprint("node-", n), Lost: 1}})
	}
	if at := s.LostAt(start); len(at) != 8193 || at[0] != (flows.NodeLoss{Lost: 10_000 - 8192}) {
		t.Errorf("%d nodes, the first %+v", len(at), at[0])
	}
	for n := range 100 {
		s.Count(start.AddDate(n, 0, 0), store.Tally{}, []flows.NodeLoss{{Node: "a", Lost: 1000}})
	}
	s.Count(start, store.Tally{Flows: 1}, []flows.NodeLoss{{Node: "a", Lost: 1000}})
	if worst := s.WorstNode(start); worst.Node != "a" || worst.Lost != 1000 {
		t.Errorf("the worst node is %+v", worst)
	}
}

// TestEarlierFile: a file of before nodes were counted is opened.
func TestEarlierFile(t *testing.T) {
	path := written(t)
	today := start.Format(time.DateOnly)
	setMeta(t, path, `{"tally":{"flows":9,"lost":3},"days":{"`+today+`":{"flows":9,"lost":3,"malformed":0,"places":{"a":3}}},"positions":{}}`, nil)
	s := open(t, path, edge.DefaultLimits)
	if l := s.Loss(start); l.Lost != 3 || s.WorstNode(start) != (flows.NodeLoss{}) {
		t.Errorf("it says %+v, %+v", l, s.WorstNode(start))
	}
	s.Count(start, store.Tally{Lost: 200}, []flows.NodeLoss{{Node: "a", Lost: 200}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, edge.DefaultLimits)
	if worst := s.WorstNode(start); worst.Lost != 200 {
		t.Errorf("then it says %+v", worst)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, odd := range []string{`null`, `{"` + today + `":null}`, `{"` + today + `":{"a":null}}`} {
		setMeta(t, path, `{}`, []byte(odd))
		s := open(t, path, edge.DefaultLimits)
		s.Count(start, store.Tally{Lost: 1}, []flows.NodeLoss{{Node: "a", Lost: 100}})
		if worst := s.WorstNode(start); worst.Lost != 100 {
			t.Errorf("after %s it says %+v", odd, worst)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	setMeta(t, path, `{}`, []byte(`{"`))
	refused(t, path, "is damaged")
}

// setMeta writes what is beside the edges.
func setMeta(t *testing.T, path, meta string, nodes []byte) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("meta"))
		if nodes == nil {
			return b.Put([]byte("meta"), []byte(meta))
		}
		return errors.Join(b.Put([]byte("meta"), []byte(meta)), b.Put([]byte("nodes"), nodes))
	}), db.Close())
	if err != nil {
		t.Fatal(err)
	}
}

// TestLossIsBounded: days are bounded, and old days are forgotten with the edges.
func TestLossIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	s := open(t, path, edge.DefaultLimits)
	add(s, random(1, 10))
	for ago := range 1000 {
		day := start.AddDate(0, 0, ago-999)
		for n := range 50 {
			s.Count(day, store.Tally{Lost: 1}, []flows.NodeLoss{{Node: fmt.Sprint("node-", n), Lost: 1}})
		}
		s.Count(day, store.Tally{Lost: 10}, []flows.NodeLoss{{Node: "node-7", Lost: 10}})
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
	if len(at) != 50 || at[0] != (flows.NodeLoss{Node: "node-7", Lost: 7 * 11}) || at[1] != (flows.NodeLoss{Node: "node-0", Lost: 7}) {
		t.Errorf("%d nodes, the first %+v", len(at), at[:min(len(at), 2)])
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
