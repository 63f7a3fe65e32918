// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/gate"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/profile"
)

const (
	// maxTried bounds how many policies of a profile's namespaces are judged for one change of it, and
	// tryWithin how long that takes where rules are slow: the API server waits no longer than two seconds.
	maxTried  = 256
	tryWithin = time.Second
	// sampleName stands for the name of a namespace, and for the values of its labels.
	sampleName = "sample"
)

// trial judges what a profile's templates make, as if the user had made it: nobody may do through a
// profile what the rules refuse.
type trial struct {
	gate  *gate.Engine
	user  gate.User
	found *findings
	begin time.Time
	tried int // policies
	said  map[gate.Violation]bool
}

var labelKeys = regexp.MustCompile(`"\$\(labels\['([^']+)'\]\)"`)

// sample judges the policies of a namespace that has all labels that the templates ask for.
func (t *trial) sample(ctx context.Context, p *profile.Profile) error {
	templates, err := json.Marshal(p.Spec.Policies)
	if err != nil {
		return &malformed{err}
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: sampleName, Labels: map[string]string{corev1.LabelMetadataName: sampleName, baseline.LabelProfile: p.Name},
	}}
	for _, key := range slices.Concat(p.Spec.RequiredLabels, submatches(labelKeys, templates)) {
		namespace.Labels[key] = sampleName
	}
	return t.judge(ctx, p, namespace)
}

func submatches(pattern *regexp.Regexp, text []byte) (all []string) {
	for _, match := range pattern.FindAllSubmatch(text, -1) {
		all = append(all, string(match[1]))
	}
	return all
}

// all judges the policies of the profile's namespaces, until one has a policy that is refused.
func (t *trial) all(ctx context.Context, p *profile.Profile, namespaces []corev1.Namespace) error {
	for i := range namespaces {
		if t.tried >= maxTried || time.Since(t.begin) > tryWithin {
			t.found.warn("policies were judged for %d of the profile's %d namespaces", i, len(namespaces))
			return nil
		}
		if err := t.judge(ctx, p, &namespaces[i]); err != nil || len(t.found.refusals) > 0 {
			return err
		}
	}
	return nil
}

// judge takes a namespace that lacks a label for a warning: whoever maintains the profile need not be
// the one who can add it.
func (t *trial) judge(ctx context.Context, p *profile.Profile, namespace *corev1.Namespace) error {
	policies, err := p.Render(namespace)
	if err != nil {
		t.found.warn("namespace %s gets no policies of this profile: %v", namespace.Name, err)
		return nil
	}
	around, err := runtime.DefaultUnstructuredConverter.ToUnstructured(namespace)
	if err != nil {
		return err
	}
	for i, policy := range policies {
		t.tried++
		results, err := t.evaluate(ctx, policy, around)
		if err != nil {
			return err
		}
		for _, result := range results {
			t.add(result, fmt.Sprintf("spec.policies[%d]", i), namespace.Name)
		}
	}
	return nil
}

func (t *trial) evaluate(ctx context.Context, policy *networkingv1.NetworkPolicy, namespace map[string]any) ([]gate.Result, error) {
	delete(policy.Labels, baseline.LabelManagedBy) // the policy is judged as a user's, who may not write managed ones
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(policy)
	if err != nil {
		return nil, err
	}
	view := netpol.View(policy)
	return t.gate.Evaluate(ctx, gate.Input{Operation: "CREATE", Object: object, Policy: &view, Namespace: namespace, User: t.user})
}

// add says once where in the profile a result is, and in which namespace it is so, if not in all.
func (t *trial) add(result gate.Result, template, namespace string) {
	if result.Path != "" {
		template += "." + result.Path
	}
	result.Path = template
	if t.said[result.Violation] {
		return
	}
	t.said[result.Violation] = true
	if namespace != sampleName {
		result.Message = "in namespace " + namespace + ": " + result.Message
	}
	t.found.add(result)
}
