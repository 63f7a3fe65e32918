// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/pager"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"

	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// FromCluster reads the world from an API server, page by page. A cluster without ClusterNetworkPolicies is
// as good as one that has none.
func FromCluster(ctx context.Context, client kubernetes.Interface) (*World, error) {
	inv, err := inventory.FromCluster(ctx, client)
	if err != nil {
		return nil, err
	}
	objs := netpol.Objects{Namespaces: inv.Namespaces()}
	for _, w := range inv.Workloads() {
		objs.Pods = append(objs.Pods, w.Pods...)
	}
	for _, l := range []struct {
		what string
		list func(metav1.ListOptions) (runtime.Object, error)
	}{
		{"services", func(o metav1.ListOptions) (runtime.Object, error) { return client.CoreV1().Services("").List(ctx, o) }},
		{"nodes", func(o metav1.ListOptions) (runtime.Object, error) { return client.CoreV1().Nodes().List(ctx, o) }},
		{"networkpolicies", func(o metav1.ListOptions) (runtime.Object, error) {
			return client.NetworkingV1().NetworkPolicies("").List(ctx, o)
		}},
		{"clusternetworkpolicies", func(o metav1.ListOptions) (runtime.Object, error) { return clusterPolicies(ctx, client, o) }},
	} {
		if err := pager.New(pager.SimplePageFunc(l.list)).EachListItem(ctx, metav1.ListOptions{}, func(o runtime.Object) error {
			add(&objs, o)
			return nil
		}); err != nil {
			return nil, fmt.Errorf("list %s: %w", l.what, err)
		}
	}
	return NewWorld(objs, inv), nil
}

func add(objs *netpol.Objects, object runtime.Object) {
	switch o := object.(type) {
	case *corev1.Service:
		objs.Services = append(objs.Services, o)
	case *corev1.Node:
		objs.Nodes = append(objs.Nodes, o)
	case *networkingv1.NetworkPolicy:
		objs.Policies = append(objs.Policies, o)
	case *policyv1alpha2.ClusterNetworkPolicy:
		objs.ClusterPolicies = append(objs.ClusterPolicies, o)
	}
}

// clusterPolicies are read without a client of their own, because most clusters do not have the API.
func clusterPolicies(ctx context.Context, client kubernetes.Interface, o metav1.ListOptions) (*policyv1alpha2.ClusterNetworkPolicyList, error) {
	list := new(policyv1alpha2.ClusterNetworkPolicyList)
	body, err := client.Discovery().RESTClient().Get().
		AbsPath("/apis", policyv1alpha2.GroupName, "v1alpha2", "clusternetworkpolicies").
		Param("limit", strconv.FormatInt(o.Limit, 10)).Param("continue", o.Continue).Do(ctx).Raw()
	if apierrors.IsNotFound(err) {
		return list, nil
	}
	if err == nil {
		err = json.Unmarshal(body, list)
	}
	return list, err
}
