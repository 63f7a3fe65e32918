// SPDX-License-Identifier: Apache-2.0

// Package onboard gives every namespace in mode audit or enforce its two baseline policies, restores
// them when somebody changes them, and takes them away again in mode observe.
//
// Everything is read from caches, the two policies are applied at the same time, and there is no
// leader: all replicas apply the same content, so the second to come changes nothing, and a
// namespace never waits for a lease.
package onboard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// FieldOwner is the manager's name in metadata.managedFields of what is applied.
const FieldOwner = client.FieldOwner("bulkhead-onboarding")

// Config of the controller.
type Config struct {
	DNS *DNS
	Log *slog.Logger
}

// Reconciler brings one namespace to the state that its mode asks for.
type Reconciler struct {
	config   Config
	client   client.Client // reads from caches
	live     client.Reader // reads from the API server
	recorder events.EventRecorder
	arrivals *arrivals

	following following
}

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	namespace := &corev1.Namespace{}
	err := r.client.Get(ctx, request.NamespacedName, namespace)
	if apierrors.IsNotFound(err) || err == nil && !namespace.DeletionTimestamp.IsZero() {
		r.arrivals.forget(request.Name)
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("read namespace %s: %w", request.Name, err)
	}
	if err := r.bring(ctx, namespace); err != nil {
		r.event(namespace, corev1.EventTypeWarning, "BaselineFailed", "Apply", "baseline policies could not be brought in place: %v", err)
		return reconcile.Result{}, fmt.Errorf("onboard namespace %s: %w", namespace.Name, err)
	}
	return reconcile.Result{}, nil
}

func (r *Reconciler) bring(ctx context.Context, namespace *corev1.Namespace) error {
	if baseline.IsSystemNamespace(namespace.Name) {
		return nil
	}
	mode, err := baseline.ModeOf(namespace.Labels)
	if err != nil {
		// Nothing is changed: neither "more" nor "less" is known to be meant.
		r.event(namespace, corev1.EventTypeWarning, "UnknownMode", "Read", "%v", err)
		return nil
	}
	if mode.NeedsBaseline() {
		return r.ensure(ctx, namespace, mode)
	}
	return r.remove(ctx, namespace)
}

func (r *Reconciler) ensure(ctx context.Context, namespace *corev1.Namespace, mode baseline.Mode) error {
	targets, err := r.config.DNS.Targets(ctx)
	if err != nil {
		return err
	}
	stale, err := r.stale(ctx, baseline.DefaultDeny(namespace.Name), baseline.DNS(namespace.Name, targets))
	if err != nil {
		return err
	}
	if len(stale) == 0 {
		r.arrivals.forget(namespace.Name)
		return nil
	}
	if err := r.applyAll(ctx, stale); err != nil {
		return err
	}
	r.arrivals.observe(namespace.Name)
	r.config.Log.Info("baseline in place", "namespace", namespace.Name, "mode", mode.String(), "applied", len(stale))
	r.event(namespace, corev1.EventTypeNormal, "BaselineInPlace", "Apply",
		"%d of the baseline policies %s and %s applied (mode %s)", len(stale), baseline.DefaultDenyName, baseline.AllowDNSName, mode)
	if targets.Assumed != "" {
		r.event(namespace, corev1.EventTypeWarning, "DNSNotFound", "Apply", "policy %s allows the usual DNS pods: %s", baseline.AllowDNSName, targets.Assumed)
	}
	return nil
}

// stale returns those of the wanted policies that are missing or changed. The cache learns of our own
// writes a moment late, so what it says is missing or changed is looked at in the API server before it
// is written, unless the namespace is new and has no policies yet.
func (r *Reconciler) stale(ctx context.Context, wanted ...*networkingv1.NetworkPolicy) ([]*networkingv1.NetworkPolicy, error) {
	var stale []*networkingv1.NetworkPolicy
	for _, want := range wanted {
		current, err := isCurrent(ctx, r.client, want)
		if err == nil && !current && !r.arrivals.waits(want.Namespace) {
			current, err = isCurrent(ctx, r.live, want)
		}
		if err != nil {
			return nil, err
		}
		if !current {
			stale = append(stale, want)
		}
	}
	return stale, nil
}

// isCurrent reports whether the policy that from has is ours, with all that we set and no rule more.
func isCurrent(ctx context.Context, from client.Reader, want *networkingv1.NetworkPolicy) (bool, error) {
	have := &networkingv1.NetworkPolicy{}
	err := from.Get(ctx, client.ObjectKeyFromObject(want), have)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read NetworkPolicy %s/%s: %w", want.Namespace, want.Name, err)
	}
	return have.DeletionTimestamp.IsZero() && have.Labels[baseline.LabelManagedBy] == want.Labels[baseline.LabelManagedBy] &&
		equality.Semantic.DeepEqual(want.Spec, have.Spec), nil
}

func (r *Reconciler) applyAll(ctx context.Context, policies []*networkingv1.NetworkPolicy) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, policy := range policies {
		group.Go(func() error {
			if err := r.apply(ctx, policy); err != nil {
				return fmt.Errorf("apply NetworkPolicy %s/%s: %w", policy.Namespace, policy.Name, err)
			}
			return nil
		})
	}
	return group.Wait()
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

// remove deletes the baseline policies that the cache knows; it knows only those with our label.
func (r *Reconciler) remove(ctx context.Context, namespace *corev1.Namespace) error {
	r.arrivals.forget(namespace.Name)
	var errs []error
	removed := 0
	for _, name := range []string{baseline.DefaultDenyName, baseline.AllowDNSName} {
		policy := &networkingv1.NetworkPolicy{}
		err := r.client.Get(ctx, types.NamespacedName{Namespace: namespace.Name, Name: name}, policy)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err == nil {
			err = client.IgnoreNotFound(r.client.Delete(ctx, policy))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("delete NetworkPolicy %s/%s: %w", namespace.Name, name, err))
			continue
		}
		removed++
	}
	if removed > 0 {
		r.config.Log.Info("baseline removed", "namespace", namespace.Name, "removed", removed)
		r.event(namespace, corev1.EventTypeNormal, "BaselineRemoved", "Delete", "mode is observe: %d baseline policies removed", removed)
	}
	return errors.Join(errs...)
}

func (r *Reconciler) event(namespace *corev1.Namespace, kind, reason, action, format string, args ...any) {
	r.recorder.Eventf(namespace, nil, kind, reason, action, format, args...)
}
