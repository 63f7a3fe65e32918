// SPDX-License-Identifier: Apache-2.0

package onboard

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/profile"
)

const (
	// concurrency bounds how many namespaces are onboarded at once.
	concurrency = 16
	// A failed namespace is tried again soon: its pods are refused until then.
	firstRetry, lastRetry = 10 * time.Millisecond, 30 * time.Second
	// onceWithin bounds one attempt, should the API server not answer.
	onceWithin = 10 * time.Second
)

// CacheFor says what the controllers need cached: all namespaces and profiles, of the policies only those
// that onboarding made, and what tells where DNS answers. dnsService is as in DNS.
func CacheFor(dnsService types.NamespacedName) map[client.Object]cache.ByObject {
	return map[client.Object]cache.ByObject{
		&corev1.Namespace{}: {},
		&networkingv1.NetworkPolicy{}: {
			Label: labels.SelectorFromSet(labels.Set{baseline.LabelManagedBy: baseline.ManagedByOnboarding}),
		},
		&profile.Profile{}:  {Transform: trimmed},
		&profile.Bulkhead{}: {Transform: trimmed},
		&corev1.Service{}:   servicesFor(dnsService),
		&appsv1.DaemonSet{}: nodeLocalCaches(),
	}
}

// Add adds the controller to a manager whose cache was made with CacheFor.
func Add(mgr manager.Manager, config Config) error {
	r := &Reconciler{
		config:   config,
		client:   mgr.GetClient(),
		live:     mgr.GetAPIReader(),
		recorder: mgr.GetEventRecorder("bulkhead-onboarding"),
		arrivals: newArrivals(),
		contests: newContests(),
	}
	err := builder.ControllerManagedBy(mgr).
		Named("onboarding").
		Watches(&corev1.Namespace{}, r.namespaceHandler()).
		WatchesRawSource(source.Func(r.unprotectedFirst)).
		Watches(&networkingv1.NetworkPolicy{}, handler.EnqueueRequestsFromMapFunc(namespaceOf), builder.WithPredicates(drifted)).
		Watches(&profile.Profile{}, behind(handler.EnqueueRequestsFromMapFunc(r.everyNamespace)), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.Service{}, behind(handler.EnqueueRequestsFromMapFunc(r.followDNS))).
		Watches(&appsv1.DaemonSet{}, behind(handler.EnqueueRequestsFromMapFunc(r.followDNS))).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: concurrency,
			ReconciliationTimeout:   onceWithin,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](firstRetry, lastRetry),
		}).
		Complete(r)
	if err != nil {
		return fmt.Errorf("set up onboarding: %w", err)
	}
	return nil
}

// drifted leaves out the first listing, which the namespaces' own first listing covers. Our own
// creations are looked at again, because the mode may have changed since.
var drifted = predicate.Funcs{CreateFunc: func(e event.CreateEvent) bool { return !e.IsInInitialList }}

// namespaceHandler notes when a namespace was first seen, for the latency metric.
func (r *Reconciler) namespaceHandler() handler.EventHandler {
	enqueue := handler.EnqueueRequestForObject{}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			if !e.IsInInitialList {
				r.arrivals.note(e.Object.GetName())
			}
			enqueue.Create(ctx, e, queue)
		},
		UpdateFunc: enqueue.Update,
		DeleteFunc: enqueue.Delete,
	}
}

func namespaceOf(_ context.Context, policy client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: policy.GetNamespace()}}}
}

// everyNamespace answers a change of what all depend on.
func (r *Reconciler) everyNamespace(ctx context.Context, cause client.Object) []reconcile.Request {
	var namespaces corev1.NamespaceList
	if err := r.client.List(ctx, &namespaces, client.UnsafeDisableDeepCopy); err != nil {
		r.config.Log.Error("namespaces could not be listed after a change", "of", cause.GetName(), "error", err)
		return nil
	}
	requests := make([]reconcile.Request, len(namespaces.Items))
	for i := range namespaces.Items {
		requests[i].Name = namespaces.Items[i].Name
	}
	return requests
}
