// SPDX-License-Identifier: Apache-2.0

package synth_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/synth"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

func deployment(namespace, name string) runtime.Object {
	app := map[string]string{"app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: app}, Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: app}}},
	}
}

func connection(from, to edge.Endpoint, protocol corev1.Protocol, port uint16) evidence.Connection {
	return evidence.Connection{From: from, To: to, Protocol: protocol, Port: port}
}

// TestDirections: only the governed sides of the namespace's own workloads are written, whatever its peers govern.
func TestDirections(t *testing.T) {
	of := func(namespace, name string) edge.Endpoint {
		return edge.Endpoint{Kind: "Deployment", Namespace: namespace, Name: name}
	}
	web, api, db, dns, bank := of("shop", "web"), of("shop", "api"), of("data", "bulkhead-default-deny-ingress"), of("kube-system", "kube-dns"), edge.Endpoint{Addr: netip.MustParseAddr("203.0.113.7")}
	resolver := deployment("kube-system", "kube-dns").(*appsv1.Deployment)
	resolver.Spec.Template.Labels = map[string]string{"app": "kube-dns", "k8s-app": "kube-dns"}
	inv := inventory.New([]runtime.Object{deployment("shop", "web"), deployment("shop", "api"), deployment("data", db.Name), resolver})
	all := []evidence.Connection{
		connection(web, api, "TCP", 80), connection(api, db, "TCP", 5432), connection(db, api, "TCP", 81), connection(api, bank, "TCP", 443), connection(web, dns, "UDP", 53),
	}
	ingress, egress := baseline.Directions{Ingress: true}, baseline.Directions{Egress: true}
	for _, tt := range []struct {
		namespace   string
		governed    baseline.Directions
		connections int
		want        string // name, rules of ingress and egress, types of each policy
	}{
		{"shop", baseline.BothDirections(), 5, "bulkhead-default-deny 0 0 [Ingress Egress]; bulkhead-allow-dns 0 1 [Egress]; api 2 2 [Ingress Egress]; web 0 1 [Egress]"},
		{"shop", ingress, 2, "bulkhead-default-deny-ingress 0 0 [Ingress]; api 2 0 [Ingress]"},
		{"shop", egress, 4, "bulkhead-default-deny-egress 0 0 [Egress]; bulkhead-allow-dns 0 1 [Egress]; api 0 2 [Egress]; web 0 1 [Egress]"},
		{"data", ingress, 1, "bulkhead-default-deny-ingress 0 0 [Ingress]; bulkhead-default-deny-ingress-deployment 1 0 [Ingress]"},
		{"data", egress, 1, "bulkhead-default-deny-egress 0 0 [Egress]; bulkhead-allow-dns 0 1 [Egress]; bulkhead-default-deny-ingress-deployment 0 1 [Egress]"},
	} {
		n, err := synth.Write(tt.namespace, tt.governed, all, inv, inv.Sample(), baseline.DefaultDNS(), 0)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range n.All() {
			got = append(got, fmt.Sprint(p.Name, " ", len(p.Spec.Ingress), " ", len(p.Spec.Egress), " ", p.Spec.PolicyTypes))
		}
		if strings.Join(got, "; ") != tt.want || len(n.Connections) != tt.connections {
			t.Errorf("%s, %v: %d connections\ngot  %s\nwant %s", tt.namespace, tt.governed, len(n.Connections), strings.Join(got, "; "), tt.want)
		}
	}
}
