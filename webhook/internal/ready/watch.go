// SPDX-License-Identifier: Apache-2.0

package ready

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// pageSize bounds what one check reads; a large cluster is gone through in several.
	pageSize = 500
	// maxBehind bounds how many objects are followed. One is enough to tell.
	maxBehind = 100
)

// Watch finds out whether a cache still follows the API server. It reads the objects of a kind, page by page,
// and remembers those that the cache has in another version. An object whose cached version stays that one
// past the bound was changed and the cache not told: the watch is silent.
//
// Bookmarks would be cheaper, but no API server promises when it sends one, and a replica that is unready
// because nothing happened would be worse than none. A watch that misses nothing but deletions is not found.
type Watch struct {
	Kind    schema.GroupVersionKind
	New     func() client.Object // an empty object of Kind, as it is cached
	Options []client.ListOption  // that the cache has, too; nil: all objects
	Cached  client.Reader
	Live    client.Reader // reads from the API server; also metadata only

	next   string // continues the listing; empty: from the start
	behind map[client.ObjectKey]lag
}

// lag is an object that the cache has in another version than the API server.
type lag struct {
	cached string // its resourceVersion in the cache; empty: not there
	since  time.Time
}

func (w *Watch) check(ctx context.Context, now time.Time, bound time.Duration) error {
	for key, lag := range w.behind {
		if err := w.follow(ctx, key, lag, now, bound); err != nil {
			return err
		}
	}
	return w.readPage(ctx, now)
}

// follow forgets an object of which the cache has heard since, and judges one of which it has not
// within bound.
func (w *Watch) follow(ctx context.Context, key client.ObjectKey, lag lag, now time.Time, bound time.Duration) error {
	cached, err := version(ctx, w.Cached, key, w.New())
	if err != nil {
		return err
	}
	if cached != lag.cached {
		delete(w.behind, key)
		return nil
	}
	if now.Sub(lag.since) <= bound {
		return nil
	}
	live, err := version(ctx, w.Live, key, w.metadata())
	if err != nil {
		return err
	}
	if live == cached { // it was there for a moment only
		delete(w.behind, key)
		return nil
	}
	return fmt.Errorf("%w: the watch of %s is silent: %s has version %q in the API server and %q in the cache for %s",
		errUnfit, w.Kind.Kind, key, live, cached, now.Sub(lag.since).Round(time.Second))
}

func (w *Watch) readPage(ctx context.Context, now time.Time) error {
	page := &metav1.PartialObjectMetadataList{}
	page.SetGroupVersionKind(w.Kind.GroupVersion().WithKind(w.Kind.Kind + "List"))
	options := append([]client.ListOption{client.Limit(pageSize), client.Continue(w.next)}, w.Options...)
	err := w.Live.List(ctx, page, options...)
	if apierrors.IsResourceExpired(err) {
		w.next = ""
		return nil
	}
	if apierrors.IsNotFound(err) { // the definition of a custom resource is gone: there is nothing to be told of
		return nil
	}
	if err != nil {
		return fmt.Errorf("list %s to compare with the cache: %w", w.Kind.Kind, err)
	}
	w.next = page.Continue
	for i := range page.Items {
		if err := w.compare(ctx, &page.Items[i], now); err != nil {
			return err
		}
	}
	return nil
}

func (w *Watch) compare(ctx context.Context, live *metav1.PartialObjectMetadata, now time.Time) error {
	key := client.ObjectKeyFromObject(live)
	cached, err := version(ctx, w.Cached, key, w.New())
	if err != nil || cached == live.ResourceVersion || len(w.behind) >= maxBehind {
		return err
	}
	if _, known := w.behind[key]; known {
		return nil
	}
	if w.behind == nil {
		w.behind = map[client.ObjectKey]lag{}
	}
	w.behind[key] = lag{cached, now}
	return nil
}

func (w *Watch) metadata() client.Object {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(w.Kind)
	return object
}

// version is an object's resourceVersion, empty where it does not exist.
func version(ctx context.Context, from client.Reader, key client.ObjectKey, into client.Object) (string, error) {
	if err := from.Get(ctx, key, into); apierrors.IsNotFound(err) {
		return "", nil
	} else if err != nil {
		return "", fmt.Errorf("read %s to compare it with the cache: %w", key, err)
	}
	return into.GetResourceVersion(), nil
}
