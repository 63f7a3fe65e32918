// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
)

// BenchmarkFold adds observations of edges that are known already, in random order: of a namespace, and of
// a cluster with 5,000 workloads where few edges have most of the flows (Zipf), as is usual.
func BenchmarkFold(b *testing.B) {
	for _, size := range []struct{ workloads, edges int }{{100, 1000}, {5000, 100_000}} {
		b.Run(fmt.Sprintf("edges=%d", size.edges), func(b *testing.B) {
			keys := talk(size.workloads, size.edges)
			f := edge.NewSample(edge.DefaultLimits)
			r := rand.New(rand.NewPCG(1, 1))
			at := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
			popular := rand.NewZipf(r, 1.1, 1, uint64(len(keys)-1))
			order, input := r.Perm(len(keys)), make([]edge.Key, 1<<14)
			for i := range input {
				input[i] = keys[order[popular.Uint64()]]
			}
			add := func(keys []edge.Key) {
				for i, k := range keys {
					at = at.Add(time.Microsecond)
					if err := f.Add(k, edge.Observation{ID: r.Uint64(), Time: at, Node: nodes[i%3]}); err != nil {
						b.Fatal(err)
					}
				}
			}
			for range 40 { // more flows than are counted exactly
				add(keys)
			}
			b.ReportAllocs()
			before := cpuSeconds(b)
			for b.Loop() {
				add(input)
			}
			b.ReportMetric(float64(len(input))*float64(b.N)/(cpuSeconds(b)-before), "observations/core-s")
			b.ReportMetric(float64(len(input))*float64(b.N)/b.Elapsed().Seconds(), "observations/s")
		})
	}
}

// cpuSeconds is the time of all cores that the process has used, which other processes do not change.
func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

var nodes = []string{"node-a", "node-b", "node-c"}

// talk returns the keys of a cluster in which each workload talks to as many others.
func talk(workloads, edges int) []edge.Key {
	end := func(i int) edge.Endpoint {
		return edge.Endpoint{Kind: "Deployment", Namespace: fmt.Sprint("team-", i%50), Name: fmt.Sprint("workload-", i)}
	}
	ends := make([]edge.Endpoint, workloads)
	for i := range ends {
		ends[i] = end(i)
	}
	keys := make([]edge.Key, edges)
	for i := range keys {
		keys[i] = edge.Key{
			From: ends[i%workloads], To: ends[(i*7+i/workloads+1)%workloads], Protocol: "TCP",
			Port: uint16(8000 + i/workloads), Side: flows.Egress, Verdict: flows.Forwarded,
		}
	}
	return keys
}
