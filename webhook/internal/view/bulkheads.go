// SPDX-License-Identifier: Apache-2.0

package view

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/profile"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/standing"
)

// maxMessage bounds the message of a condition, in bytes.
const maxMessage = 1000

// bulkheads writes the Bulkhead of a namespace. Requests name the namespace.
type bulkheads struct {
	client    client.Client // reads from a cache
	standings *standing.Board
}

// changes enqueues a namespace soon after its standing changed.
func (b *bulkheads) changes() source.Source {
	return source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		b.standings.Subscribe(func(namespace string, _ standing.Standing) {
			queue.AddAfter(reconcile.Request{NamespacedName: types.NamespacedName{Name: namespace}}, soon())
		})
		return nil
	})
}

// of is for what somebody else does to a Bulkhead.
func (b *bulkheads) of(_ context.Context, object client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: object.GetNamespace()}}}
}

// Reconcile implements reconcile.Reconciler.
func (b *bulkheads) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	now, known := b.standings.Of(request.Name)
	if !known {
		return reconcile.Result{}, nil
	}
	have := &profile.Bulkhead{}
	err := b.client.Get(ctx, client.ObjectKey{Namespace: request.Name, Name: profile.BulkheadName}, have)
	if client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("read Bulkhead of %s: %w", request.Name, err)
	}
	want := have.DeepCopy()
	show(want, &now, time.Now())
	if err == nil && equality.Semantic.DeepEqual(want, have) {
		return reconcile.Result{}, nil
	}
	if err == nil {
		err = b.client.Update(ctx, want)
	} else {
		want.Namespace, want.Name = request.Name, profile.BulkheadName
		err = b.client.Create(ctx, want)
	}
	if lost(err) {
		return reconcile.Result{RequeueAfter: soon()}, nil
	}
	if apierrors.IsNotFound(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return reconcile.Result{}, nil // the namespace goes away, and this with it
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("write Bulkhead of %s: %w", request.Name, err)
	}
	return reconcile.Result{}, nil
}

// show writes the standing into a Bulkhead. What did not change keeps its times.
func show(bulkhead *profile.Bulkhead, now *standing.Standing, at time.Time) {
	if bulkhead.Labels == nil {
		bulkhead.Labels = map[string]string{}
	}
	bulkhead.Labels["app.kubernetes.io/part-of"] = "bulkhead"
	status := &bulkhead.Status
	if status.Mode != now.Mode || status.Profile != now.Profile || status.Since.IsZero() {
		status.Since = metav1.NewTime(at).Rfc3339Copy()
	}
	status.Mode, status.Profile = now.Mode, now.Profile
	status.Summary, status.Policies = now.Summary(), now.Policies
	for _, condition := range conditions(now) {
		meta.SetStatusCondition(&status.Conditions, condition)
	}
}

func conditions(now *standing.Standing) []metav1.Condition {
	ready := condition(profile.Ready, now.Ready(), "InPlace", "the namespace has what its mode and profile ask for")
	if !now.Ready() {
		ready.Reason, ready.Message = now.Reason, bounded(now.Message)
	}
	dns := condition(profile.DNSFound, now.DNS.Assumed == "", "Found", "policy "+baseline.AllowDNSName+" allows the cluster's DNS")
	switch {
	case now.DNS.Assumed != "":
		dns.Reason, dns.Message = "NotFound", "policy "+baseline.AllowDNSName+" allows the usual DNS pods: "+now.DNS.Assumed
	case len(now.DNS.Pods) == 0:
		dns.Status, dns.Reason, dns.Message = metav1.ConditionUnknown, "NotNeeded", "mode "+now.Mode+" has no policies"
	}
	matches := condition(profile.ProfileMatches, true, "Named", "the profile is the one that the namespace names")
	switch {
	case now.Held == nil:
		matches.Status, matches.Reason, matches.Message = metav1.ConditionFalse, "NotFound", "there is no profile "+now.Profile
	case now.Selected == now.Profile:
		matches.Reason, matches.Message = "Selected", "the profile selects the namespace"
	case now.Held.Spec.NamespaceSelector != nil:
		matches.Status, matches.Reason = metav1.ConditionFalse, "AnotherSelects"
		matches.Message = fmt.Sprintf("profile %s selects the namespace now: to move it, set label %s=%s", now.Selected, baseline.LabelProfile, now.Selected)
	}
	return []metav1.Condition{ready, dns, matches}
}

func condition(kind string, holds bool, reason, message string) metav1.Condition {
	status := metav1.ConditionFalse
	if holds {
		status = metav1.ConditionTrue
	}
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: bounded(message)}
}

// bounded cuts a message that nobody would read to its end.
func bounded(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	return strings.ToValidUTF8(message[:maxMessage], "") + " …"
}
