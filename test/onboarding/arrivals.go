// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// settleWithin bounds how far the watch may be behind the API server.
const settleWithin = 10 * time.Second

// arrival is when the baseline policies of one namespace were created.
type arrival struct {
	versions map[string]uint64 // resourceVersion at creation, by the policy's name
	complete time.Time         // when the watch showed the second; zero: not yet
}

// arrivals are what a watch saw being created. A policy's present resourceVersion is that of its last
// change and says nothing. If the watch broke, the first seen version would be too new: a pod could
// wrongly be called early, but never wrongly in time.
type arrivals struct {
	mu       sync.Mutex
	by       map[string]*arrival // by namespace
	complete int                 // namespaces with both
	changed  chan struct{}       // closed and replaced at each new complete one
}

// watchPolicies records arrivals until ctx ends.
func watchPolicies(ctx context.Context, api kubernetes.Interface) (*arrivals, error) {
	a := &arrivals{by: map[string]*arrival{}, changed: make(chan struct{})}
	informer := informers.NewSharedInformerFactory(api, 0).Networking().V1().NetworkPolicies().Informer()
	handle, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: func(object any) {
		a.add(object.(*networkingv1.NetworkPolicy))
	}})
	if err != nil {
		return nil, err
	}
	go informer.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), handle.HasSynced) {
		return nil, ctx.Err()
	}
	return a, nil
}

func (a *arrivals) add(policy *networkingv1.NetworkPolicy) {
	version, err := strconv.ParseUint(policy.ResourceVersion, 10, 64)
	if err != nil || policy.Name != baseline.DefaultDenyName && policy.Name != baseline.AllowDNSName {
		return // without its version the policy counts as missing
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	of := a.by[policy.Namespace]
	if of == nil {
		of = &arrival{versions: map[string]uint64{}}
		a.by[policy.Namespace] = of
	}
	if _, again := of.versions[policy.Name]; again {
		return
	}
	of.versions[policy.Name] = version
	if len(of.versions) == 2 {
		of.complete = time.Now()
		a.complete++
		close(a.changed)
		a.changed = make(chan struct{})
	}
}

// of is the arrival in a namespace. ok is false unless both policies came.
func (a *arrivals) of(namespace string) (arrival, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	of := a.by[namespace]
	if of == nil || of.complete.IsZero() {
		return arrival{}, false
	}
	return *of, true
}

// until waits for so many namespaces to have both policies.
func (a *arrivals) until(ctx context.Context, complete int) error {
	return a.wait(ctx, func() bool { return a.complete >= complete })
}

// settle waits until both policies of a namespace were seen, or ought to have been.
func (a *arrivals) settle(ctx context.Context, namespace string) error {
	within, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	if err := a.wait(within, func() bool { of := a.by[namespace]; return of != nil && !of.complete.IsZero() }); err != nil {
		return ctx.Err() // nil: they did not come, which is for others to judge
	}
	return nil
}

// wait until done, which is called with the lock held.
func (a *arrivals) wait(ctx context.Context, done func() bool) error {
	for {
		a.mu.Lock()
		enough, have, changed := done(), a.complete, a.changed
		a.mu.Unlock()
		if enough {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for policies (%d namespaces have both): %w", have, ctx.Err())
		}
	}
}

// early reports whether a pod with this resourceVersion was admitted before both policies existed.
func (a *arrivals) early(namespace, podVersion string) bool {
	pod, err := strconv.ParseUint(podVersion, 10, 64)
	of, ok := a.of(namespace)
	if err != nil || !ok {
		return true
	}
	for _, policy := range of.versions {
		if pod < policy {
			return true
		}
	}
	return false
}
