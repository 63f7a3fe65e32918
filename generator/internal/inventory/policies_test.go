// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

func policyOf(namespace, name, managedBy string) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{baseline.LabelManagedBy: managedBy}}}
}

func names(policies []*networkingv1.NetworkPolicy) (all string) {
	for _, p := range policies {
		all += p.Namespace + "/" + p.Name + " "
	}
	return all
}

func TestPolicies(t *testing.T) {
	staged := policyOf("shop", "staged", "")
	staged.Annotations = map[string]string{netpol.AnnotationStaged: "true"}
	objects := []runtime.Object{
		policyOf("shop", "old", ""), policyOf("shop", "api", baseline.ManagedByGitOps), policyOf("data", "x", "helm"), staged,
		policyOf("shop", "deny", baseline.ManagedByOnboarding), policyOf("shop", "known", ""),
	}
	live, err := inventory.FromCluster(t.Context(), fake.NewClientset(objects...))
	if err != nil {
		t.Fatal(err)
	}
	git := []*networkingv1.NetworkPolicy{policyOf("shop", "known", ""), policyOf("shop", "x", "")}
	for where, inv := range map[string]*inventory.Inventory{"objects": inventory.New(objects), "cluster": live} {
		for _, tt := range []struct {
			what, want string
			got        []*networkingv1.NetworkPolicy
		}{
			{"in force", "shop/api shop/deny shop/known shop/old ", inv.Policies("shop")},
			{"managed", "shop/api shop/deny ", inv.Managed("shop")},
			{"foreign", "shop/old ", inv.Foreign("shop", git)},
			{"foreign, and another namespace's name is in Git", "data/x ", inv.Foreign("data", git)},
			{"of nowhere", "", inv.Policies("nowhere")},
		} {
			if got := names(tt.got); got != tt.want {
				t.Errorf("%s, %s: %q, want %q", where, tt.what, got, tt.want)
			}
		}
	}
}
