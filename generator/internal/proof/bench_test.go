// SPDX-License-Identifier: Apache-2.0

package proof_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proof"
	"github.com/bulkhead-dev/bulkhead/generator/internal/synth"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// The size that is asked for: 5,000 pods of 1,000 workloads in 50 namespaces, 100,000 connections.
const (
	namespaces = 50
	workloads  = 20 // a namespace
	replicas   = 5
	edges      = 100 // a workload opens
)

// large is a cluster and all its connections.
type large struct {
	inv         *inventory.Inventory
	sample      *inventory.Sample
	connections []evidence.Connection
}

func makeLarge(b *testing.B) *large {
	b.Helper()
	var (
		r       = rand.New(rand.NewPCG(1, 1))
		objects []runtime.Object
		ends    []edge.Endpoint
		all     []evidence.Connection
	)
	for i := range namespaces * workloads {
		e := edge.Endpoint{Kind: "Deployment", Namespace: fmt.Sprintf("ns-%02d", i/workloads), Name: fmt.Sprintf("w%02d", i%workloads)}
		ends = append(ends, e)
		objects = append(objects, deployment(e)...)
	}
	for _, from := range ends {
		seen := map[string]bool{}
		for n := 0; n < edges; {
			c := evidence.Connection{From: from, To: ends[r.IntN(len(ends))], Protocol: corev1.ProtocolTCP, Port: uint16(8000 + r.IntN(3))}
			if !seen[c.String()] {
				seen[c.String()] = true
				all = append(all, c)
				n++
			}
		}
	}
	inv := inventory.New(objects)
	return &large{inv, inv.Sample(), all}
}

func deployment(e edge.Endpoint) []runtime.Object {
	labels := map[string]string{"app.kubernetes.io/name": e.Name, "app.kubernetes.io/instance": e.Namespace}
	objects := []runtime.Object{&appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.Namespace, Name: e.Name},
		Spec:       appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}}},
	}}
	for i := range replicas {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: e.Namespace, Name: fmt.Sprintf("%s-%s-%d", e.Name, "5d4f", i), Labels: map[string]string{"pod-template-hash": "5d4f"}}}
		for k, v := range labels {
			p.Labels[k] = v
		}
		p.OwnerReferences = []metav1.OwnerReference{{Kind: "ReplicaSet", Name: e.Name + "-5d4f", Controller: new(true)}}
		objects = append(objects, p)
	}
	return objects
}

// prove does all that is done for a namespace.
func (l *large) prove(b *testing.B, namespace int) {
	dns := baseline.DefaultDNS()
	written, err := synth.Write(fmt.Sprintf("ns-%02d", namespace), baseline.BothDirections(), l.connections, l.inv, l.sample, dns, 0)
	if err != nil {
		b.Fatal(err)
	}
	_, report, err := proof.Reduce(written.All(), written.Connections, l.sample, dns)
	if err != nil || !report.Proven || report.Excess.Count+len(report.Excess.Future) > 0 || len(report.Rules) < edges {
		b.Fatalf("%+v, %v", report, err)
	}
}

// BenchmarkCluster writes and proves the policies of all namespaces, one after the other: at most 10 s.
func BenchmarkCluster(b *testing.B) {
	l := makeLarge(b)
	b.ReportAllocs()
	for b.Loop() {
		for i := range namespaces {
			l.prove(b, i)
		}
	}
}

// BenchmarkTogether proves the policies of all namespaces at once, as verify does.
func BenchmarkTogether(b *testing.B) {
	var policies []*networkingv1.NetworkPolicy
	l := makeLarge(b)
	for i := range namespaces {
		written, err := synth.Write(fmt.Sprintf("ns-%02d", i), baseline.BothDirections(), l.connections, l.inv, l.sample, baseline.DefaultDNS(), 0)
		if err != nil {
			b.Fatal(err)
		}
		policies = append(policies, written.All()...)
	}
	b.ReportAllocs()
	for b.Loop() {
		if r, err := proof.Prove(policies, l.connections, l.sample, baseline.DefaultDNS()); err != nil || !r.Proven {
			b.Fatal(err)
		}
	}
}

// BenchmarkWorkload writes and proves the policies of the one namespace in which a workload changed: at most 200 ms.
func BenchmarkWorkload(b *testing.B) {
	l := makeLarge(b)
	b.ReportAllocs()
	for b.Loop() {
		l.prove(b, 7)
	}
}

// BenchmarkSample makes the pods that stand for the cluster, which is done once.
func BenchmarkSample(b *testing.B) {
	l := makeLarge(b)
	for b.Loop() {
		l.inv.Sample()
	}
}
