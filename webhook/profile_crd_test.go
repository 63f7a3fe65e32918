// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/profile"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/register"
)

// TestSchemaRefusesWithThePath asks the API server itself, as kubectl apply does: unknown fields are errors.
func TestSchemaRefusesWithThePath(t *testing.T) {
	for spec, want := range map[string]string{
		`{}`:                       "spec.startingMode: Required value",
		`{startingMode: enforced}`: `spec.startingMode: Unsupported value: "enforced"`,
		`{startingMode: audit, minimumMode: none}`:                                              `spec.minimumMode: Unsupported value: "none"`,
		`{startingMode: audit, minimumMode: enforce}`:                                           "spec.minimumMode: Invalid value: ",
		`{startingMode: audit, startingmode: audit}`:                                            `unknown field "spec.startingmode"`,
		`{startingMode: audit, priority: high}`:                                                 "spec.priority: Invalid value: ",
		`{startingMode: audit, priority: 1001}`:                                                 "spec.priority: Invalid value: 1001",
		`{startingMode: audit, namespaceSelector: team=shop}`:                                   "spec.namespaceSelector: Invalid value: ",
		`{startingMode: audit, namespaceSelector: {matchlabels: {}}}`:                           `unknown field "spec.namespaceSelector.matchlabels"`,
		`{startingMode: audit, requiredLabels: [a, b, a]}`:                                      "spec.requiredLabels[2]: Duplicate value",
		`{startingMode: audit, requiredLabels: [a b]}`:                                          "spec.requiredLabels[0]: Invalid value: ",
		`{startingMode: audit, policies: [{name: a}]}`:                                          "spec.policies[0].spec: Required value",
		`{startingMode: audit, policies: [{name: A, spec: {}}]}`:                                "spec.policies[0].name: Invalid value: ",
		`{startingMode: audit, policies: [{name: allow-dns, spec: {}}]}`:                        "spec.policies[0].name: Invalid value: ",
		`{startingMode: audit, policies: [{name: a, spec: {}}, {name: a, spec: {}}]}`:           "spec.policies[1]: Duplicate value",
		`{startingMode: audit, policies: [{name: a, spec: {podSelector: all}}]}`:                "spec.policies[0].spec.podSelector: Invalid value: ",
		`{startingMode: audit, policies: [{name: a, spec: {ingress: [{form: []}]}}]}`:           `unknown field "spec.policies[0].spec.ingress[0].form"`,
		`{startingMode: audit, policies: [{name: a, spec: {egress: [{ports: [{port: []}]}]}}]}`: "spec.policies[0].spec.egress[0].ports[0].port: Invalid value: ",
	} {
		err := createProfile(t, "refused", spec)
		if !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", spec, err, want)
		}
	}
}

func TestSchemaRefusesNamesThatAreNoLabelValues(t *testing.T) {
	if err := createProfile(t, strings.Repeat("a", 63), `{startingMode: audit}`); err != nil {
		t.Error(err)
	}
	err := createProfile(t, strings.Repeat("a", 64), `{startingMode: audit}`)
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "metadata.name must be at most 63 characters") {
		t.Errorf("got %v, want a refusal of the name", err)
	}
}

// TestProfileIsKept: what the API server stores and gives back is what was meant.
func TestProfileIsKept(t *testing.T) {
	err := createProfile(t, "kept", `{startingMode: audit, policies: [{name: own, spec: {
		podSelector: {matchLabels: {owner: "$(labels['bulkhead.dev/owner'])"}}, ingress: [{from: [{podSelector: {}}], ports: [{port: http}]}]}}]}`)
	if err != nil {
		t.Fatal(err)
	}
	stored := &profile.Profile{}
	if err := typed(t).Get(t.Context(), client.ObjectKey{Name: "kept"}, stored); err != nil {
		t.Fatal(err)
	}
	if errs := stored.Validate(); errs != nil {
		t.Error(errs)
	}
	if stored.Minimum() != baseline.Observe || stored.Spec.MinimumMode != "observe" || stored.Spec.Priority != 0 {
		t.Errorf("defaults: %+v", stored.Spec)
	}
	policies, err := stored.Render(newNamespace("shop", nil))
	if err != nil {
		t.Fatal(err)
	}
	if owner := policies[0].Spec.PodSelector.MatchLabels["owner"]; owner != "team-shop" {
		t.Errorf("owner %q, want that of the namespace", owner)
	}
}

// TestShippedProfilesAreAccepted: their schema is the one that everyone's have.
func TestShippedProfilesAreAccepted(t *testing.T) {
	for _, p := range profile.Shipped(baseline.Audit) {
		if err := typed(t).Create(t.Context(), p, client.DryRunAll, client.FieldValidation("Strict")); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Errorf("%s: %v", p.Name, err)
		}
	}
}

// TestFieldsAreExplained: kubectl explain reads this document.
func TestFieldsAreExplained(t *testing.T) {
	clients, err := kubernetes.NewForConfig(plane.Admin())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"The weakest mode that a namespace of this profile may be in", "Since when mode and profile are these"} {
		eventually(t, want, func() error {
			document, err := clients.Discovery().RESTClient().Get().AbsPath("/openapi/v3/apis/bulkhead.dev/v1alpha1").Do(t.Context()).Raw()
			if err != nil || !strings.Contains(string(document), want) {
				return fmt.Errorf("%d bytes do not say so: %v", len(document), err)
			}
			return nil
		})
	}
}

// TestMissingCRDIsNamed: in a cluster the chart has to bring it; registered by URL the webhook does.
func TestMissingCRDIsNamed(t *testing.T) {
	crds, err := register.CRDs()
	if err != nil {
		t.Fatal(err)
	}
	for _, crd := range crds {
		if err := admin.Delete(t.Context(), crd); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the end of "+crd.GetName(), func() error {
			err := admin.Get(t.Context(), client.ObjectKeyFromObject(crd), crd.DeepCopy())
			if apierrors.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("it is still there: %v", err)
		})
	}
	kubeconfig, err := plane.Kubeconfig(baseline.ServiceAccountUser(baseline.WebhookServiceAccount))
	if err != nil {
		t.Fatal(err)
	}
	err = run(t.Context(), []string{"--kubeconfig", kubeconfig, "--listen", freeAddress(t)}, io.Discard, io.Discard)
	if want := "CustomResourceDefinition bulkheads.bulkhead.dev is missing: install it"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	start(t).stop(t)
	for _, crd := range crds {
		if err := admin.Get(t.Context(), client.ObjectKeyFromObject(crd), crd.DeepCopy()); err != nil {
			t.Errorf("after a webhook that registers itself: %v", err)
		}
	}
}

// createProfile creates a profile as kubectl apply does, until the test ends. Spec is YAML.
func createProfile(t *testing.T, name, spec string) error {
	t.Helper()
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte("{apiVersion: bulkhead.dev/v1alpha1, kind: Profile, metadata: {name: "+name+"}, spec: "+spec+"}"), &object.Object); err != nil {
		t.Fatal(err)
	}
	err := admin.Create(t.Context(), object, client.FieldValidation("Strict"))
	if err == nil {
		t.Cleanup(func() {
			if err := admin.Delete(context.WithoutCancel(t.Context()), object); err != nil {
				t.Error(err)
			}
		})
	}
	return err
}

// typed is a client that knows Profiles.
func typed(t *testing.T) client.Client {
	t.Helper()
	known := runtime.NewScheme()
	if err := profile.AddToScheme(known); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(plane.Admin(), client.Options{Scheme: known})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
