// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/pager"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"

	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/manifest"
)

// FromCluster reads the world from an API server, page by page. A cluster without ClusterNetworkPolicies is
// as good as one that has none.
func FromCluster(ctx context.Context, client kubernetes.Interface) (*World, error) {
	inv, err := inventory.FromCluster(ctx, client)
	if err != nil {
		return nil, err
	}
	var objects []runtime.Object
	add := func(o runtime.Object) error {
		objects = append(objects, o)
		return nil
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
		if err := pager.New(pager.SimplePageFunc(l.list)).EachListItem(ctx, metav1.ListOptions{}, add); err != nil {
			return nil, fmt.Errorf("list %s: %w", l.what, err)
		}
	}
	objs := manifest.Netpol(objects)
	objs.Namespaces = inv.Namespaces()
	for _, w := range inv.Workloads() {
		objs.Pods = append(objs.Pods, w.Pods...)
	}
	return NewWorld(objs, inv), nil
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
