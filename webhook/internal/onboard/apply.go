// SPDX-License-Identifier: Apache-2.0

package onboard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/standing"
)

// FieldOwner is the manager's name in metadata.managedFields of what is applied.
const FieldOwner = client.FieldOwner("bulkhead-onboarding")

// visit is what is known of a namespace while it is brought to its state.
type visit struct {
	namespace *corev1.Namespace
	now       *standing.Standing
	fresh     bool          // it has no policies yet
	restores  bool          // its policies were in place, so what is changed was changed by somebody
	wait      time.Duration // until the next restoration; 0: it may be done
}

// applyStale applies those of the wanted policies that are missing or changed, notes all of them, and
// returns the names of what it applied.
func (r *Reconciler) applyStale(ctx context.Context, v *visit, wanted ...*networkingv1.NetworkPolicy) ([]string, error) {
	var stale []*networkingv1.NetworkPolicy
	v.now.Wanted += len(wanted)
	for _, want := range wanted {
		want.Annotations = map[string]string{baseline.AnnotationNamespaceUID: string(v.namespace.UID)}
		current, err := r.isCurrent(ctx, want, v.fresh)
		if err != nil {
			return nil, err
		}
		if current {
			v.now.Policies = append(v.now.Policies, want.Name)
		} else {
			stale = append(stale, want)
		}
	}
	if len(stale) > 0 && v.wait > 0 {
		return nil, &contested{v.wait}
	}
	applied, err := r.applyAll(ctx, stale)
	v.now.Policies = append(v.now.Policies, applied...)
	return applied, err
}

func (r *Reconciler) applyAll(ctx context.Context, stale []*networkingv1.NetworkPolicy) (names []string, err error) {
	group, ctx := errgroup.WithContext(ctx)
	for _, policy := range stale {
		names = append(names, policy.Name)
		group.Go(func() error {
			if err := r.apply(ctx, policy); err != nil {
				return fmt.Errorf("apply NetworkPolicy %s/%s: %w", policy.Namespace, policy.Name, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return names, nil
}

// isCurrent reports whether a policy is in place. The cache learns of our own writes a moment late, so
// what it says is missing or changed is looked at in the API server before it is written, unless the
// namespace is fresh.
func (r *Reconciler) isCurrent(ctx context.Context, want *networkingv1.NetworkPolicy, fresh bool) (bool, error) {
	current, err := matches(ctx, r.client, want)
	if err != nil || current || fresh {
		return current, err
	}
	return matches(ctx, r.live, want)
}

// matches reports whether the policy that from has is ours, with all that we set and no rule more.
func matches(ctx context.Context, from client.Reader, want *networkingv1.NetworkPolicy) (bool, error) {
	have := &networkingv1.NetworkPolicy{}
	err := from.Get(ctx, client.ObjectKeyFromObject(want), have)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read NetworkPolicy %s/%s: %w", want.Namespace, want.Name, err)
	}
	return have.DeletionTimestamp.IsZero() &&
		have.Labels[baseline.LabelManagedBy] == want.Labels[baseline.LabelManagedBy] &&
		have.Annotations[baseline.AnnotationNamespaceUID] == want.Annotations[baseline.AnnotationNamespaceUID] &&
		equality.Semantic.DeepEqual(want.Spec, have.Spec), nil
}

func (r *Reconciler) apply(ctx context.Context, policy *networkingv1.NetworkPolicy) error {
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(policy)
	if err != nil {
		return err
	}
	// Server-side apply leaves a field alone that is not given. Rules that somebody added must go,
	// so "no rules" is said, not left out.
	spec := object["spec"].(map[string]any)
	for _, direction := range []string{"ingress", "egress"} {
		if spec[direction] == nil {
			spec[direction] = []any{}
		}
	}
	applied := client.ApplyConfigurationFromUnstructured(&unstructured.Unstructured{Object: object})
	return r.client.Apply(ctx, applied, FieldOwner, client.ForceOwnership)
}

// removeAllBut deletes our policies of the namespace that are not to stay, and returns how many. The
// cache knows only those with our label.
func (r *Reconciler) removeAllBut(ctx context.Context, v *visit, stay []string) (removed int, err error) {
	var list networkingv1.NetworkPolicyList
	if err := r.client.List(ctx, &list, client.InNamespace(v.namespace.Name), client.UnsafeDisableDeepCopy); err != nil {
		return 0, fmt.Errorf("list NetworkPolicies of %s: %w", v.namespace.Name, err)
	}
	var errs []error
	for i := range list.Items {
		policy := &list.Items[i]
		if slices.Contains(stay, policy.Name) {
			continue
		}
		if v.wait > 0 {
			return 0, &contested{v.wait}
		}
		if err := client.IgnoreNotFound(r.client.Delete(ctx, policy.DeepCopy(), client.Preconditions{UID: &policy.UID})); err != nil {
			errs = append(errs, fmt.Errorf("delete NetworkPolicy %s/%s: %w", policy.Namespace, policy.Name, err))
			continue
		}
		removed++
	}
	return removed, errors.Join(errs...)
}
