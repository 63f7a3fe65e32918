// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/store"
)

const benchEdges = 100_000

// BenchmarkCommit writes 100,000 edges with the largest counts that all changed, to a file that has them.
func BenchmarkCommit(b *testing.B) {
	s, _ := filled(b)
	for b.Loop() {
		b.StopTimer()
		see(s, 1)
		b.StartTimer()
		if err := s.Commit(); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkOpen reads, checks and folds them again.
func BenchmarkOpen(b *testing.B) {
	s, path := filled(b)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s, err := store.Open(path, store.Options{Limits: edge.DefaultLimits})
		if err != nil || s.Stats().Edges != benchEdges {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(info.Size())/(1<<20), "MB")
}

func filled(b *testing.B) (*store.Store, string) {
	b.Helper()
	path := filepath.Join(b.TempDir(), "state")
	s, err := store.Open(path, store.Options{Limits: edge.DefaultLimits})
	if err != nil {
		b.Fatal(err)
	}
	see(s, 40)
	if err := s.Commit(); err != nil {
		b.Fatal(err)
	}
	return s, path
}

var (
	observations uint64
	nodeNames    = []string{"node-a", "node-b", "node-c"}
)

// see adds so many flows to each edge of 5,000 workloads.
func see(s *store.Store, times int) {
	for i := range benchEdges {
		k := edge.Key{
			From:     edge.Endpoint{Kind: "Deployment", Namespace: fmt.Sprint("team-", i%50), Name: fmt.Sprint("workload-", i%5000)},
			To:       edge.Endpoint{Kind: "Deployment", Namespace: "shared", Name: fmt.Sprint("server-", i/5000)},
			Protocol: "TCP", Port: 8080, Side: flows.Egress, Verdict: flows.Forwarded,
		}
		for n := range times {
			observations++
			s.Add(k, edge.Observation{ID: observations, Time: start.Add(time.Duration(observations) * time.Millisecond), Node: nodeNames[n%3]})
		}
	}
}
