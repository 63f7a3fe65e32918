// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"
)

// lookAgain is how often an API server that has no ClusterNetworkPolicies is asked whether it has them now.
const lookAgain = 30 * time.Second

var clusterPolicies = schema.GroupVersionResource{Group: policyv1alpha2.GroupName, Version: "v1alpha2", Resource: "clusternetworkpolicies"}

// optional is the kind ClusterNetworkPolicy, which a cluster need not have: it comes as a custom resource.
type optional struct {
	server *rest.RESTClient
	client dynamic.Interface
}

// served says whether the API server has the kind.
func (o *optional) served(ctx context.Context) (bool, error) {
	list := new(metav1.APIResourceList)
	err := o.server.Get().AbsPath("/apis/" + clusterPolicies.GroupVersion().String()).Timeout(greeting).Do(ctx).Into(list)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("ask the API server for ClusterNetworkPolicies: %w", err)
	}
	return slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == clusterPolicies.Resource }), nil
}

func (o *optional) source() cache.ListerWatcher {
	resource := o.client.Resource(clusterPolicies)
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return resource.List(ctx, options)
		},
		WatchFuncWithContext: resource.Watch,
	}
}

// watchClusterPolicies mirrors them while the API server has them. It calls settled, perhaps several times, when
// those that there are have been noted as changes, or it is known that there are none.
func (inv *Inventory) watchClusterPolicies(ctx context.Context, settled func()) {
	for ctx.Err() == nil {
		pause := lookAgain
		switch served, err := inv.optional.served(ctx); {
		case err != nil:
			inv.log.Warn("looking for ClusterNetworkPolicies failed, trying again", "error", err)
			pause = time.Second
		case served:
			inv.mirrorClusterPolicies(ctx, settled)
		}
		if pause == lookAgain {
			settled()
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// mirrorClusterPolicies returns when ctx ends, or when the API server does not have the kind any more: then all of
// them are gone.
func (inv *Inventory) mirrorClusterPolicies(ctx context.Context, settled func()) {
	here, cancel := context.WithCancel(ctx)
	defer cancel()
	m := newMirror(inv.optional.source(), new(unstructured.Unstructured), digest, inv.noteAs("ClusterNetworkPolicy"))
	inv.log.Info("the API server has ClusterNetworkPolicies")
	go func() {
		select {
		case <-here.Done():
		case <-m.filled:
			settled()
		}
	}()
	m.run(here, func(kind string, err error) {
		inv.watchFailed(kind, err)
		// Only who lists kinds knows that there is none: a single object, or an API server that starts, is not
		// found for other reasons too.
		if !apierrors.IsNotFound(err) {
			return
		}
		if served, err := inv.optional.served(here); err == nil && !served {
			cancel()
		}
	})
	if ctx.Err() != nil {
		return
	}
	inv.log.Info("the API server does not have ClusterNetworkPolicies any more")
	_ = m.Replace(nil, "") // nothing in it can be wrong
}

// clusterPolicy is the object in its type. One that does not fit keeps its name alone, which the policies'
// compiler reports as a fault.
func clusterPolicy(u *unstructured.Unstructured) *policyv1alpha2.ClusterNetworkPolicy {
	p := new(policyv1alpha2.ClusterNetworkPolicy)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, p); err != nil {
		p = &policyv1alpha2.ClusterNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: u.GetName()}}
		p.ResourceVersion = u.GetResourceVersion()
	}
	p.ManagedFields, p.Status = nil, policyv1alpha2.ClusterNetworkPolicyStatus{}
	p.SetGroupVersionKind(clusterPolicies.GroupVersion().WithKind("ClusterNetworkPolicy"))
	return p
}
