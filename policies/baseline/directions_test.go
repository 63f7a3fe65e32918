// SPDX-License-Identifier: Apache-2.0

package baseline

import (
	"fmt"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

var (
	ingress = Directions{Ingress: true}
	egress  = Directions{Egress: true}
)

func TestParseDirections(t *testing.T) {
	for words, want := range map[string]Directions{"": {}, "ingress": ingress, "Egress": egress, "egress ingress": BothDirections(), "ingress ingress": ingress} {
		if got, err := ParseDirections(strings.Fields(words)); got != want || err != nil {
			t.Errorf("%q: %v, %v", words, got, err)
		}
	}
	if _, err := ParseDirections([]string{"ingress", "both"}); err == nil || !strings.Contains(err.Error(), `"both"`) {
		t.Errorf("both: %v", err)
	}
	if got := fmt.Sprint(BothDirections().Words(), egress.Words(), Directions{}.Words(), ingress.Missing(), BothDirections().Missing()); got != "[ingress egress] [egress] [] [Egress] []" {
		t.Error(got)
	}
}

func TestIsolate(t *testing.T) {
	for d, want := range map[Directions]string{
		BothDirections(): "bulkhead-default-deny onboarding [Ingress Egress]",
		ingress:          "bulkhead-default-deny-ingress gitops [Ingress]",
		egress:           "bulkhead-default-deny-egress gitops [Egress]",
	} {
		p := Isolate("shop", d)
		if got := fmt.Sprint(p.Name, " ", p.Labels[LabelManagedBy], " ", p.Spec.PolicyTypes); got != want || p.Namespace != "shop" {
			t.Errorf("got %s, want %s", got, want)
		}
		if got := Governed([]*networkingv1.NetworkPolicy{p}); got != d {
			t.Errorf("%s governs %v", p.Name, got)
		}
	}
}

func TestGoverned(t *testing.T) {
	deny, dns, api, staged := Isolate("shop", ingress), DNS("shop", DefaultDNS()), Isolate("shop", egress), Isolate("shop", egress)
	api.Spec.PodSelector = metav1.LabelSelector{MatchLabels: map[string]string{"app": "api"}}
	staged.Annotations = map[string]string{netpol.AnnotationStaged: "true"}
	untyped := &networkingv1.NetworkPolicy{} // isolates for ingress
	for _, tt := range []struct {
		name     string
		policies []*networkingv1.NetworkPolicy
		want     Directions
	}{
		{"none", nil, Directions{}},
		{"of one workload, and a staged one", []*networkingv1.NetworkPolicy{api, staged}, Directions{}},
		{"no default-deny", []*networkingv1.NetworkPolicy{dns}, Directions{}},
		{"one direction", []*networkingv1.NetworkPolicy{deny, api, staged}, ingress},
		{"types that are not said", []*networkingv1.NetworkPolicy{untyped}, ingress},
		{"the other one isolates by what it allows", []*networkingv1.NetworkPolicy{deny, dns}, BothDirections()},
		{"the baseline", []*networkingv1.NetworkPolicy{DefaultDeny("shop"), dns}, BothDirections()},
	} {
		if got := Governed(tt.policies); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
