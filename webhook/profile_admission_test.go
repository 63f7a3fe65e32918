// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/profile"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/register"
)

// fromYAML is a profile with this spec.
func fromYAML(t *testing.T, name, spec string) *profile.Profile {
	t.Helper()
	p := &profile.Profile{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		t.Fatal(err)
	}
	return p
}

// keepProfile creates a profile until the test has ended, its webhook included: call it before start.
func keepProfile(t *testing.T, name, spec string) {
	t.Helper()
	p := fromYAML(t, name, spec)
	eventually(t, "profile "+name, func() error { return admin.Create(t.Context(), p) }) // the last test's webhook may linger
	t.Cleanup(func() {
		if err := client.IgnoreNotFound(admin.Delete(context.WithoutCancel(t.Context()), p)); err != nil {
			t.Error(err)
		}
	})
}

// hasLabels fails the test unless the namespace has mode and profile.
func hasLabels(t *testing.T, namespace *corev1.Namespace, mode, profile string) {
	t.Helper()
	if got := namespace.Labels; got[baseline.LabelMode] != mode || got[baseline.LabelProfile] != profile {
		t.Errorf("%s: labels %v, want mode %s, profile %s", namespace.Name, got, mode, profile)
	}
}

func TestProfileIsStamped(t *testing.T) {
	createFor(t, usualDNS())
	keepProfile(t, "low", `{namespaceSelector: {matchLabels: {tier: gold}}, priority: 1, startingMode: enforce}`)
	keepProfile(t, "high", `{namespaceSelector: {matchLabels: {tier: gold}}, priority: 2, startingMode: audit}`)
	for _, name := range []string{"enrolled", "enrolled-by-status", "enrolled-by-finalize"} {
		before := newNamespace(name, map[string]string{"tier": "gold"})
		eventually(t, "a namespace without Bulkhead", func() error { return admin.Create(t.Context(), before) })
	}
	start(t)
	hasLabels(t, createNamespace(t, newNamespace("stamped-usual", nil)), "enforce", "standard")
	hasLabels(t, createNamespace(t, newNamespace("stamped-gold", map[string]string{"tier": "gold"})), "audit", "high")
	given := map[string]string{"tier": "gold", baseline.LabelProfile: "low"}
	hasLabels(t, createNamespace(t, newNamespace("stamped-given", given)), "enforce", "low")

	for name, change := range map[string]change{"enrolled": byUpdate, "enrolled-by-status": byStatus, "enrolled-by-finalize": byFinalize} {
		if err := change(t.Context(), admin, name, baseline.LabelMode, "audit"); err != nil {
			t.Error(err)
		}
		namespace := named(name)
		if err := admin.Get(t.Context(), client.ObjectKeyFromObject(namespace), namespace); err != nil {
			t.Fatal(err)
		}
		hasLabels(t, namespace, "audit", "high")
	}
}

// change is a way to give a namespace a label, or with an empty value to take it away.
type change func(ctx context.Context, as client.Client, namespace, label, value string) error

func byUpdate(ctx context.Context, as client.Client, namespace, label, value string) error {
	return edit(ctx, as, namespace, label, value, func(n *corev1.Namespace) error { return as.Update(ctx, n) })
}

func byStatus(ctx context.Context, as client.Client, namespace, label, value string) error {
	return edit(ctx, as, namespace, label, value, func(n *corev1.Namespace) error { return as.Status().Update(ctx, n) })
}

func byFinalize(ctx context.Context, as client.Client, namespace, label, value string) error {
	return edit(ctx, as, namespace, label, value, func(n *corev1.Namespace) error { return as.SubResource("finalize").Update(ctx, n) })
}

// edit tries again when somebody else has changed the namespace in between.
func edit(ctx context.Context, as client.Client, namespace, label, value string, write func(*corev1.Namespace) error) error {
	for {
		changed := named(namespace)
		if err := as.Get(ctx, client.ObjectKeyFromObject(changed), changed); err != nil {
			return err
		}
		changed.Labels[label] = value
		if value == "" {
			delete(changed.Labels, label)
		}
		if err := write(changed); !apierrors.IsConflict(err) {
			return err
		}
	}
}

// What weakens a namespace needs a permission, whichever way the labels are changed, with the webhook and
// without it.
func TestWeakeningNeedsPermissionAnyWay(t *testing.T) {
	createFor(t, usualDNS())
	keepProfile(t, "lax", `{startingMode: observe}`)
	start(t)
	gateIsActive(t)
	reach := rbacv1.PolicyRule{
		APIGroups: []string{""}, Resources: []string{"namespaces", "namespaces/status", "namespaces/finalize"}, Verbs: []string{"get", "update"},
	}
	const guarded = "guarded-any-way"
	grant(t, "way-dev", reach)
	grant(t, "way-lead", reach, permits("weaken", "namespacemodes", guarded), permits("leave", "profiles", "standard"), permits("leave", "profiles", "lax"))
	grant(t, "way-other", reach, permits("weaken", "namespacemodes", "another"), permits("leave", "profiles", "strict"))
	createNamespace(t, newNamespace(guarded, nil))
	refuseAnyWay(t, guarded)
	withoutWebhooks(t)
	refuseAnyWay(t, guarded)

	for name, change := range ways {
		bare := createNamespace(t, newNamespace("bare-"+name, map[string]string{baseline.LabelMode: "observe"}))
		refused(t, change(t.Context(), admin, bare.Name, baseline.LabelMode, "audit"), "got no label bulkhead.dev/profile because the Bulkhead webhook did not answer: retry")
	}
}

var ways = map[string]change{"update": byUpdate, "status": byStatus, "finalize": byFinalize}

func refuseAnyWay(t *testing.T, namespace string) {
	t.Helper()
	for way, change := range ways {
		for _, c := range []struct{ label, value, before, want string }{
			{baseline.LabelMode, "audit", "enforce", "may not weaken namespace " + namespace + " from mode enforce to audit: leave"},
			{baseline.LabelMode, "observe", "audit", "may not weaken namespace " + namespace + " from mode audit to observe: leave"},
			{baseline.LabelMode, "", "enforce", "from mode enforce to observe (no label): leave"},
			{baseline.LabelProfile, "lax", "standard", "may not move namespace " + namespace + " from profile standard to lax: leave"},
		} {
			if err := byUpdate(t.Context(), admin, namespace, c.label, c.before); err != nil {
				t.Fatal(err)
			}
			for _, user := range []string{"way-dev", "way-other"} {
				err := change(t.Context(), clientAs(t, user), namespace, c.label, c.value)
				refused(t, err, "user "+user+" may not ", c.want, "have RBAC grant verb ")
			}
			if err := change(t.Context(), clientAs(t, "way-lead"), namespace, c.label, c.value); err != nil {
				t.Errorf("%s: who may is refused: %v", way, err)
			}
		}
		for label, value := range map[string]string{baseline.LabelMode: "enforce", baseline.LabelProfile: "standard"} {
			if err := change(t.Context(), clientAs(t, "way-lead"), namespace, label, value); err != nil {
				t.Errorf("%s: %s=%s: %v", way, label, value, err)
			}
		}
	}
}

func permits(verb, resource, name string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{"bulkhead.dev"}, Resources: []string{resource}, ResourceNames: []string{name}, Verbs: []string{verb}}
}

// withoutWebhooks takes the webhooks away, as if nobody answered and all were ignored, and returns when the API
// server has noticed.
func withoutWebhooks(t *testing.T) {
	t.Helper()
	for _, kind := range []string{"ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"} {
		hooks := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: "bulkhead-webhook"}}
		hooks.SetGroupVersionKind(metav1.SchemeGroupVersion.WithKind(kind))
		hooks.APIVersion = "admissionregistration.k8s.io/v1"
		if err := admin.Delete(t.Context(), hooks); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the end of the webhooks", func() error {
		probe := newNamespace("no-webhooks", map[string]string{baseline.LabelMode: "observe"})
		delete(probe.Labels, baseline.LabelOwner)
		if err := admin.Create(t.Context(), probe, client.DryRunAll); err != nil || probe.Labels[baseline.LabelProfile] != "" {
			return fmt.Errorf("labels %v, %w", probe.Labels, err)
		}
		return nil
	})
}

func TestNewNamespacesMeetTheirProfile(t *testing.T) {
	createFor(t, usualDNS())
	keepProfile(t, "cost", `{namespaceSelector: {matchLabels: {tier: cost}}, startingMode: enforce, minimumMode: audit, requiredLabels: [example.com/cost-center]}`)
	start(t)
	grant(t, "new-dev", namespacesOf)
	grant(t, "new-lead", namespacesOf, permits("weaken", "namespacemodes", "weaker"), permits("leave", "profiles", "standard"))
	weaker := map[string]string{baseline.LabelMode: "audit"}
	strict := map[string]string{baseline.LabelProfile: "strict"}
	cost := func(more ...string) map[string]string {
		labels := map[string]string{"tier": "cost", "example.com/cost-center": "7"}
		for i := 0; i < len(more); i += 2 {
			labels[more[i]] = more[i+1]
		}
		return labels
	}
	for name, c := range map[string]struct {
		user   string
		labels map[string]string
		want   string // in the refusal; empty: allowed
	}{
		"weaker":       {"new-dev", weaker, "namespace/mode_weakened: metadata.labels[bulkhead.dev/mode]: user new-dev may not create namespace weaker in mode audit"},
		"leaves":       {"new-dev", strict, "namespace/profile_unmet: metadata.labels[bulkhead.dev/profile]: user new-dev may not give namespace leaves profile strict"},
		"unknown":      {"new-lead", map[string]string{baseline.LabelProfile: "none"}, "there is no profile none for namespace unknown"},
		"unlabelled":   {"new-lead", cost("example.com/cost-center", ""), "metadata.labels[example.com/cost-center]: namespace unlabelled has no label"},
		"below":        {"new-lead", cost(baseline.LabelMode, "observe"), "profile cost allows none weaker than audit"},
		"as-expected":  {"new-dev", cost(), ""},
		"another-name": {"new-lead", weaker, "namespace/mode_weakened"},
	} {
		err := clientAs(t, c.user).Create(t.Context(), newNamespace(name, c.labels), client.DryRunAll)
		if c.want == "" && err != nil {
			t.Errorf("%s: %v", name, err)
		} else if c.want != "" {
			refused(t, err, c.want)
		}
	}
	for name, labels := range map[string]map[string]string{"weaker": weaker, "leaves": strict} {
		if err := clientAs(t, "new-lead").Create(t.Context(), newNamespace(name, labels), client.DryRunAll); err != nil {
			t.Errorf("%s by somebody who may: %v", name, err)
		}
	}
	owned := createNamespace(t, newNamespace("cost-owned", cost()))
	dev := clientAs(t, "new-dev")
	for _, change := range ways {
		refused(t, change(t.Context(), admin, owned.Name, baseline.LabelProfile, "none"), "namespace/profile_unmet: metadata.labels[bulkhead.dev/profile]: there is no profile none")
	}
	refused(t, byUpdate(t.Context(), dev, owned.Name, "example.com/cost-center", ""), "metadata.labels[example.com/cost-center]: namespace cost-owned has no label")
	if err := byUpdate(t.Context(), dev, owned.Name, "example.com/cost-center", "8"); err != nil {
		t.Error(err)
	}
}

func TestProfilesAreJudged(t *testing.T) {
	start(t)
	for want, spec := range map[string]string{
		"networkpolicy/allow_all: spec.policies[1].spec.ingress[0]: ":                  `{startingMode: audit, policies: [{name: a, spec: {podSelector: {}}}, {name: b, spec: {podSelector: {}, ingress: [{}]}}]}`,
		"networkpolicy/every_address: spec.policies[0].spec.egress[0]: ":               `{startingMode: audit, policies: [{name: a, spec: {podSelector: {}, egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}}]}`,
		"spec.policies[0].spec.podSelector.matchLabels[a]: ":                           `{startingMode: audit, policies: [{name: a, spec: {podSelector: {matchLabels: {a: "x$(namespace)"}}}}]}`,
		"spec.policies[0].spec.ingress[0].from[0].ipBlock.cidr: ":                      `{startingMode: audit, policies: [{name: a, spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/40}}]}]}}]}`,
		"spec.namespaceSelector.matchLabels: Invalid value: \"a b\": ":                 `{startingMode: audit, namespaceSelector: {matchLabels: {a b: c}}}`,
		"spec.namespaceSelector.matchExpressions[0].operator: Invalid value: \"Is\": ": `{startingMode: audit, namespaceSelector: {matchExpressions: [{key: a, operator: Is}]}}`,
	} {
		refused(t, admin.Create(t.Context(), fromYAML(t, "judged", spec)), want)
	}
	refused(t, admin.Create(t.Context(), fromYAML(t, "strict", `{startingMode: observe}`), client.DryRunAll), "profile strict is Bulkhead's own: write one of your own")

	good := fromYAML(t, "judged", `{namespaceSelector: {matchLabels: {tier: judged}}, startingMode: audit}`)
	if err := admin.Create(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	together := newNamespace("judged-together", map[string]string{baseline.LabelProfile: "judged"})
	if err := admin.Create(t.Context(), together, client.DryRunAll); err != nil {
		t.Errorf("a namespace that is applied together with its profile: %v", err)
	}
	eventually(t, "a namespace of the profile", func() error {
		namespace := newNamespace("judged-1", map[string]string{"tier": "judged"})
		err := admin.Create(t.Context(), namespace, client.DryRunAll)
		if err != nil || namespace.Labels[baseline.LabelProfile] != "judged" {
			return fmt.Errorf("labels %v, %w", namespace.Labels, err)
		}
		return admin.Create(t.Context(), namespace)
	})
	eventually(t, "refusal of the profile's end", func() error {
		err := admin.Delete(t.Context(), good, client.DryRunAll)
		if isRefusal(err) && strings.Contains(err.Error(), "profile judged is that of namespace judged-1: give them another one first") {
			return nil
		}
		return fmt.Errorf("got %w", err)
	})
	updateProfile(t, "judged", func(p *profile.Profile) { p.Annotations = map[string]string{"a": "b"} })
	if err := byUpdate(t.Context(), admin, "judged-1", baseline.LabelProfile, "standard"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the profile's end", func() error { return admin.Delete(t.Context(), good) })
}

// Helm creates the admission objects before the webhook runs. What its pods then need must not wait for them.
func TestProfilesBeforeTheWebhookRuns(t *testing.T) {
	objects, err := register.Objects(baseline.ProjectNamespace)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { emergencyOff(t) })
	for _, object := range objects {
		eventually(t, object.GetName(), func() error { return client.IgnoreAlreadyExists(admin.Create(t.Context(), object.DeepCopy())) })
	}
	early := fromYAML(t, "early", `{startingMode: audit}`)
	eventually(t, "refusal of a profile that nobody judges", func() error {
		err := admin.Create(t.Context(), early, client.DryRunAll)
		if apierrors.IsInternalError(err) && strings.Contains(err.Error(), `failed calling webhook "profiles.bulkhead.dev"`) {
			return nil
		}
		return fmt.Errorf("got %w", err)
	})
	user := baseline.ServiceAccountUser(baseline.WebhookServiceAccount)
	grant(t, user, rbacv1.PolicyRule{APIGroups: []string{"bulkhead.dev"}, Resources: []string{"profiles"}, Verbs: []string{"create"}},
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: []string{"get"}})
	own := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"name": "early"}, "spec": map[string]any{"startingMode": "audit"}}}
	own.SetGroupVersionKind(profile.GroupVersion.WithKind("Profile"))
	if err := clientAs(t, user).Create(t.Context(), own, client.DryRunAll); err != nil {
		t.Errorf("the webhook's own profiles: %v", err)
	}
}
