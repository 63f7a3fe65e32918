// SPDX-License-Identifier: Apache-2.0

package register

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bulkhead-dev/bulkhead/webhook/internal/certs"
)

const (
	fieldOwner = client.FieldOwner("bulkhead-webhook")
	// configName is the name of both webhook configurations in the chart.
	configName = "bulkhead-webhook"
	// lastBinding is that of the policy that refuses modes which do not exist.
	lastBinding = "bulkhead-namespace-mode"
	// checkEvery bounds how long objects that were made again, or whose caBundle somebody
	// overwrote, stay without ours. New namespaces are refused until then.
	checkEvery = 3 * time.Second
	// applyWithin bounds the attempts to apply one object.
	applyWithin = 5 * time.Second
	// injectWithin bounds one look at the caBundles.
	injectWithin = 10 * time.Second
	// leaveWithin bounds the removal of our objects when the process ends.
	leaveWithin = 10 * time.Second
)

// Config of the registration.
type Config struct {
	Client    client.Client // reads from the API server, not from a cache
	Namespace string        // of Bulkhead
	// URL at which the API server reaches this process, e.g. https://127.0.0.1:9443. Empty: the
	// objects and a Service are there already, and only their caBundle is kept.
	URL   string
	Certs *certs.Certificates // is told what the caBundles contain
	Log   *slog.Logger
}

// Registration is the state of our objects in the cluster.
type Registration struct {
	config Config
	done   atomic.Bool
}

// New prepares a registration. Nothing is written before Run.
func New(config Config) *Registration { return &Registration{config: config} }

// Ready is a readiness check: nil once the API server can call us.
func (r *Registration) Ready(*http.Request) error {
	if !r.done.Load() {
		return errors.New("admission objects have no caBundle of ours yet")
	}
	return nil
}

// Run registers and keeps the caBundle current until ctx ends. Objects that it registered by URL are
// deleted before it returns: nobody would answer there any more.
func (r *Registration) Run(ctx context.Context) (err error) {
	if r.config.URL != "" {
		defer func() { err = errors.Join(err, r.leave(ctx)) }()
		if err := r.apply(ctx); err != nil {
			return err
		}
	}
	ticker := time.NewTicker(checkEvery)
	defer ticker.Stop()
	last := ""
	for {
		last = r.attempt(ctx, last)
		select {
		case <-ctx.Done():
			return nil
		case <-r.config.Certs.Changed():
		case <-ticker.C:
		}
	}
}

// attempt injects once and returns what went wrong; it is logged when it is another failure than last.
func (r *Registration) attempt(ctx context.Context, last string) string {
	ctx, cancel := context.WithTimeout(ctx, injectWithin)
	defer cancel()
	err := r.inject(ctx)
	if err == nil {
		return ""
	}
	if err.Error() != last && !errors.Is(ctx.Err(), context.Canceled) {
		r.config.Log.Error("caBundle not written, trying again until it is", "error", err)
	}
	return err.Error()
}

func (r *Registration) apply(ctx context.Context) error {
	objects, err := Objects(r.config.Namespace)
	if err != nil {
		return err
	}
	slices.SortStableFunc(objects, bindingsLast)
	url := strings.TrimSuffix(r.config.URL, "/")
	for _, object := range objects {
		if err := byURL(object, url, base64.StdEncoding.EncodeToString(r.config.Certs.CA())); err != nil {
			return fmt.Errorf("chart object %s: %w", describe(object), err)
		}
		if err := r.applyOne(ctx, object); err != nil {
			return fmt.Errorf("register %s: %w (the user needs the ClusterRole bulkhead-webhook-register)", describe(object), err)
		}
	}
	r.config.Log.Info("registered", "url", r.config.URL, "objects", len(objects))
	return nil
}

// applyOne tries again for a while: the API server checks a binding against its own cache of
// policies, which learns of a policy a moment after it was created.
func (r *Registration) applyOne(ctx context.Context, object *unstructured.Unstructured) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, applyWithin, true, func(ctx context.Context) (bool, error) {
		applied := client.ApplyConfigurationFromUnstructured(object.DeepCopy())
		last = r.config.Client.Apply(ctx, applied, fieldOwner, client.ForceOwnership)
		if apierrors.IsInvalid(last) {
			return false, nil
		}
		return true, last
	})
	if last != nil {
		return last
	}
	return err
}

// bindingsLast is the order in which objects are applied. API servers begin to act on bindings about once
// a second, on all that they have heard of by then. That of the mode comes last: whoever sees that
// modes are checked knows that pods are.
func bindingsLast(a, b *unstructured.Unstructured) int {
	rank := func(object *unstructured.Unstructured) int {
		switch {
		case object.GetKind() != "ValidatingAdmissionPolicyBinding":
			return 0
		case object.GetName() != lastBinding:
			return 1
		}
		return 2
	}
	return rank(a) - rank(b)
}

// leave runs after ctx has ended, so it takes a deadline of its own.
func (r *Registration) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveWithin)
	defer cancel()
	objects, err := Objects(r.config.Namespace)
	if err != nil {
		return err
	}
	return remove(ctx, r.config.Client, objects, func(removed *unstructured.Unstructured) {
		r.config.Log.Info("unregistered", "object", describe(removed))
	})
}

// inject writes the caBundle where it is not ours, and tells the certificates what it is now. It never
// creates an object: one that is gone was taken away by somebody who meant it.
func (r *Registration) inject(ctx context.Context) error {
	ca := r.config.Certs.CA()
	validating := &admissionv1.ValidatingWebhookConfiguration{}
	mutating := &admissionv1.MutatingWebhookConfiguration{}
	err := errors.Join(
		r.patch(ctx, validating, func() (changed bool) {
			for i := range validating.Webhooks {
				changed = setBundle(&validating.Webhooks[i].ClientConfig, ca) || changed
			}
			return changed
		}),
		r.patch(ctx, mutating, func() (changed bool) {
			for i := range mutating.Webhooks {
				changed = setBundle(&mutating.Webhooks[i].ClientConfig, ca) || changed
			}
			return changed
		}),
	)
	if err != nil {
		r.config.Certs.Published(nil)
		return err
	}
	r.config.Certs.Published(ca)
	r.done.Store(true)
	return nil
}

// patch begins anew when somebody else has written in between: another replica, with another authority perhaps.
func (r *Registration) patch(ctx context.Context, object client.Object, edit func() bool) error {
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		err := r.config.Client.Get(ctx, client.ObjectKey{Name: configName}, object)
		if err != nil {
			return fmt.Errorf("read %T %s: %w", object, configName, err)
		}
		before := object.DeepCopyObject().(client.Object)
		if !edit() {
			return nil
		}
		unchanged := client.StrategicMergeFrom(before, client.MergeFromWithOptimisticLock{})
		if err := r.config.Client.Patch(ctx, object, unchanged); err != nil {
			return fmt.Errorf("write caBundle of %T %s: %w", object, configName, err)
		}
		r.config.Log.Info("caBundle written", "object", fmt.Sprintf("%T %s", object, configName))
		return nil
	})
}

func setBundle(config *admissionv1.WebhookClientConfig, ca []byte) (changed bool) {
	bundle := certs.Bundle(config.CABundle, ca, time.Now())
	changed = !bytes.Equal(bundle, config.CABundle)
	config.CABundle = bundle
	return changed
}

// CABundle returns the caBundle of the first webhook that refuses, PEM; empty: API servers trust the
// authorities of their machine.
func CABundle(ctx context.Context, from client.Reader) ([]byte, error) {
	found := &admissionv1.ValidatingWebhookConfiguration{}
	if err := from.Get(ctx, client.ObjectKey{Name: configName}, found); err != nil {
		return nil, fmt.Errorf("read %T %s: %w", found, configName, err)
	}
	if len(found.Webhooks) == 0 {
		return nil, fmt.Errorf("%T %s has no webhooks", found, configName)
	}
	return found.Webhooks[0].ClientConfig.CABundle, nil
}

func describe(object *unstructured.Unstructured) string {
	return object.GetKind() + " " + object.GetName()
}
