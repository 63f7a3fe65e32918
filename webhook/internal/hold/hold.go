// SPDX-License-Identifier: Apache-2.0

// Package hold keeps a pod waiting for a moment when it comes before the baseline policies of its
// namespace, so that whoever creates it does not see the refusal of the pod gate. It decides nothing:
// what comes out of the wait is judged by the gate, and without this package more first tries fail.
package hold

import (
	"context"
	"fmt"
	"sync"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

const (
	// longest wait. The API server's own limit for the call is a second.
	longest = 500 * time.Millisecond
	// maxWaiting bounds the requests that wait at a time; each is a goroutine here and a request
	// under way in the API server. What comes then passes at once.
	maxWaiting = 1000
	// behind is how much later than this process the API server may see a policy. The gate judges by
	// what the API server sees.
	behind = 25 * time.Millisecond
)

// Hold answers admission requests for pods. It allows every one, unchanged.
type Hold struct {
	policies client.Reader // from a cache

	mu      sync.Mutex
	count   int                                   // of all who wait
	waiting map[string]map[chan struct{}]struct{} // by namespace; each receives when a policy has come
	fresh   map[string]int                        // policies by namespace that the API server may not see yet
}

// New returns a Hold that follows the NetworkPolicies of the cache, which has the baseline's.
func New(ctx context.Context, policies cache.Cache) (*Hold, error) {
	h := newWaiting(policies)
	informer, err := policies.GetInformer(ctx, &networkingv1.NetworkPolicy{})
	if err != nil {
		return nil, fmt.Errorf("follow NetworkPolicies: %w", err)
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerDetailedFuncs{AddFunc: func(object any, isInInitialList bool) {
		if !isInInitialList {
			h.came(object.(*networkingv1.NetworkPolicy).Namespace)
		}
	}})
	if err != nil {
		return nil, fmt.Errorf("follow NetworkPolicies: %w", err)
	}
	return h, nil
}

func newWaiting(policies client.Reader) *Hold {
	return &Hold{policies: policies, waiting: map[string]map[chan struct{}]struct{}{}, fresh: map[string]int{}}
}

// Handle implements admission.Handler. It returns when both baseline policies of the request's
// namespace are in the cache, at the latest after half a second.
func (h *Hold) Handle(ctx context.Context, request admission.Request) admission.Response {
	if h.complete(ctx, request.Namespace) {
		return admission.Allowed("")
	}
	begin := time.Now()
	seconds.WithLabelValues(h.wait(ctx, request.Namespace)).Observe(time.Since(begin).Seconds())
	return admission.Allowed("")
}

// wait returns how it ended.
func (h *Hold) wait(ctx context.Context, namespace string) string {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	// Before the look at the cache: a policy that comes right after it is not missed.
	arrived, ok := h.enter(namespace)
	if !ok {
		return full
	}
	defer h.leave(namespace, arrived)
	for !h.complete(ctx, namespace) {
		select {
		case <-arrived:
		case <-ctx.Done():
			return timeout
		}
	}
	return complete
}

func (h *Hold) enter(namespace string) (arrived chan struct{}, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.count == maxWaiting {
		return nil, false
	}
	h.count++
	if h.waiting[namespace] == nil {
		h.waiting[namespace] = map[chan struct{}]struct{}{}
	}
	arrived = make(chan struct{}, 1)
	h.waiting[namespace][arrived] = struct{}{}
	return arrived, true
}

func (h *Hold) leave(namespace string, arrived chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count--
	delete(h.waiting[namespace], arrived)
	if len(h.waiting[namespace]) == 0 {
		delete(h.waiting, namespace)
	}
}

// came is called for each new policy. It counts once the API server will have seen it, too.
func (h *Hold) came(namespace string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fresh[namespace]++
	time.AfterFunc(behind, func() { h.settled(namespace) })
}

func (h *Hold) settled(namespace string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fresh[namespace]--; h.fresh[namespace] == 0 {
		delete(h.fresh, namespace)
	}
	for arrived := range h.waiting[namespace] {
		select {
		case arrived <- struct{}{}:
		default: // told already, and has not looked yet
		}
	}
}

func (h *Hold) isFresh(namespace string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.fresh[namespace] > 0
}

// complete reports whether both policies are in the cache, and in the API server's by now. A cache that
// cannot be read is no reason to wait.
func (h *Hold) complete(ctx context.Context, namespace string) bool {
	for _, name := range []string{baseline.DefaultDenyName, baseline.AllowDNSName} {
		err := h.policies.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &networkingv1.NetworkPolicy{})
		if apierrors.IsNotFound(err) {
			return false
		}
	}
	return !h.isFresh(namespace)
}
