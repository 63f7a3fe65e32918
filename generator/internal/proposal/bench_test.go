// SPDX-License-Identifier: Apache-2.0

package proposal_test

import (
	"fmt"
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
	in := large(b, 100, 10, 300)
	for b.Loop() {
		p, err := proposal.Make(in)
		if err != nil || len(p.Namespaces) != 1 {
			b.Fatal(err)
		}
	}
}

func large(b *testing.B, workloads, peers, others int) proposal.Input {
	b.Helper()
	var objects []runtime.Object
	end := func(namespace string, i int) edge.Endpoint {
		return edge.Endpoint{Kind: "Deployment", Namespace: namespace, Name: fmt.Sprintf("w%03d", i)}
	}
	add := func(e edge.Endpoint) {
		labels := map[string]string{"app": e.Name}
		objects = append(objects, &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Namespace: e.Namespace, Name: e.Name},
			Spec:       appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}}},
		})
	}
	fold := edge.NewFold(edge.DefaultLimit)
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
