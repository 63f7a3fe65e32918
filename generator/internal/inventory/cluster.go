// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"context"
	"fmt"

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
	var objects []runtime.Object
	for _, l := range listers(ctx, client) {
		each := func(o runtime.Object) error {
			objects = append(objects, o)
			return nil
		}
		if err := pager.New(pager.SimplePageFunc(l.list)).EachListItem(ctx, metav1.ListOptions{}, each); err != nil {
			return nil, fmt.Errorf("inventory: list %s: %w", l.what, err)
		}
	}
	return New(objects), nil
}

func listers(ctx context.Context, client kubernetes.Interface) []lister {
	core, apps, batch := client.CoreV1(), client.AppsV1(), client.BatchV1()
	return []lister{
		{"namespaces", func(o metav1.ListOptions) (runtime.Object, error) { return core.Namespaces().List(ctx, o) }},
		{"nodes", func(o metav1.ListOptions) (runtime.Object, error) { return core.Nodes().List(ctx, o) }},
		{"services", func(o metav1.ListOptions) (runtime.Object, error) { return core.Services("").List(ctx, o) }},
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
	}
}
