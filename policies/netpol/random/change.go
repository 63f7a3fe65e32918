// SPDX-License-Identifier: Apache-2.0

package random

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Crowd adds so many namespaces, each with pods, a Service and a policy: enough for tables to grow.
func (g *Generator) Crowd(objs netpol.Objects, namespaces int) netpol.Objects {
	for n := range namespaces {
		ns := fmt.Sprintf("crowd-%d", n)
		objs.Namespaces = append(objs.Namespaces, g.namespace(ns))
		for i := range 6 {
			pod := g.pod(i)
			pod.Namespace = ns
			if g.percent(80) {
				pod.Status.PodIP, pod.Status.PodIPs = fmt.Sprintf("10.2.%d.%d", n, i), nil
			}
			objs.Pods = append(objs.Pods, pod)
		}
		np, svc := g.policy(n), g.service(n, objs.Pods[len(objs.Pods)-1])
		np.Namespace, svc.Namespace = ns, ns
		objs.Policies, objs.Services = append(objs.Policies, np), append(objs.Services, svc)
	}
	return objs
}

// Exodus deletes half of all objects or more, and sets some of them again.
func (g *Generator) Exodus(objs netpol.Objects) (c netpol.Change) {
	leave := Pick(g, 50, 90, 100)
	c.Set = filter(objs, func(k netpol.Key) bool {
		if g.percent(leave) {
			c.Deleted = append(c.Deleted, k)
			return g.percent(10)
		}
		return false
	})
	return c
}

// Change is up to four objects of any kinds, new or in the place of others, and some that are gone, or
// were never there.
func (g *Generator) Change(objs netpol.Objects) netpol.Change {
	var c netpol.Change
	for range 1 + g.IntN(4) {
		if g.percent(65) {
			g.set(&c.Set, objs)
		}
		if keys := append(Keys(objs), Keys(c.Set)...); g.percent(35) && len(keys) > 0 {
			key := Pick(g, keys...)
			if g.percent(10) {
				key.Name += "-gone"
			}
			c.Deleted = append(c.Deleted, key)
		}
	}
	c.Set = Unique(c.Set)
	return c
}

// set adds one object, half of the time in the place of another.
func (g *Generator) set(to *netpol.Objects, objs netpol.Objects) {
	replace := g.percent(50)
	switch g.IntN(7) {
	case 0:
		to.Namespaces = append(to.Namespaces, g.namespace(Pick(g, "a", "b", "c")))
	case 1:
		to.Nodes = append(to.Nodes, g.node(1+g.IntN(2)))
	case 2:
		to.Services = append(to.Services, g.otherService(objs, replace))
	case 3:
		np := g.policy(g.IntN(6))
		if replace && len(objs.Policies) > 0 {
			old := Pick(g, objs.Policies...)
			np.Namespace, np.Name = old.Namespace, old.Name
		}
		to.Policies = append(to.Policies, np)
	case 4:
		to.ClusterPolicies = append(to.ClusterPolicies, g.clusterPolicy(g.IntN(6)))
	default:
		pod := g.pod(g.IntN(8))
		if replace && len(objs.Pods) > 0 {
			old := Pick(g, objs.Pods...)
			pod.Namespace, pod.Name = old.Namespace, old.Name
		}
		to.Pods = append(to.Pods, pod)
	}
}

func (g *Generator) otherService(objs netpol.Objects, replace bool) *corev1.Service {
	pod := g.pod(g.IntN(8))
	if len(objs.Pods) > 0 {
		pod = Pick(g, objs.Pods...)
	}
	svc := g.service(g.IntN(5), pod)
	if replace && len(objs.Services) > 0 {
		old := Pick(g, objs.Services...)
		svc.Namespace, svc.Name = old.Namespace, old.Name
	}
	return svc
}

// Changed are the objects after a change.
func Changed(objs netpol.Objects, c netpol.Change) netpol.Objects {
	gone := append(slices.Clone(c.Deleted), Keys(c.Set)...)
	left := filter(objs, func(k netpol.Key) bool { return !slices.Contains(gone, k) })
	return netpol.Objects{
		Namespaces:      slices.Concat(left.Namespaces, c.Set.Namespaces),
		Nodes:           slices.Concat(left.Nodes, c.Set.Nodes),
		Pods:            slices.Concat(left.Pods, c.Set.Pods),
		Services:        slices.Concat(left.Services, c.Set.Services),
		Policies:        slices.Concat(left.Policies, c.Set.Policies),
		ClusterPolicies: slices.Concat(left.ClusterPolicies, c.Set.ClusterPolicies),
	}
}

// Unique leaves out objects whose name was given before.
func Unique(objs netpol.Objects) netpol.Objects {
	seen := map[netpol.Key]bool{}
	return filter(objs, func(k netpol.Key) bool {
		before := seen[k]
		seen[k] = true
		return !before
	})
}

func filter(objs netpol.Objects, keep func(netpol.Key) bool) netpol.Objects {
	return netpol.Objects{
		Namespaces:      kept(objs.Namespaces, namespaceKey, keep),
		Nodes:           kept(objs.Nodes, nodeKey, keep),
		Pods:            kept(objs.Pods, podKey, keep),
		Services:        kept(objs.Services, serviceKey, keep),
		Policies:        kept(objs.Policies, policyKey, keep),
		ClusterPolicies: kept(objs.ClusterPolicies, clusterPolicyKey, keep),
	}
}

func kept[T any](list []T, key func(T) netpol.Key, keep func(netpol.Key) bool) (all []T) {
	for _, object := range list {
		if keep(key(object)) {
			all = append(all, object)
		}
	}
	return all
}

// Keys name the objects, in the order of their kinds.
func Keys(objs netpol.Objects) (keys []netpol.Key) {
	filter(objs, func(k netpol.Key) bool {
		keys = append(keys, k)
		return true
	})
	return keys
}

func namespaceKey(o *corev1.Namespace) netpol.Key { return netpol.Key{Kind: "Namespace", Name: o.Name} }

func nodeKey(o *corev1.Node) netpol.Key { return netpol.Key{Kind: "Node", Name: o.Name} }

func podKey(o *corev1.Pod) netpol.Key {
	return netpol.Key{Kind: "Pod", Namespace: o.Namespace, Name: o.Name}
}

func serviceKey(o *corev1.Service) netpol.Key {
	return netpol.Key{Kind: "Service", Namespace: o.Namespace, Name: o.Name}
}

func policyKey(o *networkingv1.NetworkPolicy) netpol.Key {
	return netpol.Key{Kind: "NetworkPolicy", Namespace: o.Namespace, Name: o.Name}
}

func clusterPolicyKey(o *clusterPolicy) netpol.Key {
	return netpol.Key{Kind: "ClusterNetworkPolicy", Name: o.Name}
}
