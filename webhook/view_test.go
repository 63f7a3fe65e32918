// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/profile"
)

// newProfile selects namespaces with label app=NAME and has one template, which lets pods of the
// namespace talk to each other on a port.
func newProfile(name string, port int32) *profile.Profile {
	return &profile.Profile{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: profile.Spec{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}},
			StartingMode:      "enforce",
			Policies: []profile.Template{{Name: "same-namespace", Spec: networkingv1.NetworkPolicySpec{
				PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
				Ingress: []networkingv1.NetworkPolicyIngressRule{{
					From:  []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{}}},
					Ports: []networkingv1.NetworkPolicyPort{{Protocol: new(corev1.ProtocolTCP), Port: new(intOr(port))}},
				}},
			}}},
		},
	}
}

// allowsPort returns nil when the policy of newProfile's template is in the namespace, for this port.
func allowsPort(t *testing.T, namespace string, port int32) error {
	t.Helper()
	have := &networkingv1.NetworkPolicy{}
	if err := admin.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "bulkhead-same-namespace"}, have); err != nil {
		return err
	}
	if have.Labels[baseline.LabelManagedBy] != baseline.ManagedByOnboarding || *have.Spec.Ingress[0].Ports[0].Port != intOr(port) {
		return fmt.Errorf("%+v", have)
	}
	return nil
}

func updateProfile(t *testing.T, name string, change func(*profile.Profile)) {
	t.Helper()
	eventually(t, "update of profile "+name, func() error {
		have := &profile.Profile{}
		if err := admin.Get(t.Context(), client.ObjectKey{Name: name}, have); err != nil {
			return err
		}
		change(have)
		return admin.Update(t.Context(), have)
	})
}

// relabel sets a label of a namespace; an empty value removes it.
func relabel(t *testing.T, namespace, key, value string) {
	t.Helper()
	eventually(t, "label "+key+" of "+namespace, func() error {
		have := &corev1.Namespace{}
		if err := admin.Get(t.Context(), client.ObjectKey{Name: namespace}, have); err != nil {
			return err
		}
		have.Labels[key] = value
		if value == "" {
			delete(have.Labels, key)
		}
		return admin.Update(t.Context(), have)
	})
}

// bulkhead returns nil when the Bulkhead of a namespace is as wanted, and its condition Ready has the reason.
func bulkhead(t *testing.T, namespace, mode, profileName, summary, reason string) error {
	t.Helper()
	have := &profile.Bulkhead{}
	if err := admin.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: profile.BulkheadName}, have); err != nil {
		return err
	}
	s := have.Status
	ready := meta.FindStatusCondition(s.Conditions, profile.Ready)
	if s.Mode != mode || s.Profile != profileName || s.Summary != summary || s.Since.IsZero() || ready == nil || ready.Reason != reason {
		return fmt.Errorf("status %+v", s)
	}
	return nil
}

// rolledOut returns nil when the status of a profile counts so many namespaces, all of them updated.
func rolledOut(t *testing.T, name string, namespaces int32) error {
	t.Helper()
	have := &profile.Profile{}
	if err := admin.Get(t.Context(), client.ObjectKey{Name: name}, have); err != nil {
		return err
	}
	s := have.Status
	if s.ObservedGeneration != have.Generation || s.Namespaces != namespaces || s.Updated != namespaces || !meta.IsStatusConditionTrue(s.Conditions, profile.RolledOut) {
		return fmt.Errorf("generation %d, status %+v", have.Generation, s)
	}
	return nil
}

func TestProfileRollsOut(t *testing.T) {
	createFor(t, usualDNS())
	start(t)
	createFor(t, newProfile("roll", 8080))
	var names []string
	for i := range 5 {
		name := fmt.Sprintf("roll-%d", i)
		names = append(names, name)
		eventually(t, "the profile selects", func() error {
			ns := newNamespace(name, map[string]string{"app": "roll"})
			if err := admin.Create(t.Context(), ns, client.DryRunAll); err != nil || ns.Labels[baseline.LabelProfile] != "roll" {
				return fmt.Errorf("labels %v: %w", ns.Labels, err)
			}
			return nil
		})
		createNamespace(t, newNamespace(name, map[string]string{"app": "roll"}))
		eventually(t, "template's policy", func() error { return allowsPort(t, name, 8080) })
		eventually(t, "Bulkhead", func() error { return bulkhead(t, name, "enforce", "roll", "3/3", "InPlace") })
	}
	eventually(t, "status of the profile", func() error { return rolledOut(t, "roll", 5) })

	updateProfile(t, "roll", func(p *profile.Profile) { *p.Spec.Policies[0].Spec.Ingress[0].Ports[0].Port = intOr(9090) })
	for _, name := range names {
		eventually(t, "changed policy", func() error { return allowsPort(t, name, 9090) })
	}
	eventually(t, "status of the changed profile", func() error { return rolledOut(t, "roll", 5) })

	updateProfile(t, "roll", func(p *profile.Profile) { p.Spec.Policies = nil })
	for _, name := range names {
		eventually(t, "policies of the template are gone", func() error { return policies(t.Context(), name) })
		eventually(t, "Bulkhead", func() error { return bulkhead(t, name, "enforce", "roll", "2/2", "InPlace") })
	}
	relabel(t, names[0], baseline.LabelMode, "observe")
	eventually(t, "Bulkhead in observe", func() error { return bulkhead(t, names[0], "observe", "roll", "0/0", "InPlace") })
}

// A label that a template needs may go away. What is there stays, and it can be seen.
func TestProfileThatCannotBeRendered(t *testing.T) {
	createFor(t, usualDNS())
	start(t)
	p := newProfile("needs-team", 8080)
	p.Spec.Policies[0].Spec.Ingress[0].From[0] = networkingv1.NetworkPolicyPeer{
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "$(labels['team'])"}},
	}
	createFor(t, p)
	createNamespace(t, newNamespace("needing", map[string]string{"team": "a", baseline.LabelProfile: "needs-team"}))
	eventually(t, "Bulkhead", func() error { return bulkhead(t, "needing", "enforce", "needs-team", "3/3", "InPlace") })
	relabel(t, "needing", "team", "")
	eventually(t, "Bulkhead without the label", func() error { return bulkhead(t, "needing", "enforce", "needs-team", "2/2", "ProfileFailed") })
	eventually(t, "policy stays", func() error { return allowsPort(t, "needing", 8080) })
	eventually(t, "status of the profile", func() error {
		have := &profile.Profile{}
		if err := admin.Get(t.Context(), client.ObjectKey{Name: "needs-team"}, have); err != nil {
			return err
		}
		if c := meta.FindStatusCondition(have.Status.Conditions, profile.RolledOut); c == nil || c.Status != metav1.ConditionFalse {
			return fmt.Errorf("%+v", have.Status)
		}
		return nil
	})
}

func TestBulkheadsOwnProfilesAreKept(t *testing.T) {
	start(t, "--default-mode", "audit")
	for _, name := range []string{"observe", "standard", "strict"} {
		eventually(t, name, func() error {
			have := &profile.Profile{}
			err := admin.Get(t.Context(), client.ObjectKey{Name: name}, have)
			if err == nil && (!meta.IsStatusConditionTrue(have.Status.Conditions, profile.Accepted) || name == "standard" && have.Spec.StartingMode != "audit") {
				return fmt.Errorf("%+v", have)
			}
			return err
		})
	}
	emergencyOff(t) // in the way of the deletion
	eventually(t, "deletion", func() error {
		return admin.Delete(t.Context(), &profile.Profile{ObjectMeta: metav1.ObjectMeta{Name: "strict"}})
	})
	eventually(t, "strict again", func() error {
		return admin.Get(t.Context(), client.ObjectKey{Name: "strict"}, &profile.Profile{})
	})
}

// A Bulkhead shows; changing it changes nothing, and does not last.
func TestBulkheadIsRestored(t *testing.T) {
	createFor(t, usualDNS())
	start(t)
	createNamespace(t, newNamespace("shown", nil))
	eventually(t, "Bulkhead", func() error { return bulkhead(t, "shown", "enforce", "standard", "2/2", "InPlace") })
	have := &profile.Bulkhead{}
	if err := admin.Get(t.Context(), client.ObjectKey{Namespace: "shown", Name: profile.BulkheadName}, have); err != nil {
		t.Fatal(err)
	}
	have.Status.Mode, have.Status.Summary = "observe", "9/9"
	if err := admin.Update(t.Context(), have); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Bulkhead again", func() error { return bulkhead(t, "shown", "enforce", "standard", "2/2", "InPlace") })
	if err := admin.Delete(t.Context(), have); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Bulkhead after its deletion", func() error { return bulkhead(t, "shown", "enforce", "standard", "2/2", "InPlace") })
}
