// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/corpus"
)

// checkChanges holds the file against snapshots that came to the same objects by way of changes. What a
// snapshot says must not depend on how it came about, nor on what is made of it later.
func checkChanges(f *corpus.File) error {
	objects := split(f.Objects)
	if twice(objects) {
		return nil // of two objects with one name the first of a change counts
	}
	whole, _ := netpol.Compile(f.Objects)
	single, mended, all := new(netpol.Snapshot), whole, netpol.Change{Set: f.Objects}
	for _, o := range slices.Backward(objects) {
		single, _ = single.Apply(netpol.Change{Set: o.alone})
	}
	for i, o := range objects {
		without, _ := mended.Apply(netpol.Change{Deleted: []netpol.Key{o.key}})
		if err := same(f, without, compiled(slices.Concat(objects[:i], objects[i+1:]))); err != nil {
			return fmt.Errorf("%s deleted: %w", o.key, err)
		}
		mended, _ = without.Apply(netpol.Change{Set: o.alone})
		other, _ := mended.Apply(netpol.Change{Set: altered(o)})
		mended, _ = other.Apply(netpol.Change{Set: o.alone})
		if o.isPolicy() {
			live, _ := mended.Apply(netpol.Change{Set: unstaged(o)})
			mended, _ = live.Apply(netpol.Change{Set: o.alone})
			if err := same(f, mended, whole); err != nil {
				return fmt.Errorf("%s live and then as it was: %w", o.key, err)
			}
		}
		if mended, _ = mended.Apply(netpol.Change{Set: join(altered(o), o.alone)}); o.isPolicy() {
			mended, _ = mended.Apply(netpol.Change{Set: join(o.alone, altered(o))})
		}
		all.Deleted = append(all.Deleted, o.key)
	}
	replaced, _ := whole.Apply(all)
	never, _ := new(netpol.Snapshot).Apply(netpol.Change{Deleted: all.Deleted})
	if err := same(f, never, new(netpol.Snapshot)); err != nil {
		return fmt.Errorf("deleted without ever being there: %w", err)
	}
	if err := checkParts(f, whole, objects); err != nil {
		return err
	}
	for how, s := range map[string]*netpol.Snapshot{
		"object by object, the last first": single, "each deleted and given again": mended,
		"all replaced in one change": replaced, "before all changes": whole,
	} {
		if err := checkVerdicts(f, s); err != nil {
			return fmt.Errorf("%s: %w", how, err)
		}
	}
	return nil
}

// checkParts takes away some of the objects, then the others: what is left must be as if they had never
// been there.
func checkParts(f *corpus.File, whole *netpol.Snapshot, objects []object) error {
	for _, some := range []func(i int) bool{
		func(i int) bool { return i%2 == 0 }, func(i int) bool { return i%2 == 1 },
		func(i int) bool { return i < len(objects)/2 }, func(i int) bool { return i >= len(objects)/2 },
	} {
		left, rest, gone := whole, new(netpol.Snapshot), netpol.Change{}
		for i, o := range objects {
			if some(i) {
				left, _ = left.Apply(netpol.Change{Deleted: []netpol.Key{o.key}})
			} else {
				rest, _ = rest.Apply(netpol.Change{Set: o.alone})
				gone.Deleted = append(gone.Deleted, o.key)
			}
		}
		if err := same(f, left, rest); err != nil {
			return fmt.Errorf("some deleted: %w", err)
		}
		empty, _ := left.Apply(gone)
		if err := same(f, empty, new(netpol.Snapshot)); err != nil {
			return fmt.Errorf("all deleted: %w", err)
		}
	}
	return nil
}

// compiled is a snapshot of some objects, made at once.
func compiled(objects []object) *netpol.Snapshot {
	var all netpol.Objects
	for _, o := range objects {
		all = join(all, o.alone)
	}
	s, _ := netpol.Compile(all)
	return s
}

func join(a, b netpol.Objects) netpol.Objects {
	return netpol.Objects{
		Namespaces: slices.Concat(a.Namespaces, b.Namespaces), Pods: slices.Concat(a.Pods, b.Pods),
		Services: slices.Concat(a.Services, b.Services), Nodes: slices.Concat(a.Nodes, b.Nodes),
		Policies: slices.Concat(a.Policies, b.Policies), ClusterPolicies: slices.Concat(a.ClusterPolicies, b.ClusterPolicies),
	}
}

// same says where two snapshots differ about the connections of the file.
func same(f *corpus.File, a, b *netpol.Snapshot) error {
	for _, c := range f.Connections {
		if got, want := corpus.WantOf(a.Evaluate(c.Connection)), corpus.WantOf(b.Evaluate(c.Connection)); got != want {
			return fmt.Errorf("%s: got %s, want %s", c.Pos, got, want)
		}
	}
	return nil
}

// object is one object alone.
type object struct {
	key   netpol.Key
	alone netpol.Objects
}

// isPolicy: of two policies of one name in a change the first counts, of two other objects the last.
func (o *object) isPolicy() bool {
	return o.key.Kind == "NetworkPolicy" || o.key.Kind == "ClusterNetworkPolicy"
}

func split(all netpol.Objects) (objects []object) {
	add := func(kind string, o metav1.Object, alone netpol.Objects) {
		objects = append(objects, object{netpol.Key{Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName()}, alone})
	}
	for _, o := range all.Namespaces {
		add("Namespace", o, netpol.Objects{Namespaces: []*corev1.Namespace{o}})
	}
	for _, o := range all.Pods {
		add("Pod", o, netpol.Objects{Pods: []*corev1.Pod{o}})
	}
	for _, o := range all.Services {
		add("Service", o, netpol.Objects{Services: []*corev1.Service{o}})
	}
	for _, o := range all.Nodes {
		add("Node", o, netpol.Objects{Nodes: []*corev1.Node{o}})
	}
	for _, o := range all.Policies {
		add("NetworkPolicy", o, netpol.Objects{Policies: []*networkingv1.NetworkPolicy{o}})
	}
	for _, o := range all.ClusterPolicies {
		add("ClusterNetworkPolicy", o, netpol.Objects{ClusterPolicies: []*policyv1alpha2.ClusterNetworkPolicy{o}})
	}
	return objects
}

func twice(objects []object) bool {
	seen := make(map[netpol.Key]bool)
	for _, o := range objects {
		if seen[o.key] {
			return true
		}
		seen[o.key] = true
	}
	return false
}

// unstaged is the policy as it is when it is live.
func unstaged(o object) (live netpol.Objects) {
	for _, p := range o.alone.Policies {
		p = p.DeepCopy()
		p.Annotations = nil
		live.Policies = append(live.Policies, p)
	}
	for _, p := range o.alone.ClusterPolicies {
		p = p.DeepCopy()
		p.Annotations = nil
		live.ClusterPolicies = append(live.ClusterPolicies, p)
	}
	return live
}

// altered is another object of the same name, as unlike as it can be.
func altered(o object) netpol.Objects {
	meta := metav1.ObjectMeta{Namespace: o.key.Namespace, Name: o.key.Name, Labels: map[string]string{"altered": "yes"}}
	switch o.key.Kind {
	case "Namespace":
		return netpol.Objects{Namespaces: []*corev1.Namespace{{ObjectMeta: meta}}}
	case "Pod":
		return netpol.Objects{Pods: []*corev1.Pod{{ObjectMeta: meta, Status: corev1.PodStatus{PodIP: "198.51.100.1"}}}}
	case "Service":
		return netpol.Objects{Services: []*corev1.Service{{ObjectMeta: meta}}}
	case "Node":
		return netpol.Objects{Nodes: []*corev1.Node{{ObjectMeta: meta}}}
	case "NetworkPolicy":
		return netpol.Objects{Policies: []*networkingv1.NetworkPolicy{{ObjectMeta: meta}}}
	}
	return netpol.Objects{ClusterPolicies: []*policyv1alpha2.ClusterNetworkPolicy{{ObjectMeta: meta}}}
}
