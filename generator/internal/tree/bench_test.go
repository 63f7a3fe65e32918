// SPDX-License-Identifier: Apache-2.0

package tree_test

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proof"
	"github.com/bulkhead-dev/bulkhead/generator/internal/synth"
	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
)

// BenchmarkRender writes a namespace of 20 workloads with 200 connections each, one of 50 like it.
func BenchmarkRender(b *testing.B) {
	const workloads, connections = 20, 200
	n, rules := &synth.Namespace{Name: "shop"}, []proof.Rule{}
	seen := &edge.Evidence{First: time.Unix(0, 0), Last: time.Unix(86_400, 0)}
	for w := range workloads {
		p := &networkingv1.NetworkPolicy{
			TypeMeta:   metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"},
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("service-%02d", w), Namespace: n.Name},
		}
		for c := range connections {
			peer, port := fmt.Sprintf("peer-%03d", (w+5*c)%1000), intstr.FromInt32(int32(8000+c%3))
			p.Spec.Ingress = append(p.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{
				From:  []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": peer}}}},
				Ports: []networkingv1.NetworkPolicyPort{{Port: &port}},
			})
			rules = append(rules, proof.Rule{Policy: p.Name, Path: fmt.Sprintf("spec.ingress[%d]", c), Connections: []evidence.Connection{{
				From:     edge.Endpoint{Kind: "Deployment", Namespace: n.Name, Name: peer},
				To:       edge.Endpoint{Kind: "Deployment", Namespace: n.Name, Name: p.Name},
				Protocol: corev1.ProtocolTCP, Port: uint16(port.IntVal), Evidence: seen,
			}}})
		}
		n.Policies = append(n.Policies, p)
	}
	r := &tree.Renderer{Cluster: "c"}
	b.ReportAllocs()
	for b.Loop() {
		if out, err := r.Render(n, rules, nil, nil); err != nil || len(out.Files) != workloads+3 {
			b.Fatal(err)
		}
	}
}
