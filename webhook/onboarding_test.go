// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

func TestNewNamespaceIsOnboarded(t *testing.T) {
	createFor(t, usualDNS())
	p := start(t)
	namespace := createNamespace(t, newNamespace("fresh", nil))
	if namespace.Labels[baseline.LabelMode] != "enforce" || namespace.Labels[baseline.LabelProfile] != baseline.DefaultProfile {
		t.Errorf("not stamped: %v", namespace.Labels)
	}
	eventually(t, "policies", func() error { return policies(t.Context(), "fresh") })
	eventually(t, "admission of a pod", func() error { return admin.Create(t.Context(), newPod("fresh")) })
	eventually(t, "event", func() error { return hasEvent(t, "fresh", "BaselineInPlace") })
	if text := fetch(t, "http://"+p.metrics+"/metrics"); !strings.Contains(text, "bulkhead_onboarding_seconds_count") || !strings.Contains(text, `bulkhead_namespaces{mode="enforce",profile="standard",ready="true"}`) {
		t.Error("metrics lack the latency of onboarding, or the namespaces by mode")
	}
}

// The cache learns of our own writes one by one and a moment late. That must not be taken for drift.
func TestPoliciesAreAppliedOnce(t *testing.T) {
	p := start(t)
	const namespaces = 40
	var group errgroup.Group
	for i := range namespaces {
		group.Go(func() error { return admin.Create(t.Context(), newNamespace(fmt.Sprintf("once-%d", i), nil)) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for i := range namespaces {
		eventually(t, "policies", func() error { return policies(t.Context(), fmt.Sprintf("once-%d", i)) })
	}
	// Policies are watched in order: what is restored here was seen after all of those above.
	emergencyOff(t)
	last := baseline.DefaultDeny("once-0")
	eventually(t, "deletion", func() error { return admin.Delete(t.Context(), last) })
	eventually(t, "restoration", func() error { return policies(t.Context(), "once-0") })
	p.stop(t)
	if got := strings.Count(p.logs.String(), `"applied":["bulkhead-default-deny","bulkhead-allow-dns"]`); got != namespaces {
		t.Errorf("%d namespaces got two policies at once, want %d", got, namespaces)
	}
	if got := strings.Count(p.logs.String(), `"applied":["bulkhead-default-deny"]`); got != 1 {
		t.Errorf("a single policy was applied %d times, want once: after the deletion", got)
	}
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestDriftIsRestored(t *testing.T) {
	// The admission policies refuse drift in the first place; here they are switched off, as in an emergency.
	start(t)
	createNamespace(t, newNamespace("drifting", nil))
	eventually(t, "policies", func() error { return policies(t.Context(), "drifting") })
	emergencyOff(t)

	edits := map[string]string{
		"a rule":         `{"spec":{"ingress":[{}]}}`,
		"a selector":     `{"spec":{"podSelector":{"matchLabels":{"app":"x"}}}}`,
		"a direction":    `{"spec":{"policyTypes":["Ingress"]}}`,
		"our label gone": `{"metadata":{"labels":{"bulkhead.dev/managed-by":null}}}`,
	}
	for what, edit := range edits {
		drift(t, what, func() error {
			return admin.Patch(t.Context(), baseline.DefaultDeny("drifting"), client.RawPatch(types.MergePatchType, []byte(edit)))
		})
	}
	drift(t, "deletion", func() error { return admin.Delete(t.Context(), baseline.DNS("drifting", baseline.DefaultDNS())) })
	eventually(t, "event", func() error { return hasEvent(t, "drifting", "BaselineRestored") })
}

// Somebody who undoes each restoration, such as a replica of another version, does not get as many of them as
// there are changes, and it can be seen. When it is over, so is the waiting.
func TestContestedPoliciesAreRestoredLater(t *testing.T) {
	createFor(t, usualDNS())
	start(t)
	createNamespace(t, newNamespace("contested", nil))
	eventually(t, "policies", func() error { return policies(t.Context(), "contested") })
	eventually(t, "Bulkhead", func() error { return bulkhead(t, "contested", "enforce", "standard", "2/2", "InPlace") })
	emergencyOff(t)
	eventually(t, "contest", func() error {
		err := admin.Delete(t.Context(), baseline.DNS("contested", baseline.DefaultDNS()))
		if client.IgnoreNotFound(err) != nil {
			return err
		}
		return bulkhead(t, "contested", "enforce", "standard", "1/2", "Contested")
	})
	eventually(t, "event", func() error { return hasEvent(t, "contested", "Contested") })
	eventually(t, "peace", func() error { return bulkhead(t, "contested", "enforce", "standard", "2/2", "InPlace") })
}

// hasEvent returns nil when there is an Event about a namespace with the reason.
func hasEvent(t *testing.T, namespace, reason string) error {
	t.Helper()
	var events eventsv1.EventList
	if err := admin.List(t.Context(), &events, client.InNamespace("default")); err != nil {
		return err
	}
	if !slices.ContainsFunc(events.Items, func(e eventsv1.Event) bool { return e.Regarding.Name == namespace && e.Reason == reason }) {
		return fmt.Errorf("no event %s about %s among %d", reason, namespace, len(events.Items))
	}
	return nil
}

// drift makes a change, which must succeed, and waits until it is undone.
func drift(t *testing.T, what string, change func() error) {
	t.Helper()
	eventually(t, what+": change", change) // the API server notices a moment later that admission is off
	eventually(t, what+": restored", func() error {
		var deny networkingv1.NetworkPolicy
		if err := admin.Get(t.Context(), client.ObjectKeyFromObject(baseline.DefaultDeny("drifting")), &deny); err != nil {
			return err
		}
		if len(deny.Spec.PodSelector.MatchLabels) > 0 {
			return fmt.Errorf("selector %v", deny.Spec.PodSelector)
		}
		return policies(t.Context(), "drifting")
	})
}

func TestNamespacesFromBeforeAreObserved(t *testing.T) {
	// The admission policies of a test before act a moment longer than they exist.
	eventually(t, "a namespace without Bulkhead", func() error { return admin.Create(t.Context(), newNamespace("old", nil)) })
	start(t)
	createNamespace(t, newNamespace("younger", nil))
	eventually(t, "policies of a later namespace", func() error { return policies(t.Context(), "younger") })
	if err := none(t.Context(), "old"); err != nil {
		t.Error(err)
	}
	var old corev1.Namespace
	if err := admin.Get(t.Context(), client.ObjectKey{Name: "old"}, &old); err != nil || old.Labels[baseline.LabelMode] != "" {
		t.Errorf("labels %v, %v", old.Labels, err)
	}
	if err := admin.Create(t.Context(), newPod("old")); err != nil {
		t.Errorf("pod in a namespace from before: %v", err)
	}
	audit := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"bulkhead.dev/mode":"audit"}}}`))
	if err := admin.Patch(t.Context(), &old, audit); err != nil {
		t.Fatal(err)
	}
	eventually(t, "policies once it is enrolled", func() error { return policies(t.Context(), "old") })
}

func TestDNSPolicyFollowsTheService(t *testing.T) {
	start(t)
	createNamespace(t, newNamespace("named", nil))
	eventually(t, "policies", func() error { return policies(t.Context(), "named") })
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kube-dns"},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"dns": "ours"},
			Ports:    []corev1.ServicePort{{Port: 53, Protocol: corev1.ProtocolUDP, TargetPort: intOr(5353)}},
		},
	}
	if err := admin.Create(t.Context(), service); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Delete(context.Background(), service) })
	eventually(t, "DNS policy on port 5353", func() error {
		var dns networkingv1.NetworkPolicy
		key := client.ObjectKey{Namespace: "named", Name: baseline.AllowDNSName}
		if err := admin.Get(t.Context(), key, &dns); err != nil {
			return err
		}
		if rule := dns.Spec.Egress[0]; len(rule.Ports) != 1 || rule.Ports[0].Port.IntVal != 5353 || rule.To[0].PodSelector.MatchLabels["dns"] != "ours" {
			return fmt.Errorf("got %+v", rule)
		}
		return nil
	})
}
