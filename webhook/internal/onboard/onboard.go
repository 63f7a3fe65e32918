// SPDX-License-Identifier: Apache-2.0

// Package onboard gives every namespace in mode audit or enforce its two baseline policies and those
// of its profile, restores them when somebody changes them, and takes them away again in mode observe.
//
// Everything is read from caches, policies are applied at the same time, and there is no
// leader: all replicas apply the same content, so the second to come changes nothing, and a
// namespace never waits for a lease.
package onboard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/profiles"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/standing"
)

// reasonContested says that a restoration waits, because somebody undoes it each time.
const reasonContested = "Contested"

// maxNote is the longest text of an Event that the API server takes, in bytes.
const maxNote = 1000

// Config of the controller.
type Config struct {
	DNS       *DNS
	Profiles  *profiles.Store
	Standings *standing.Board // is told of every namespace
	Log       *slog.Logger
}

// Reconciler brings one namespace to the state that its mode and profile ask for.
type Reconciler struct {
	config   Config
	client   client.Client // reads from caches
	live     client.Reader // reads from the API server
	recorder events.EventRecorder
	arrivals *arrivals
	contests *contests

	following following
}

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	namespace := &corev1.Namespace{}
	err := r.client.Get(ctx, request.NamespacedName, namespace)
	if apierrors.IsNotFound(err) || err == nil && !namespace.DeletionTimestamp.IsZero() {
		r.arrivals.forget(request.Name)
		r.contests.forget(request.Name)
		r.config.Standings.Forget(request.Name)
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("read namespace %s: %w", request.Name, err)
	}
	if baseline.IsSystemNamespace(namespace.Name) {
		return reconcile.Result{}, nil
	}
	now, err := r.bring(ctx, namespace)
	if later := (*contested)(nil); errors.As(err, &later) {
		now.Fail(reasonContested, later.Error())
		r.config.Standings.Note(namespace.Name, now)
		r.event(namespace, corev1.EventTypeWarning, reasonContested, "Apply", "%v", later)
		return reconcile.Result{RequeueAfter: later.wait}, nil
	}
	if err != nil {
		now.Fail("BaselineFailed", err.Error())
		r.event(namespace, corev1.EventTypeWarning, "BaselineFailed", "Apply", "policies could not be brought in place: %v", err)
		err = fmt.Errorf("onboard namespace %s: %w", namespace.Name, err)
	}
	r.config.Standings.Note(namespace.Name, now)
	return reconcile.Result{}, err
}

// bring returns where the namespace stands afterwards, also with an error.
func (r *Reconciler) bring(ctx context.Context, namespace *corev1.Namespace) (standing.Standing, error) {
	set, err := r.config.Profiles.Set(ctx)
	if err != nil {
		return standing.Standing{}, err
	}
	now := standing.Of(namespace, set)
	mode, err := baseline.ModeOf(namespace.Labels)
	if err != nil {
		// Nothing is changed: neither "more" nor "less" is known to be meant.
		now.Fail("UnknownMode", err.Error())
		r.event(namespace, corev1.EventTypeWarning, "UnknownMode", "Read", "%v", err)
		return now, nil
	}
	if mode.NeedsBaseline() {
		err = r.ensure(ctx, namespace, &now)
	} else {
		err = r.remove(ctx, namespace)
	}
	return now, err
}

// ensure applies what is missing or changed and deletes what the profile has no more. Default-deny and
// DNS come first: pods wait for them.
func (r *Reconciler) ensure(ctx context.Context, namespace *corev1.Namespace, now *standing.Standing) error {
	targets, err := r.config.DNS.Targets(ctx)
	if err != nil {
		return err
	}
	now.DNS = targets
	v := &visit{namespace: namespace, now: now, fresh: r.arrivals.waits(namespace.Name)}
	before, known := r.config.Standings.Of(namespace.Name)
	if v.restores = known && (before.Ready() || before.Reason == reasonContested) && before.AsksForTheSame(now); v.restores {
		v.wait = r.contests.wait(namespace.Name, time.Now())
	}
	applied, err := r.applyStale(ctx, v, baseline.DefaultDeny(namespace.Name), baseline.DNS(namespace.Name, targets))
	if err != nil {
		return err
	}
	r.arrivals.settle(namespace.Name, len(applied) > 0)
	extra, rendered := r.ofProfile(namespace, now)
	more, err := r.applyStale(ctx, v, extra...)
	if err != nil {
		return err
	}
	surplus := 0
	if rendered {
		if surplus, err = r.removeAllBut(ctx, v, now.Policies); err != nil {
			return err
		}
	}
	slices.Sort(now.Policies)
	r.tell(v, append(applied, more...), surplus)
	return nil
}

// ofProfile renders the profile's own policies. Where that cannot be done they are not known, and those
// that are there stay as they are.
func (r *Reconciler) ofProfile(namespace *corev1.Namespace, now *standing.Standing) (policies []*networkingv1.NetworkPolicy, known bool) {
	if now.Held == nil {
		now.Fail("ProfileNotFound", fmt.Sprintf("there is no profile %s: create it, or set label %s to another", now.Profile, baseline.LabelProfile))
	} else if len(now.Invalid) > 0 {
		now.Fail("ProfileInvalid", fmt.Sprintf("profile %s: %v", now.Profile, now.Invalid.ToAggregate()))
	} else if rendered, err := now.Held.Render(namespace); err != nil {
		now.Fail("ProfileFailed", err.Error())
	} else {
		return rendered, true
	}
	r.event(namespace, corev1.EventTypeWarning, now.Reason, "Render", "%s", now.Message)
	return nil, false
}

// tell reports what was done. Policies that had been in place as they are wanted now were changed or
// deleted by somebody.
func (r *Reconciler) tell(v *visit, applied []string, surplus int) {
	if len(applied)+surplus == 0 {
		return
	}
	namespace, now := v.namespace, v.now
	reason, kind := "BaselineInPlace", corev1.EventTypeNormal
	if v.restores {
		reason, kind = "BaselineRestored", corev1.EventTypeWarning
		r.contests.restored(namespace.Name, time.Now())
	}
	r.config.Log.Info("policies in place", "namespace", namespace.Name, "mode", now.Mode, "profile", now.Profile,
		"applied", applied, "removed", surplus, "reason", reason)
	r.event(namespace, kind, reason, "Apply", "policies applied: %s; others removed: %d (mode %s, profile %s)",
		strings.Join(applied, ", "), surplus, now.Mode, now.Profile)
	if now.DNS.Assumed != "" {
		r.event(namespace, corev1.EventTypeWarning, "DNSNotFound", "Apply", "policy %s allows the usual DNS pods: %s", baseline.AllowDNSName, now.DNS.Assumed)
	}
}

func (r *Reconciler) remove(ctx context.Context, namespace *corev1.Namespace) error {
	r.arrivals.forget(namespace.Name)
	removed, err := r.removeAllBut(ctx, &visit{namespace: namespace}, nil)
	if removed > 0 {
		r.config.Log.Info("policies removed", "namespace", namespace.Name, "removed", removed)
		r.event(namespace, corev1.EventTypeNormal, "BaselineRemoved", "Delete", "mode is observe: %d policies of Bulkhead removed", removed)
	}
	return err
}

func (r *Reconciler) event(namespace *corev1.Namespace, kind, reason, action, format string, args ...any) {
	note := fmt.Sprintf(format, args...)
	r.recorder.Eventf(namespace, nil, kind, reason, action, "%s", strings.ToValidUTF8(note[:min(len(note), maxNote)], ""))
}
