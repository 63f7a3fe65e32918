// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"
)

// lookAgain is how often an API server that has no ClusterNetworkPolicies is asked whether it has them now.
const lookAgain = 30 * time.Second

var clusterPolicies = schema.GroupVersionResource{Group: policyv1alpha2.GroupName, Version: "v1alpha2", Resource: "clusternetworkpolicies"}

// optional is the kind ClusterNetworkPolicy, which a cluster need not have: it comes as a custom resource.
type optional struct {
	discovery discovery.DiscoveryInterface
	client    dynamic.Interface
}

// served says whether the API server has the kind.
func (o *optional) served() (bool, error) {
	list, err := o.discovery.ServerResourcesForGroupVersion(clusterPolicies.GroupVersion().String())
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("ask the API server for ClusterNetworkPolicies: %w", err)
	}
	for _, r := range list.APIResources {
		if r.Name == clusterPolicies.Resource {
			return true, nil
		}
	}
	return false, nil
}

func (o *optional) informer() cache.SharedIndexInformer {
	return dynamicinformer.NewFilteredDynamicInformer(o.client, clusterPolicies, metav1.NamespaceAll, 0, cache.Indexers{}, nil).Informer()
}

// watchClusterPolicies mirrors them from the time on when the API server has them.
func (inv *Inventory) watchClusterPolicies(ctx context.Context) {
	err := wait.PollUntilContextCancel(ctx, lookAgain, false, func(context.Context) (bool, error) {
		served, err := inv.optional.served()
		if err != nil {
			inv.log.Warn("looking for ClusterNetworkPolicies failed, trying again", "error", err)
		}
		return served, nil
	})
	if err != nil {
		return // ctx ended
	}
	informer := inv.optional.informer()
	if err := errors.Join(inv.quiet(informer), inv.call(informer)); err != nil {
		inv.log.Error("ClusterNetworkPolicies cannot be watched; restart the enforcer to try again", "error", err)
		return
	}
	inv.log.Info("the API server now has ClusterNetworkPolicies")
	inv.clusterPolicies.Store(&informer)
	informer.RunWithContext(ctx)
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
