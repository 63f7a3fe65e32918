// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
)

// source is where the objects of one kind come from.
type source struct {
	kind   string
	object runtime.Object // one of the kind
	list   func(context.Context, metav1.ListOptions) (runtime.Object, error)
	watch  func(context.Context, metav1.ListOptions) (watch.Interface, error)
}

// sources are the kinds that can come and go between two inventories and tell whose an address was.
func sources(client kubernetes.Interface) []source {
	pods, services, jobs := client.CoreV1().Pods(""), client.CoreV1().Services(""), client.BatchV1().Jobs("")
	return []source{
		{inventory.Pods, new(corev1.Pod), func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return pods.List(ctx, o) }, pods.Watch},
		{inventory.Services, new(corev1.Service), func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return services.List(ctx, o)
		}, services.Watch},
		{inventory.Jobs, new(batchv1.Job), func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return jobs.List(ctx, o) }, jobs.Watch},
	}
}

// watch tells the tracker what comes and goes, until the context ends.
func (s *server) watch(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	for _, from := range sources(s.client) {
		all.Go(func() { s.watchKind(ctx, from) })
	}
}

// watchKind begins a watch that failed again, ever later up to maxBackoff.
func (s *server) watchKind(ctx context.Context, from source) {
	lists := &cache.ListWatch{WatchFuncWithContext: from.watch, ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		if o.ResourceVersion == "0" { // which can be of long ago
			o.ResourceVersion = ""
		}
		return from.list(ctx, o)
	}}
	r := cache.NewReflectorWithOptions(cache.ToListWatcherWithWatchListSemantics(lists, s.client), from.object, &feed{from.kind, s.seen, s.meter.watchUp.WithLabelValues(from.kind)}, cache.ReflectorOptions{})
	again := wait.Backoff{Duration: minBackoff, Factor: 2, Jitter: 1, Steps: 10, Cap: maxBackoff}
	_ = again.DelayWithReset(clock.RealClock{}, 2*time.Minute).Until(ctx, true, true, func(ctx context.Context) (bool, error) {
		err := r.ListAndWatchWithContext(ctx)
		s.meter.watchUp.WithLabelValues(from.kind).Set(0)
		if err != nil && ctx.Err() == nil {
			s.meter.watchFailures.WithLabelValues(from.kind).Inc()
			s.cfg.Log.Warn("watching the API server failed, trying again: meanwhile addresses that could be pods' are not taken for external ones", "kind", from.kind, "error", err)
		}
		return false, nil
	})
}

// feed hands the objects of one kind on and keeps none. It is the store of a cache.Reflector.
type feed struct {
	kind string
	seen *observations
	up   prometheus.Gauge
}

// Add is for the Reflector, as are the methods below.
func (f *feed) Add(object any) error { return f.Update(object) }

// Update hands on how an object is now.
func (f *feed) Update(object any) error {
	f.seen.watched(func(t *inventory.Tracker, now time.Time) { t.See(object, false, now) })
	return nil
}

// Delete hands on how an object was at last.
func (f *feed) Delete(object any) error {
	f.seen.watched(func(t *inventory.Tracker, now time.Time) { t.See(object, true, now) })
	return nil
}

// Replace says that these are all objects: the watch began, or began anew.
func (f *feed) Replace(objects []any, _ string) error {
	f.seen.watched(func(t *inventory.Tracker, now time.Time) { t.Begin(f.kind, objects, now) })
	f.up.Set(1)
	return nil
}

// Bookmark says that everything was told.
func (f *feed) Bookmark(string) error {
	f.seen.watched(func(t *inventory.Tracker, now time.Time) { t.Beat(f.kind, now) })
	return nil
}

// Resync does nothing: nothing is kept.
func (f *feed) Resync() error { return nil }

// Transformer makes the Reflector keep little of each object while it collects the first of them.
func (f *feed) Transformer() cache.TransformFunc {
	return func(object any) (any, error) { return inventory.Trim(object), nil }
}
