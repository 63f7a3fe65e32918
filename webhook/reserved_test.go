// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

var namespacesOf = rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: []string{"get", "create", "update"}}

// Creating a namespace that exists is judged before it is found to exist. So "already exists" says that
// admission let it pass.
func TestReservedNamesAreJudgedThoughExempt(t *testing.T) {
	start(t, "--exempt-namespaces", "openshift-monitoring,quiet")
	grant(t, "founder", namespacesOf)
	founder := clientAs(t, "founder")
	for _, name := range append(baseline.SystemNamespaces(), "openshift-monitoring", "kube-tools", "openshift-x") {
		refused(t, founder.Create(t.Context(), newNamespace(name, nil)), "namespace/reserved_name", "user founder may not create namespace "+name)
	}
	bare := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "quiet"}} // no owner: other rules do not hold
	if err := founder.Create(t.Context(), bare); err != nil || bare.Labels[baseline.LabelMode] != "observe" {
		t.Errorf("exempt namespace of a free name: labels %v, %v", bare.Labels, err)
	}
	for _, name := range baseline.SystemNamespaces() {
		if err := admin.Create(t.Context(), newNamespace(name, nil)); !apierrors.IsAlreadyExists(err) {
			t.Errorf("%s by a cluster administrator: %v", name, err)
		}
		var system corev1.Namespace
		if err := founder.Get(t.Context(), client.ObjectKey{Name: name}, &system); err != nil {
			t.Fatal(err)
		}
		if err := founder.Update(t.Context(), &system, client.DryRunAll); err != nil {
			t.Errorf("update of %s: %v", name, err)
		}
	}
}

// While the webhook is registered and does not answer, the cluster can be repaired, and Bulkhead be
// installed again, but nobody can use the moment.
func TestSystemNamespacesWhileTheWebhookIsDown(t *testing.T) {
	p := start(t)
	var hooks admissionv1.ValidatingWebhookConfiguration
	if err := admin.Get(t.Context(), client.ObjectKey{Name: "bulkhead-webhook"}, &hooks); err != nil {
		t.Fatal(err)
	}
	p.stop(t)
	hooks.ResourceVersion, hooks.UID, hooks.ManagedFields = "", "", nil
	if err := admin.Create(t.Context(), &hooks); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { emergencyOff(t) })
	grant(t, "passer-by", namespacesOf)
	grant(t, "operator", rbacv1.PolicyRule{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}) // not system:masters
	project := newNamespace(baseline.ProjectNamespace, nil)
	eventually(t, "refusal of somebody's", func() error {
		if err := clientAs(t, "passer-by").Create(t.Context(), project, client.DryRunAll); !apierrors.IsInternalError(err) || !strings.Contains(err.Error(), "namespaces.bulkhead.dev") {
			return fmt.Errorf("got %w", err)
		}
		return nil
	})
	if err := clientAs(t, "operator").Create(t.Context(), project); !apierrors.IsAlreadyExists(err) {
		t.Errorf("%s by an administrator: %v", project.Name, err)
	}
	for _, name := range []string{"default", "kube-system", "kube-public", "kube-node-lease"} {
		bare := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if err := apiServerItself(t).Create(t.Context(), bare); !apierrors.IsAlreadyExists(err) {
			t.Errorf("%s by the API server: %v", name, err)
		}
	}
}

// apiServerItself is a client of the user that the API server is to itself.
func apiServerItself(t *testing.T) client.Client {
	t.Helper()
	config := rest.CopyConfig(plane.Admin())
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:apiserver", Groups: []string{"system:masters"}}
	c, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The API server completes a generated name between stamping and judging.
func TestGeneratedNames(t *testing.T) {
	createFor(t, usualDNS())
	start(t)
	grant(t, "generator", namespacesOf)
	generated := newNamespace("", nil)
	generated.GenerateName = "ci-"
	if err := clientAs(t, "generator").Create(t.Context(), generated); err != nil || generated.Labels[baseline.LabelMode] != "enforce" {
		t.Errorf("labels %v, %v", generated.Labels, err)
	}
	eventually(t, "policies", func() error { return policies(context.Background(), generated.Name) })
	reserved := newNamespace("", nil)
	reserved.GenerateName = "kube-"
	refused(t, clientAs(t, "generator").Create(t.Context(), reserved), "namespace/reserved_name", "kube-")
}
