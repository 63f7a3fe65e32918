// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"go.etcd.io/bbolt"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/store"
)

var (
	start  = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	narrow = edge.Limits{Internal: 40, External: 30, Scope: 12, Group: 5}
)

type observed struct {
	key edge.Key
	obs edge.Observation
}

// random makes observations in the order of time, of edges within the limits and beyond them.
func random(seed uint64, n int) []observed {
	r := rand.New(rand.NewPCG(seed, 1))
	var out []observed
	for i := range n {
		k := edge.Key{
			From:     edge.Endpoint{Kind: "Deployment", Namespace: "a", Name: fmt.Sprint("from", r.IntN(6))},
			To:       edge.Endpoint{Kind: "Deployment", Namespace: "b", Name: fmt.Sprint("to", r.IntN(3))},
			Protocol: "TCP", Port: uint16(80 + r.IntN(6)), Side: flows.Egress, Verdict: flows.Forwarded,
		}
		if r.IntN(2) == 0 {
			k.To = edge.Endpoint{Addr: netip.AddrFrom4([4]byte{203, 0, 113, byte(r.IntN(20))}), Entity: "world"}
		}
		out = append(out, observed{k, edge.Observation{
			ID: xxhash.Sum64String(fmt.Sprint(seed, i)), Time: start.Add(time.Duration(i) * time.Minute),
			Node: fmt.Sprint("node", r.IntN(20)), Name: []string{fmt.Sprint("name", r.IntN(100))},
		}})
	}
	return out
}

func open(t *testing.T, path string, limits edge.Limits) *store.Store {
	t.Helper()
	s, err := store.Open(path, store.Options{Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func add(s *store.Store, observations []observed) {
	for _, o := range observations {
		s.Add(o.key, o.obs)
		s.Reach("node", o.obs.Time)
	}
}

// contents are the entries of a closed file, in order.
func contents(t *testing.T, path string) (all string) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("edges")).ForEach(func(key, value []byte) error {
			all += fmt.Sprintf("%x %x\n", key, value)
			return nil
		})
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// settled opens and closes a file, so that everything in it is within the limits, and returns its entries.
func settled(t *testing.T, path string) string {
	t.Helper()
	s := open(t, path, narrow)
	s.Edges()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return contents(t, path)
}

// TestRestartsChangeNothing: whatever the order, what is read twice, and where it stops and starts again, the
// entries of the file are the same bytes.
func TestRestartsChangeNothing(t *testing.T) {
	all := random(1, 1500)
	reference := filepath.Join(t.TempDir(), "state")
	s := open(t, reference, narrow)
	add(s, all)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	want := settled(t, reference)
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 3))
		input := append(slices.Clone(all), all[:r.IntN(len(all))]...)
		r.Shuffle(len(input), func(i, j int) { input[i], input[j] = input[j], input[i] })
		path := filepath.Join(t.TempDir(), "state")
		for len(input) > 0 {
			n := min(len(input), 1+r.IntN(1000))
			s := open(t, path, narrow)
			add(s, input[:n/2])
			if r.IntN(2) == 0 {
				if err := s.Commit(); err != nil {
					t.Fatal(err)
				}
			}
			add(s, input[n/2:n])
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			input = input[n:]
		}
		if settled(t, path) != want {
			t.Fatalf("seed %d: the entries differ", seed)
		}
	}
}

// TestConcurrent: what is added while commits are under way is in one of them.
func TestConcurrent(t *testing.T) {
	all := random(1, 4000)
	reference, path := filepath.Join(t.TempDir(), "state"), filepath.Join(t.TempDir(), "state")
	s := open(t, reference, narrow)
	add(s, all)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, narrow)
	var adding, committing sync.WaitGroup
	for i := range 4 {
		adding.Go(func() { add(s, all[i*1000:(i+1)*1000]) })
	}
	done := make(chan struct{})
	for range 2 {
		committing.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := s.Commit(); err != nil {
					t.Error(err)
				}
				s.Edges()
				s.Stats()
			}
		})
	}
	adding.Wait()
	close(done)
	committing.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if settled(t, path) != settled(t, reference) {
		t.Error("the entries differ")
	}
}

func TestPositionsAndLossesAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	s := open(t, path, edge.DefaultLimits)
	if s.Found() || !s.Position("node").IsZero() {
		t.Error("a new file has edges, or a position")
	}
	all := random(1, 10)
	add(s, all)
	s.Reach("late", start.Add(time.Hour))
	s.Reach("late", start) // it is not read that far after all
	s.Count(start, store.Tally{Flows: 11, Lost: 3, Malformed: 4}, nil)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, edge.DefaultLimits)
	defer s.Close()
	if got := s.Position("node"); !got.Equal(all[9].obs.Time) || !s.Position("late").Equal(start) || s.Tally() != (store.Tally{Flows: 11, Lost: 3, Malformed: 4}) || !s.Found() {
		t.Errorf("position %v, tally %+v, found %v", got, s.Tally(), s.Found())
	}
}

func TestPositionsAreBounded(t *testing.T) {
	s := open(t, "", edge.DefaultLimits)
	for n := range 9000 {
		s.Reach(fmt.Sprint(n), start.Add(time.Duration(n)))
	}
	if s.Position("0") != (time.Time{}) || s.Position("8999").IsZero() {
		t.Error("the position that is furthest behind is kept, or the newest is not")
	}
}

func TestRetention(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	s := open(t, path, edge.Limits{})
	all := random(1, 3000)
	add(s, all)
	retention, now := 600*time.Minute, all[2999].obs.Time
	want := map[edge.Key]bool{}
	for _, o := range all[2999-600:] {
		want[o.key] = true
	}
	edges, _ := s.Edges()
	if n := s.Expire(now.Add(1000*time.Hour), retention); n != len(edges)-len(want) || n == 0 {
		t.Errorf("%d of %d edges are forgotten by a clock that is ahead of all evidence, want %d", n, len(edges), len(edges)-len(want))
	}
	if n := s.Expire(now, retention); n != 0 {
		t.Errorf("%d more are forgotten the second time", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, edge.Limits{})
	defer s.Close()
	edges, _ = s.Edges()
	if len(edges) != len(want) || s.Expire(start, retention) != 0 {
		t.Errorf("%d edges are in the file, want %d", len(edges), len(want))
	}
}

// TestFileIsBounded: a hundred thousand addresses leave as many entries as the limits say.
func TestFileIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	s := open(t, path, edge.DefaultLimits)
	web := edge.Endpoint{Kind: "Deployment", Namespace: "a", Name: "web"}
	for n := range 100_000 {
		k := edge.Key{From: edge.Endpoint{Addr: netip.AddrFrom4([4]byte{203, byte(n >> 16), byte(n >> 8), byte(n)})}, To: web, Protocol: "TCP", Port: 443}
		s.Add(k, edge.Observation{ID: xxhash.Sum64String(fmt.Sprint(n)), Time: start})
		if n%10_000 == 0 {
			if err := s.Commit(); err != nil {
				t.Fatal(err)
			}
		}
	}
	edges, overflows := s.Edges()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(contents(t, path), "\n"); n != len(edges)+1 || len(edges) != edge.DefaultLimits.Group || len(overflows) != 1 || info.Size() > 16<<20 {
		t.Errorf("%d edges, %d overflows, %d entries in %d MB", len(edges), len(overflows), n, info.Size()>>20)
	}
}

// metaSize is the size of what is kept beside the edges of a closed file, in bytes.
func metaSize(t *testing.T, path string) (size int) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.View(func(tx *bbolt.Tx) error {
		size = len(tx.Bucket([]byte("meta")).Get([]byte("meta")))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return size
}
