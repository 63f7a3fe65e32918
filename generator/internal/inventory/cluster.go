// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"context"
	"fmt"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/pager"
)

type lister struct {
	what string
	list func(metav1.ListOptions) (runtime.Object, error)
}

// FromCluster reads the inventory from an API server, page by page.
func FromCluster(ctx context.Context, client kubernetes.Interface) (*Inventory, error) {
	taken := time.Now() // what is read later is of later
	objects, err := Objects(ctx, client)
	if err != nil {
		return nil, fmt.Errorf("inventory: %w", err)
	}
	return At(taken, objects), nil
}

// Objects reads the objects of the inventory from an API server, page by page. A cluster without the kinds of policies for
// the whole cluster is as good as one that has none of them.
func Objects(ctx context.Context, client kubernetes.Interface) ([]runtime.Object, error) {
	more, err := clusterPolicyListers(ctx, client)
	if err != nil {
		return nil, err
	}
	return read(ctx, append(listers(ctx, client), more...))
}

func read(ctx context.Context, listers []lister) (objects []runtime.Object, err error) {
	each := func(o runtime.Object) error {
		objects = append(objects, o)
		return nil
	}
	for _, l := range listers {
		if err := pager.New(pager.SimplePageFunc(l.list)).EachListItem(ctx, metav1.ListOptions{}, each); err != nil {
			return nil, fmt.Errorf("list %s: %w", l.what, err)
		}
	}
	return objects, nil
}

func listers(ctx context.Context, client kubernetes.Interface) []lister {
	core, apps, batch := client.CoreV1(), client.AppsV1(), client.BatchV1()
	return []lister{
		{"namespaces", func(o metav1.ListOptions) (runtime.Object, error) { return core.Namespaces().List(ctx, o) }},
		{"nodes", func(o metav1.ListOptions) (runtime.Object, error) { return core.Nodes().List(ctx, o) }},
		{"services", func(o metav1.ListOptions) (runtime.Object, error) { return core.Services("").List(ctx, o) }},
		{"endpointslices", func(o metav1.ListOptions) (runtime.Object, error) {
			o.LabelSelector = discoveryv1.LabelManagedBy + "!=endpointslice-controller.k8s.io" // those follow from selectors
			return client.DiscoveryV1().EndpointSlices("").List(ctx, o)
		}},
		{"pods", func(o metav1.ListOptions) (runtime.Object, error) { return core.Pods("").List(ctx, o) }},
		{"replicationcontrollers", func(o metav1.ListOptions) (runtime.Object, error) {
			return core.ReplicationControllers("").List(ctx, o)
		}},
		{"deployments", func(o metav1.ListOptions) (runtime.Object, error) { return apps.Deployments("").List(ctx, o) }},
		{"replicasets", func(o metav1.ListOptions) (runtime.Object, error) { return apps.ReplicaSets("").List(ctx, o) }},
		{"statefulsets", func(o metav1.ListOptions) (runtime.Object, error) { return apps.StatefulSets("").List(ctx, o) }},
		{"daemonsets", func(o metav1.ListOptions) (runtime.Object, error) { return apps.DaemonSets("").List(ctx, o) }},
		{"jobs", func(o metav1.ListOptions) (runtime.Object, error) { return batch.Jobs("").List(ctx, o) }},
		{"cronjobs", func(o metav1.ListOptions) (runtime.Object, error) { return batch.CronJobs("").List(ctx, o) }},
		{"networkpolicies", func(o metav1.ListOptions) (runtime.Object, error) {
			return client.NetworkingV1().NetworkPolicies("").List(ctx, o)
		}},
	}
}
