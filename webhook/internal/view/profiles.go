// SPDX-License-Identifier: Apache-2.0

package view

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/profile"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/profiles"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/standing"
)

// maxNamed bounds how many namespaces a condition names.
const maxNamed = 5

// profileStatus keeps Bulkhead's own profiles as they are, and writes the status of all.
type profileStatus struct {
	client    client.Client // reads from caches
	live      client.Reader // reads from the API server
	standings *standing.Board
	profiles  *profiles.Store
	log       *slog.Logger
}

// changes enqueues Bulkhead's own profiles at the start, and each profile soon after a namespace of it
// has changed.
func (p *profileStatus) changes() source.Source {
	return source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		later := func(name string) {
			queue.AddAfter(reconcile.Request{NamespacedName: types.NamespacedName{Name: name}}, soon())
		}
		for _, name := range profile.ShippedNames() {
			later(name)
		}
		p.standings.Subscribe(func(_ string, now standing.Standing) { later(now.Profile) })
		return nil
	})
}

// Reconcile implements reconcile.Reconciler.
func (p *profileStatus) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	again, err := p.bring(ctx, request.Name)
	if lost(err) {
		return reconcile.Result{RequeueAfter: soon()}, nil
	}
	return reconcile.Result{RequeueAfter: again}, err
}

// bring returns after which time to look again; 0: when something changes.
func (p *profileStatus) bring(ctx context.Context, name string) (time.Duration, error) {
	if err := p.keep(ctx, name); err != nil {
		return 0, err
	}
	have := &profile.Profile{}
	if err := p.client.Get(ctx, client.ObjectKey{Name: name}, have); err != nil {
		return 0, client.IgnoreNotFound(err)
	}
	want := have.DeepCopy()
	known, err := p.report(ctx, want)
	if err != nil || !known {
		return spread, err
	}
	if equality.Semantic.DeepEqual(want.Status, have.Status) {
		return 0, nil
	}
	if err := client.IgnoreNotFound(p.client.Status().Update(ctx, want)); err != nil {
		return 0, fmt.Errorf("write the status of profile %s: %w", name, err)
	}
	return 0, nil
}

// keep makes one of Bulkhead's own profiles as it is to be.
func (p *profileStatus) keep(ctx context.Context, name string) error {
	if !profile.IsShipped(name) {
		return nil
	}
	set, err := p.profiles.Set(ctx)
	if err != nil {
		return err
	}
	want, have := set.Get(name).DeepCopy(), &profile.Profile{} // whatever is in the cluster, the set has ours
	err = p.client.Get(ctx, client.ObjectKey{Name: name}, have)
	if apierrors.IsNotFound(err) {
		if err := p.client.Create(ctx, want); err != nil {
			return fmt.Errorf("make profile %s: %w", name, err)
		}
		return nil
	}
	if err != nil || equality.Semantic.DeepEqual(have.Spec, want.Spec) {
		return err
	}
	if err := p.live.Get(ctx, client.ObjectKey{Name: name}, have); err != nil {
		return fmt.Errorf("read profile %s: %w", name, err)
	}
	have.Spec = want.Spec
	if err := p.client.Update(ctx, have); err != nil {
		return fmt.Errorf("restore profile %s: %w", name, err)
	}
	p.log.Info("profile restored", "profile", name)
	return nil
}

// report fills in the status. Nothing is known until onboarding has been through all namespaces.
func (p *profileStatus) report(ctx context.Context, of *profile.Profile) (known bool, err error) {
	set, err := p.profiles.Set(ctx)
	if err != nil {
		return false, err
	}
	var namespaces corev1.NamespaceList
	if err := p.client.List(ctx, &namespaces, client.UnsafeDisableDeepCopy); err != nil {
		return false, fmt.Errorf("list namespaces: %w", err)
	}
	held := set.Get(of.Name)
	if held == nil {
		return false, nil // the cache has it, and soon the set
	}
	var all, updated int32
	var behind []string
	for i := range namespaces.Items {
		namespace := &namespaces.Items[i]
		now, ok := p.standings.Of(namespace.Name)
		switch {
		case baseline.IsSystemNamespace(namespace.Name) || !namespace.DeletionTimestamp.IsZero():
			continue
		case !ok:
			return false, nil
		case !now.Named || now.Profile != of.Name:
			continue
		case now.Ready() && now.Generation() == held.Generation:
			updated++
		default:
			behind = append(behind, describe(namespace.Name, &now))
		}
		all++
	}
	fill(of, all, updated, behind)
	return true, nil
}

func describe(namespace string, now *standing.Standing) string {
	if now.Ready() {
		return namespace + " (not reached yet)"
	}
	return namespace + " (" + now.Message + ")"
}

func fill(of *profile.Profile, all, updated int32, behind []string) {
	status := &of.Status
	status.ObservedGeneration, status.Namespaces, status.Updated = of.Generation, all, updated
	errs := of.Validate()
	accepted := condition(profile.Accepted, len(errs) == 0, "Valid", "the profile is in use")
	if len(errs) > 0 {
		accepted.Reason, accepted.Message = "Invalid", bounded(errs.ToAggregate().Error())
	}
	rolledOut := condition(profile.RolledOut, len(behind) == 0, "UpToDate", fmt.Sprintf("%d namespaces have what the profile asks for", all))
	if len(behind) > 0 {
		slices.Sort(behind)
		rolledOut.Reason = "Progressing"
		rolledOut.Message = bounded(fmt.Sprintf("%d of %d namespaces; behind: %s", updated, all, strings.Join(behind[:min(len(behind), maxNamed)], ", ")))
	}
	accepted.ObservedGeneration, rolledOut.ObservedGeneration = of.Generation, of.Generation
	meta.SetStatusCondition(&status.Conditions, accepted)
	meta.SetStatusCondition(&status.Conditions, rolledOut)
}
