// SPDX-License-Identifier: Apache-2.0

package proposal_test

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proposal"
)

// BenchmarkMake writes and proves the policies of one namespace of 100 workloads, each of which talks
// to ten others; the cluster has 300 more.
func BenchmarkMake(b *testing.B) {
	benchmark(b, large(b, 100, 10, 300), 1)
}

// BenchmarkCluster does so for a cluster: 100,000 edges of 1,000 workloads in 50 namespaces. At most 10 s on two cores.
func BenchmarkCluster(b *testing.B) { benchmark(b, cluster(b), namespaces) }

// BenchmarkWorkload does so for the one namespace of that cluster in which a workload changed, from its edges to its
// files. At most 200 ms.
func BenchmarkWorkload(b *testing.B) {
	in := cluster(b)
	in.Namespaces = []string{"ns-07"}
	benchmark(b, in, 1)
}

// benchmark lets go of namespaces as soon as they are made.
func benchmark(b *testing.B, in proposal.Input, want int) {
	in.Take = func(*proposal.Namespace) error { return nil }
	before := cpuSeconds(b)
	b.ReportAllocs()
	for b.Loop() {
		p, err := proposal.Make(in)
		if err != nil || len(p.Names) != want || len(p.Failed) > 0 {
			b.Fatal(err, p)
		}
	}
	b.ReportMetric((cpuSeconds(b)-before)/float64(b.N), "cpu-s/op")
}

// cpuSeconds is the time of all cores that the process has used, which other processes do not change.
func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

const namespaces = 50

// cluster has 1,000 workloads that open 100 connections each. An edge is seen at one end, often.
func cluster(b *testing.B) proposal.Input {
	b.Helper()
	const workloads, opens, seen = 1000, 100, 40
	r := rand.New(rand.NewPCG(1, 1))
	var (
		objects []runtime.Object
		ends    []edge.Endpoint
	)
	for i := range workloads {
		e := edge.Endpoint{Kind: "Deployment", Namespace: fmt.Sprintf("ns-%02d", i%namespaces), Name: fmt.Sprintf("w%03d", i)}
		ends, objects = append(ends, e), append(objects, deployment(e))
	}
	fold := edge.NewFold(1 << 20)
	for i := range workloads * opens {
		k := edge.Key{
			From: ends[i%workloads], To: ends[r.IntN(workloads)], Protocol: "TCP", Port: uint16(8000 + i/workloads),
			Side: flows.Egress, Verdict: flows.Forwarded,
		}
		for n := range seen {
			if err := fold.Add(k, edge.Observation{ID: r.Uint64(), Time: time.Unix(int64(n)*3600, 0), Node: "node"}); err != nil {
				b.Fatal(err)
			}
		}
	}
	return proposal.Input{Cluster: "c", Edges: fold.Edges(), Inventory: inventory.New(objects)}
}

func deployment(e edge.Endpoint) runtime.Object {
	labels := map[string]string{"app": e.Name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.Namespace, Name: e.Name},
		Spec:       appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}}},
	}
}

func large(b *testing.B, workloads, peers, others int) proposal.Input {
	b.Helper()
	var objects []runtime.Object
	end := func(namespace string, i int) edge.Endpoint {
		return edge.Endpoint{Kind: "Deployment", Namespace: namespace, Name: fmt.Sprintf("w%03d", i)}
	}
	add := func(e edge.Endpoint) { objects = append(objects, deployment(e)) }
	fold := edge.NewFold(1 << 20)
	for i := range workloads {
		add(end("shop", i))
		for j := range peers {
			k := edge.Key{From: end("shop", i), To: end("shop", (i+j*7+1)%workloads), Protocol: "TCP", Port: uint16(8000 + j), Side: flows.Egress, Verdict: flows.Forwarded}
			if err := fold.Add(k, edge.Observation{ID: uint64(i*peers + j), Time: time.Unix(1, 0)}); err != nil {
				b.Fatal(err)
			}
		}
	}
	for i := range others {
		add(end("other", i))
	}
	return proposal.Input{Cluster: "c", Edges: fold.Edges(), Inventory: inventory.New(objects)}
}
