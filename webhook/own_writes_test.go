// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// The webhook's role has all NetworkPolicies; the API server leaves it those that are onboarding's.
func TestTheWebhookWritesItsOwnPoliciesOnly(t *testing.T) {
	unknown := newNamespace("own-writes", map[string]string{baseline.LabelMode: "nonsense"}) // onboarding leaves it alone
	eventually(t, "a namespace without Bulkhead", func() error { return admin.Create(t.Context(), unknown) })
	webhook := clientAs(t, baseline.ServiceAccountUser(baseline.WebhookServiceAccount))
	ours, gitOps := baseline.ManagedByOnboarding, baseline.ManagedByGitOps
	policy := func(namespace, name, manager string) *networkingv1.NetworkPolicy {
		p := ordinaryPolicy(namespace, name)
		if manager != "" {
			p.Labels = map[string]string{baseline.LabelManagedBy: manager}
		}
		return p
	}
	existing := []struct {
		name, manager string
		taken         bool
	}{
		{baseline.DefaultDenyName, "", true},
		{baseline.AllowDNSName, gitOps, true},
		{"bulkhead-by-hand", "", true},
		{"bulkhead-synced", gitOps, false},
		{"by-hand", "", false},
	}
	for _, e := range existing {
		if err := admin.Create(t.Context(), policy("own-writes", e.name, e.manager)); err != nil {
			t.Fatal(err)
		}
	}
	start(t)
	const notOurs = "onboarding writes only policies that are labelled bulkhead.dev/managed-by=onboarding"
	eventually(t, "refusal by the API server itself", func() error {
		if err := webhook.Create(t.Context(), policy("own-writes", "bulkhead-x", ""), client.DryRunAll); !apierrors.IsForbidden(err) {
			return fmt.Errorf("got %w", err)
		}
		return nil
	})
	for _, namespace := range baseline.SystemNamespaces() {
		refused(t, webhook.Create(t.Context(), policy(namespace, "bulkhead-x", ours)), "writes no policies in system namespaces")
	}
	refused(t, webhook.Create(t.Context(), policy("own-writes", "bulkhead-x", "")), notOurs)
	refused(t, webhook.Create(t.Context(), policy("own-writes", "bulkhead-x", gitOps)), notOurs)
	if err := webhook.Create(t.Context(), policy("own-writes", "bulkhead-x", ours), client.DryRunAll); err != nil {
		t.Error(err)
	}
	takeOver := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"bulkhead.dev/managed-by":"onboarding"}}}`))
	release := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"bulkhead.dev/managed-by":null}}}`))
	for _, e := range existing {
		target := policy("own-writes", e.name, "")
		refused(t, webhook.Delete(t.Context(), target.DeepCopy()), notOurs)
		err := webhook.Patch(t.Context(), target.DeepCopy(), takeOver)
		if !e.taken {
			refused(t, err, notOurs)
			continue
		}
		if err != nil {
			t.Errorf("%s of %q is not taken over: %v", e.name, e.manager, err)
		}
		refused(t, webhook.Patch(t.Context(), target.DeepCopy(), release), notOurs)
		if err := webhook.Delete(t.Context(), target); err != nil {
			t.Errorf("%s is not deleted: %v", e.name, err)
		}
	}
}
