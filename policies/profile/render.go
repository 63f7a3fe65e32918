// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"fmt"
	"iter"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// prefix is what names of policies that Bulkhead makes begin with.
const prefix = "bulkhead-"

// Render returns the policies of the profile's templates for a namespace, in order of templates. They are
// complete: what the API server would default is filled in, so they can be compared with what it returns.
// An error names the template and the label that the namespace lacks; there are no policies then.
func (p *Profile) Render(namespace *corev1.Namespace) ([]*networkingv1.NetworkPolicy, error) {
	policies := make([]*networkingv1.NetworkPolicy, 0, len(p.Spec.Policies))
	for i := range p.Spec.Policies {
		template := &p.Spec.Policies[i]
		policy, err := template.render(namespace)
		if err != nil {
			return nil, fmt.Errorf("template %s: %w", template.Name, err)
		}
		policies = append(policies, policy)
	}
	return policies, nil
}

func (t *Template) render(namespace *corev1.Namespace) (*networkingv1.NetworkPolicy, error) {
	policy := t.policy(namespace.Name)
	for path, selector := range selectors(field.NewPath("spec"), &policy.Spec) {
		for at, value := range values(path, selector) {
			read, err := parse(*value)
			if err == nil {
				*value, err = read.value(namespace)
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", at, err)
			}
		}
	}
	return policy, nil
}

// policy is the template as a policy, complete but for expressions. It shares nothing with the template.
func (t *Template) policy(namespace string) *networkingv1.NetworkPolicy {
	policy := &networkingv1.NetworkPolicy{
		TypeMeta: metav1.TypeMeta{APIVersion: networkingv1.SchemeGroupVersion.String(), Kind: "NetworkPolicy"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace,
			Name:      prefix + t.Name,
			Labels:    map[string]string{baseline.LabelManagedBy: baseline.ManagedByOnboarding},
		},
		Spec: *t.Spec.DeepCopy(),
	}
	netpol.SetDefaults(&policy.Spec)
	return policy
}

// selectors are all that a policy selects by, and where it does.
func selectors(path *field.Path, spec *networkingv1.NetworkPolicySpec) iter.Seq2[*field.Path, *metav1.LabelSelector] {
	return func(yield func(*field.Path, *metav1.LabelSelector) bool) {
		if !yield(path.Child("podSelector"), &spec.PodSelector) {
			return
		}
		for at, peer := range peers(path, spec) {
			if peer.PodSelector != nil && !yield(at.Child("podSelector"), peer.PodSelector) {
				return
			}
			if peer.NamespaceSelector != nil && !yield(at.Child("namespaceSelector"), peer.NamespaceSelector) {
				return
			}
		}
	}
}

func peers(path *field.Path, spec *networkingv1.NetworkPolicySpec) iter.Seq2[*field.Path, *networkingv1.NetworkPolicyPeer] {
	return func(yield func(*field.Path, *networkingv1.NetworkPolicyPeer) bool) {
		for i, rule := range spec.Ingress {
			for j := range rule.From {
				if !yield(path.Child("ingress").Index(i).Child("from").Index(j), &rule.From[j]) {
					return
				}
			}
		}
		for i, rule := range spec.Egress {
			for j := range rule.To {
				if !yield(path.Child("egress").Index(i).Child("to").Index(j), &rule.To[j]) {
					return
				}
			}
		}
	}
}

// values are the label values of a selector, to be read and replaced: those of matchLabels by key, then those
// of matchExpressions.
func values(path *field.Path, selector *metav1.LabelSelector) iter.Seq2[*field.Path, *string] {
	return func(yield func(*field.Path, *string) bool) {
		for _, key := range slices.Sorted(maps.Keys(selector.MatchLabels)) {
			value := selector.MatchLabels[key]
			more := yield(path.Child("matchLabels").Key(key), &value)
			if selector.MatchLabels[key] = value; !more {
				return
			}
		}
		for i, requirement := range selector.MatchExpressions {
			at := path.Child("matchExpressions").Index(i).Child("values")
			for j := range requirement.Values {
				if !yield(at.Index(j), &requirement.Values[j]) {
					return
				}
			}
		}
	}
}
