// SPDX-License-Identifier: Apache-2.0

// Package view shows with kubectl what onboarding does: a Bulkhead in each namespace, and the status
// of each Profile.
//
// Every replica writes, after a moment that differs from one to the other: the first to come finds
// something to write, the others find it written. So there is no leader to wait for.
package view

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/bulkhead-dev/bulkhead/policies/profile"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/profiles"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/standing"
)

const (
	// spread is the longest moment before a change is shown. Longer: less work, older news.
	spread = time.Second
	// concurrency bounds how many objects are written at once: onboarding goes first.
	concurrency = 2
	// A failed write is tried again, for ever.
	firstRetry, lastRetry = 100 * time.Millisecond, 30 * time.Second
)

// Config of the views.
type Config struct {
	Standings *standing.Board
	Profiles  *profiles.Store
	Log       *slog.Logger
}

// Add adds the two controllers to a manager.
func Add(mgr manager.Manager, config Config) error {
	bulkheads := &bulkheads{client: mgr.GetClient(), standings: config.Standings}
	profiles := &profileStatus{
		client: mgr.GetClient(), live: mgr.GetAPIReader(), standings: config.Standings,
		profiles: config.Profiles, log: config.Log,
	}
	err := builder.ControllerManagedBy(mgr).
		Named("view").
		Watches(&profile.Bulkhead{}, handler.EnqueueRequestsFromMapFunc(bulkheads.of)).
		WatchesRawSource(bulkheads.changes()).
		WithOptions(options()).
		Complete(bulkheads)
	if err != nil {
		return fmt.Errorf("set up the view: %w", err)
	}
	err = builder.ControllerManagedBy(mgr).
		Named("profiles").
		Watches(&profile.Profile{}, &handler.EnqueueRequestForObject{}).
		WatchesRawSource(profiles.changes()).
		WithOptions(options()).
		Complete(profiles)
	if err != nil {
		return fmt.Errorf("set up the status of profiles: %w", err)
	}
	return nil
}

func options() controller.Options {
	return controller.Options{
		MaxConcurrentReconciles: concurrency,
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](firstRetry, lastRetry),
	}
}

// soon is a moment that differs between replicas.
func soon() time.Duration { return rand.N(spread) }

// lost reports whether another replica was faster, whose write the cache will show.
func lost(err error) bool { return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) }
