// SPDX-License-Identifier: Apache-2.0

// Package explain answers whether a connection is allowed, by which rule of which file, and, when it is
// denied, with which smallest change it would be allowed.
package explain

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// World is what is asked about: the objects of files or of a cluster. It is for one goroutine.
type World struct {
	Objects  netpol.Objects
	Snapshot *netpol.Snapshot
	// Faults of the policies. What has a fault never matches.
	Faults    []*netpol.ObjectError
	Inventory *inventory.Inventory
	// Locate tells where a field of an object stands, as file:line; empty: not known. Nil for a cluster.
	Locate func(o netpol.Key, path string) string

	workloads []*inventory.Workload
	owner     map[types.NamespacedName]*inventory.Workload
	madeUp    map[types.NamespacedName]bool // pods that stand for workloads without any
}

// NewWorld prepares objects for questions. A workload without a pod that runs or will run gets one made of its
// template, without an address.
func NewWorld(objs netpol.Objects, inv *inventory.Inventory) *World {
	w := &World{
		Objects: objs, Inventory: inv, workloads: inv.Workloads(),
		owner: map[types.NamespacedName]*inventory.Workload{}, madeUp: map[types.NamespacedName]bool{},
	}
	w.Objects.Pods = slices.Clone(objs.Pods)
	for _, workload := range w.workloads {
		for _, p := range workload.Pods {
			w.owner[nameOf(p)] = workload
		}
	}
	taken := map[types.NamespacedName]bool{}
	for _, p := range objs.Pods {
		taken[nameOf(p)] = true
	}
	for _, workload := range w.workloads {
		if len(live(workload)) == 0 && workload.Kind != "Pod" {
			w.standIn(workload, taken)
		}
	}
	var err error
	w.Snapshot, err = netpol.Compile(w.Objects)
	w.Faults = netpol.ObjectErrors(err)
	return w
}

// standIn makes the pod of a workload that has none. It has the workload's name, if no pod has it.
func (w *World) standIn(workload *inventory.Workload, taken map[types.NamespacedName]bool) {
	name := types.NamespacedName{Namespace: workload.Namespace, Name: workload.Name}
	if taken[name] {
		name.Name += "+" + strings.ToLower(workload.Kind)
	}
	taken[name], w.madeUp[name], w.owner[name] = true, true, workload
	w.Objects.Pods = append(w.Objects.Pods, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name, Labels: workload.Template.Labels},
		Spec:       workload.Template.Spec,
	})
}

// pods of a name: real ones only.
func (w *World) pod(name types.NamespacedName) *corev1.Pod {
	for _, p := range w.Objects.Pods {
		if nameOf(p) == name && !w.madeUp[name] {
			return p
		}
	}
	return nil
}

// named are the workloads of a name; of one kind if that is not empty.
func (w *World) named(name types.NamespacedName, kind string) (found []*inventory.Workload) {
	for _, workload := range w.workloads {
		if workload.Namespace == name.Namespace && workload.Name == name.Name && (kind == "" || strings.EqualFold(workload.Kind, kind)) {
			found = append(found, workload)
		}
	}
	return found
}

func (w *World) service(name types.NamespacedName) *corev1.Service {
	for _, svc := range w.Objects.Services {
		if nameOf(svc) == name {
			return svc
		}
	}
	return nil
}

func (w *World) node(name string) *corev1.Node {
	for _, n := range w.Objects.Nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// live are the pods of a workload that have not completed.
func live(workload *inventory.Workload) (pods []*corev1.Pod) {
	for _, p := range workload.Pods {
		if !completed(p) {
			pods = append(pods, p)
		}
	}
	return pods
}

func completed(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// representative is the pod that a workload is judged by: the first live one that has an address, else the
// first live one, else the one made of its template.
func (w *World) representative(workload *inventory.Workload) (types.NamespacedName, error) {
	pods := live(workload)
	for _, p := range pods {
		if p.Status.PodIP != "" {
			return nameOf(p), nil
		}
	}
	if len(pods) > 0 {
		return nameOf(pods[0]), nil
	}
	for name := range w.madeUp {
		if w.owner[name] == workload {
			if workload.HostNetwork() {
				return name, fmt.Errorf("%s is on its nodes' network and has no pod here, so its address is not known; give a node or an address", workload.Endpoint())
			}
			return name, nil
		}
	}
	return none, fmt.Errorf("%s: all of its pods have completed", workload.Endpoint())
}

// apart makes sure that a workload that talks to itself talks to another of its pods, and not to the same one.
func (w *World) apart(from, to *Named) {
	if to.Workload == nil || to.Workload.HostNetwork() || from.Peer.Pod != to.Peer.Pod {
		return
	}
	for _, p := range live(to.Workload) {
		if nameOf(p) != from.Peer.Pod {
			to.Peer.Pod = nameOf(p)
			return
		}
	}
	for _, p := range w.Objects.Pods {
		if nameOf(p) != from.Peer.Pod {
			continue
		}
		twin := p.DeepCopy()
		twin.Name += "+twin"
		twin.Status = corev1.PodStatus{}
		to.Peer.Pod = nameOf(twin)
		w.madeUp[to.Peer.Pod], w.owner[to.Peer.Pod] = true, to.Workload
		w.Objects.Pods = append(w.Objects.Pods, twin)
		w.Snapshot, _ = w.Snapshot.Apply(netpol.Change{Set: netpol.Objects{Pods: []*corev1.Pod{twin}}}) // a pod has no faults
		return
	}
}

// none is no pod.
var none types.NamespacedName

func nameOf(o metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}
