// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"sync"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// changes are the latest states of the objects that changed since they were last taken. They are as many as there
// are objects, at most.
type changes struct {
	mu     sync.Mutex
	latest map[netpol.Key]any // nil: the object is gone
}

func (c *changes) note(k netpol.Key, object any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.latest == nil {
		c.latest = make(map[netpol.Key]any)
	}
	c.latest[k] = object
}

func (c *changes) take() (change netpol.Change) {
	c.mu.Lock()
	latest := c.latest
	c.latest = nil
	c.mu.Unlock()
	for k, object := range latest {
		switch o := object.(type) {
		case nil:
			change.Deleted = append(change.Deleted, k)
		case *corev1.Namespace:
			change.Set.Namespaces = append(change.Set.Namespaces, o)
		case *corev1.Pod:
			change.Set.Pods = append(change.Set.Pods, o)
		case *corev1.Service:
			change.Set.Services = append(change.Set.Services, o)
		case *corev1.Node:
			change.Set.Nodes = append(change.Set.Nodes, o)
		case *networkingv1.NetworkPolicy:
			change.Set.Policies = append(change.Set.Policies, o)
		case *policyv1alpha2.ClusterNetworkPolicy:
			change.Set.ClusterPolicies = append(change.Set.ClusterPolicies, o)
		}
	}
	return change
}
