// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
)

// BenchmarkReadAndFold is the whole way from JSON lines to edges on one core, with the inventory's
// attribution. Every flow has its own uuid.
func BenchmarkReadAndFold(b *testing.B) {
	const dir = "../proposal/testdata/three-tier/"
	inv, err := inventory.FromDir(dir + "inventory")
	if err != nil {
		b.Fatal(err)
	}
	once, err := os.ReadFile(dir + "flows.jsonl")
	if err != nil {
		b.Fatal(err)
	}
	var input bytes.Buffer
	const times = 300
	for i := range times {
		input.Write(bytes.ReplaceAll(once, []byte(`"uuid":"00000000`), fmt.Appendf(nil, `"uuid":"%08d`, i)))
	}
	flowCount := uint64(0)
	b.SetBytes(int64(input.Len()))
	for b.Loop() {
		attribution := inv.Attribute(edge.DefaultLimits)
		stats, err := flows.Read(bytes.NewReader(input.Bytes()), "flows", 0, attribution.Add)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := attribution.Settle(); err != nil {
			b.Fatal(err)
		}
		flowCount += stats.Flows
	}
	b.ReportMetric(float64(flowCount)/b.Elapsed().Seconds(), "flows/s")
}

// BenchmarkAttribution gives records of 5,000 pods and 100,000 connections to an Attribution, with the fold that it makes.
func BenchmarkAttribution(b *testing.B) {
	const pods, replicas = 5000, 5
	var (
		objects []runtime.Object
		ends    [pods][2]flows.Endpoint // as its own node names it, and as others do
	)
	for i := range pods {
		name := fmt.Sprintf("service-%d", i/replicas)
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Namespace: fmt.Sprintf("ns-%d", i/100), Name: fmt.Sprintf("%s-%05x", name, i),
			OwnerReferences: []metav1.OwnerReference{{Kind: "StatefulSet", Name: name, Controller: new(true)}},
		}}
		p.Status.PodIP = fmt.Sprintf("10.1.%d.%d", i/250, i%250)
		objects = append(objects, p)
		e := flows.Endpoint{Addr: netip.MustParseAddr(p.Status.PodIP), Namespace: p.Namespace, Pod: p.Name}
		ends[i][1] = e
		e.Kind, e.Workload = "StatefulSet", name
		ends[i][0] = e
	}
	a := inventory.New(objects).Attribute(edge.DefaultLimits)
	r := flows.Record{Oriented: true, Side: flows.Egress, Verdict: flows.Forwarded, Protocol: "TCP", DestinationPort: 8000, Time: hour}
	add := func() {
		r.ID += 0x9e3779b97f4a7c15
		from := int(r.ID>>32) % pods
		to := (from/replicas*7 + int(r.ID>>20)%100*50 + from%replicas) % pods
		r.Time = r.Time.Add(20 * time.Millisecond)
		r.Source, r.Destination = ends[from][0], ends[to][1]
		if err := a.Add(&r); err != nil {
			b.Fatal(err)
		}
	}
	for range 1_000_000 {
		add() // the edges are known when the time begins
	}
	b.ReportAllocs()
	for b.Loop() {
		add()
	}
}
