// SPDX-License-Identifier: Apache-2.0

package onboard

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// Pods of a namespace without its policies are refused, so it must not wait behind thousands that are
// merely looked at again. The queue hands out what has the highest priority: 0 is for what happens to
// single namespaces, handler.LowPriority for the first listing and for what concerns all of them.

// unprotectedFirst is a source.Func of the namespaces that lack a policy when the process starts: those
// that were made while nobody was there, or when the last process was killed.
func (r *Reconciler) unprotectedFirst(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	names, err := r.unprotected(ctx)
	for _, name := range names {
		r.arrivals.note(name) // as a new one: the cache is fresh, no need to ask the API server as well
		queue.Add(reconcile.Request{NamespacedName: types.NamespacedName{Name: name}})
	}
	return err
}

// unprotected asks only whether the two baseline policies are there. What they say is looked at in turn.
// The first list from a cache waits until it is filled.
func (r *Reconciler) unprotected(ctx context.Context) (names []string, err error) {
	var policies networkingv1.NetworkPolicyList
	if err := r.client.List(ctx, &policies, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list NetworkPolicies: %w", err)
	}
	there := make(map[types.NamespacedName]bool, len(policies.Items))
	for i := range policies.Items {
		there[client.ObjectKeyFromObject(&policies.Items[i])] = true
	}
	var namespaces corev1.NamespaceList
	if err := r.client.List(ctx, &namespaces, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	for i := range namespaces.Items {
		name := namespaces.Items[i].Name
		mode, err := baseline.ModeOf(namespaces.Items[i].Labels)
		complete := there[types.NamespacedName{Namespace: name, Name: baseline.DefaultDenyName}] &&
			there[types.NamespacedName{Namespace: name, Name: baseline.AllowDNSName}]
		if err == nil && mode.NeedsBaseline() && !complete {
			names = append(names, name)
		}
	}
	return names, nil
}

// behind has what h enqueues wait for what happens to single namespaces.
func behind(h handler.EventHandler) handler.EventHandler {
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			h.Create(ctx, e, lastInLine{queue.(priorityqueue.PriorityQueue[reconcile.Request])})
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			h.Update(ctx, e, lastInLine{queue.(priorityqueue.PriorityQueue[reconcile.Request])})
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			h.Delete(ctx, e, lastInLine{queue.(priorityqueue.PriorityQueue[reconcile.Request])})
		},
	}
}

// lastInLine is a queue for whoever does not say a priority.
type lastInLine struct {
	priorityqueue.PriorityQueue[reconcile.Request]
}

// Add implements workqueue.TypedInterface.
func (q lastInLine) Add(request reconcile.Request) {
	q.AddWithOpts(priorityqueue.AddOpts{Priority: ptr.To(handler.LowPriority)}, request)
}
