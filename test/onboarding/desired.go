// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/profile"
)

// world is all that says what is to be, and all that is.
type world struct {
	namespaces corev1.NamespaceList
	services   corev1.ServiceList
	profiles   profile.ProfileList
	policies   networkingv1.NetworkPolicyList
	bulkheads  profile.BulkheadList
}

// look reads the world as it is.
func (a *administrators) look(ctx context.Context) (*world, error) {
	w := &world{}
	for _, list := range []client.ObjectList{&w.namespaces, &w.services, &w.profiles, &w.policies, &w.bulkheads} {
		if err := a.api.List(ctx, list); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// differences between what the namespaces' modes, their profiles and the cluster's DNS ask for, and what there is.
func (w *world) differences() ([]string, error) {
	set, targets := w.profileSet(), w.dns()
	var wrong []string
	for i := range w.namespaces.Items {
		ns := &w.namespaces.Items[i]
		if baseline.IsSystemNamespace(ns.Name) {
			continue
		}
		want, err := desired(ns, set, targets)
		if err != nil {
			return nil, err
		}
		for _, difference := range append(w.wrongPolicies(ns, want), w.wrongView(ns, set, want)...) {
			wrong = append(wrong, ns.Name+": "+difference)
		}
	}
	return wrong, nil
}

func (w *world) profileSet() *profile.Set {
	var all []*profile.Profile
	for i := range w.profiles.Items {
		all = append(all, &w.profiles.Items[i])
	}
	return profile.NewSet(baseline.Enforce, all)
}

func (w *world) dns() baseline.DNSTargets {
	var sources baseline.DNSSources
	for i := range w.services.Items {
		if slices.Contains(baseline.DNSNamespaces(), w.services.Items[i].Namespace) {
			sources.Services = append(sources.Services, &w.services.Items[i])
		}
	}
	return baseline.DiscoverDNS(sources)
}

// desired policies of a namespace, by name.
func desired(ns *corev1.Namespace, set *profile.Set, targets baseline.DNSTargets) (map[string]*networkingv1.NetworkPolicy, error) {
	mode, err := baseline.ModeOf(ns.Labels)
	if err != nil || !mode.NeedsBaseline() {
		return nil, err
	}
	of := set.Choose(ns.Labels).Profile
	if of == nil {
		return nil, fmt.Errorf("namespace %s has a profile that does not exist", ns.Name)
	}
	rendered, err := of.Render(ns)
	if err != nil {
		return nil, err
	}
	want := map[string]*networkingv1.NetworkPolicy{}
	for _, policy := range append(rendered, baseline.DefaultDeny(ns.Name), baseline.DNS(ns.Name, targets)) {
		want[policy.Name] = policy
	}
	return want, nil
}

// wrongPolicies are those of the webhook that differ, are missing, or are too many.
func (w *world) wrongPolicies(ns *corev1.Namespace, want map[string]*networkingv1.NetworkPolicy) (wrong []string) {
	missing := len(want)
	for i := range w.policies.Items {
		have := &w.policies.Items[i]
		if have.Namespace != ns.Name {
			continue
		}
		wanted := want[have.Name]
		if wanted == nil {
			wrong = append(wrong, "policy too many: "+have.Name)
			continue
		}
		missing--
		if !equality.Semantic.DeepEqual(have.Spec, wanted.Spec) || !equality.Semantic.DeepEqual(have.Labels, wanted.Labels) ||
			have.Annotations[baseline.AnnotationNamespaceUID] != string(ns.UID) {
			wrong = append(wrong, fmt.Sprintf("policy %s is %v %+v, want %v %+v", have.Name, have.Labels, have.Spec, wanted.Labels, wanted.Spec))
		}
	}
	if missing > 0 {
		wrong = append(wrong, fmt.Sprintf("%d policies are missing", missing))
	}
	return wrong
}

// wrongView says what the namespace's Bulkhead shows wrongly.
func (w *world) wrongView(ns *corev1.Namespace, set *profile.Set, want map[string]*networkingv1.NetworkPolicy) []string {
	i := slices.IndexFunc(w.bulkheads.Items, func(b profile.Bulkhead) bool { return b.Namespace == ns.Name })
	if i < 0 {
		return []string{"no Bulkhead"}
	}
	shown := w.bulkheads.Items[i].Status
	mode, _ := baseline.ModeOf(ns.Labels) // desired has checked it
	of := set.Choose(ns.Labels).Profile
	names := make([]string, 0, len(want))
	for name := range want {
		names = append(names, name)
	}
	slices.Sort(names)
	expected := fmt.Sprintf("%s, %s, %d/%d: %s", mode, of.Name, len(want), len(want), strings.Join(names, " "))
	got := fmt.Sprintf("%s, %s, %s: %s", shown.Mode, shown.Profile, shown.Summary, strings.Join(shown.Policies, " "))
	if got != expected || !meta.IsStatusConditionTrue(shown.Conditions, profile.Ready) {
		return []string{fmt.Sprintf("the Bulkhead shows %q and conditions %+v, want %q and Ready", got, shown.Conditions, expected)}
	}
	return nil
}
