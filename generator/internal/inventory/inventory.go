// SPDX-License-Identifier: Apache-2.0

// Package inventory knows which workloads a cluster has, which pods are theirs, and how a
// workload's pods are selected.
package inventory

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	policyv1alpha1 "sigs.k8s.io/network-policy-api/apis/v1alpha1"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/manifest"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// Workload is what owns pods: the object that a person wrote, not the ReplicaSet or Job in between.
type Workload struct {
	Kind, Namespace, Name string
	// Selector selects the workload's pods by labels that outlive a rollout. Nil: it has no such
	// labels, and no policy can be written for it.
	Selector *metav1.LabelSelector
	// Also are other workloads whose pods Selector selects, because their labels do not differ, in phrases.
	Also []string
	// Template is what its pods are made from, as far as it says which policies select them, and their ports; used where none
	// of them is in the inventory.
	Template corev1.PodTemplateSpec
	// Pods that are in the inventory, ordered by name, as far as they say so, and their addresses. Nobody may change them.
	Pods []*corev1.Pod
	// Schedule is when a CronJob runs; nil: the workload is no CronJob.
	Schedule *Schedule

	// Advice is why a workload that was learned from flows has no selector, and what to do. Empty: it has one, or it was
	// made of objects.
	Advice string

	selects labels.Selector // Selector, compiled; nil when there is none, or it is not valid
}

// Schedule is a CronJob's, as its spec has it.
type Schedule struct {
	Cron      string // five fields, or a word such as @daily
	TimeZone  string // empty: that of the controller, which is UTC as a rule
	Suspended bool
}

// Endpoint is the workload as the end of an edge.
func (w *Workload) Endpoint() edge.Endpoint {
	return edge.Endpoint{Kind: w.Kind, Namespace: w.Namespace, Name: w.Name}
}

// HostNetwork reports whether the workload's pods share their node's network: then they have no
// identity of their own and policies do not select them.
func (w *Workload) HostNetwork() bool { return w.Template.Spec.HostNetwork }

// Inventory is immutable after it was made; one that learns, once it was concluded.
type Inventory struct {
	workloads  map[edge.Endpoint]*Workload
	selecting  map[string][]*Workload // those with a selector, by namespace
	pods       map[types.NamespacedName]*corev1.Pod
	owner      map[types.NamespacedName]edge.Endpoint // pod → workload
	between    map[edge.Endpoint]edge.Endpoint        // ReplicaSet or Job → its owner
	families   map[edge.Endpoint]edge.Endpoint        // what was made for one run → the workload that all runs are of
	history    *history                               // of the pods' addresses, by their objects; not changed after it was made
	services   *services
	nodes      map[netip.Addr]string // address → node name
	namespaces []*corev1.Namespace
	byName     map[types.NamespacedName]*corev1.Service
	daemonSets map[types.NamespacedName]*appsv1.DaemonSet
	policies   policies
	// clusterPolicies are of the whole cluster.
	clusterPolicies []ClusterPolicy
	onNodes         map[string]bool // names of workloads that share their nodes' network
	known           map[string]bool // namespaces of any object
	taken           int64           // when it was, in nanoseconds since 1970; forever: not known
	learner         *learner        // nil: the inventory does not learn (any more)
	learned         *Learned        // nil: it was made of objects
}

// FromDir reads the objects of a directory of manifests, such as the output of
// `kubectl get ns,svc,endpointslice,deploy,rs,sts,ds,job,cj,pod,node,netpol -A -o yaml`. A cluster's Git manifests
// will do too.
func FromDir(dir string) (*Inventory, error) {
	set, err := manifest.Load([]string{dir}, nil, manifest.Lenient)
	if err != nil {
		return nil, fmt.Errorf("inventory: %w", err)
	}
	if len(set.Objects) == 0 {
		return nil, fmt.Errorf("inventory: %s has no objects: give a directory with manifests in .yaml, .yml or .json files", dir)
	}
	return FromSet(set), nil
}

// FromSet makes an inventory of what was read from files.
func FromSet(set *manifest.Set) *Inventory { return New(set.Runtime()) }

// New makes an inventory of objects in any order. Objects of other kinds are ignored. With no
// objects, edges are attributed by what the flows themselves say.
//
// It is not known when the objects were read, so a pod is taken to have its address ever since it
// started: give objects that were read after the flows, or say with At when it was.
func New(objects []runtime.Object) *Inventory { return build(objects, forever) }

// At makes an inventory of objects that were read at that time. They do not tell which pod has an address
// after it.
func At(taken time.Time, objects []runtime.Object) *Inventory { return build(objects, nanos(taken)) }

func build(objects []runtime.Object, taken int64) *Inventory {
	inv := &Inventory{
		taken:      taken,
		workloads:  map[edge.Endpoint]*Workload{},
		selecting:  map[string][]*Workload{},
		pods:       map[types.NamespacedName]*corev1.Pod{},
		owner:      map[types.NamespacedName]edge.Endpoint{},
		between:    map[edge.Endpoint]edge.Endpoint{},
		history:    newHistory(),
		services:   newServices(),
		nodes:      map[netip.Addr]string{},
		byName:     map[types.NamespacedName]*corev1.Service{},
		daemonSets: map[types.NamespacedName]*appsv1.DaemonSet{},
		policies:   policies{},
		onNodes:    map[string]bool{},
		known:      map[string]bool{},
	}
	for _, o := range objects {
		inv.add(o)
	}
	pods := slices.SortedFunc(maps.Values(inv.pods), func(a, b *corev1.Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	inv.families = inv.familiesOf(pods)
	for _, p := range pods { // after the rest: owners must be known
		inv.place(p)
	}
	inv.history.settle()
	inv.policies.settle()
	byNamespace := map[string][]*Workload{}
	for _, w := range inv.workloads {
		byNamespace[w.Namespace] = append(byNamespace[w.Namespace], w)
	}
	inv.resolveServices(byNamespace)
	for _, w := range inv.workloads {
		slices.SortFunc(w.Pods, func(a, b *corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
		w.settle(byNamespace[w.Namespace])
		if w.selects != nil {
			inv.selecting[w.Namespace] = append(inv.selecting[w.Namespace], w)
		}
		if w.HostNetwork() {
			inv.onNodes[w.Name] = true
		}
	}
	slices.SortFunc(inv.namespaces, func(a, b *corev1.Namespace) int { return cmp.Compare(a.Name, b.Name) })
	return inv
}

func (inv *Inventory) add(object runtime.Object) {
	if o, err := meta.Accessor(object); err == nil {
		inv.known[o.GetNamespace()] = true
	}
	switch o := object.(type) {
	case *corev1.Namespace:
		inv.namespaces = append(inv.namespaces, o)
		inv.known[o.Name] = true
	case *corev1.Pod:
		inv.pods[nameOf(o)] = o
	case *corev1.Service:
		inv.addService(o)
	//lint:ignore SA1019 manifests that a person wrote have them
	case *corev1.Endpoints:
		inv.services.addEndpoints(o)
	case *discoveryv1.EndpointSlice:
		inv.services.addSlice(o)
	case *corev1.Node:
		inv.addNode(o)
	case *networkingv1.NetworkPolicy:
		inv.policies.add(o)
	case *policyv1alpha2.ClusterNetworkPolicy, *policyv1alpha1.AdminNetworkPolicy, *policyv1alpha1.BaselineAdminNetworkPolicy:
		p, _ := clusterPolicyOf(o)
		inv.clusterPolicies = append(inv.clusterPolicies, p)
	case *appsv1.Deployment:
		inv.addWorkload("Deployment", o, o.Spec.Selector, o.Spec.Template)
	case *appsv1.StatefulSet:
		inv.addWorkload("StatefulSet", o, o.Spec.Selector, o.Spec.Template)
	case *appsv1.DaemonSet:
		inv.daemonSets[nameOf(o)] = o
		inv.addWorkload("DaemonSet", o, o.Spec.Selector, o.Spec.Template)
	case *batchv1.CronJob:
		inv.addWorkload("CronJob", o, nil, o.Spec.JobTemplate.Spec.Template)
		inv.workloads[edge.Endpoint{Kind: "CronJob", Namespace: o.Namespace, Name: o.Name}].Schedule = &Schedule{
			Cron: o.Spec.Schedule, TimeZone: deref(o.Spec.TimeZone), Suspended: deref(o.Spec.Suspend),
		}
	case *corev1.ReplicationController:
		if o.Spec.Template != nil {
			inv.addWorkload("ReplicationController", o, &metav1.LabelSelector{MatchLabels: o.Spec.Selector}, *o.Spec.Template)
		}
	case *appsv1.ReplicaSet:
		inv.addBetween("ReplicaSet", o, o.Spec.Selector, o.Spec.Template)
	case *batchv1.Job:
		inv.addBetween("Job", o, o.Spec.Selector, o.Spec.Template)
	}
}

func (inv *Inventory) addWorkload(kind string, o metav1.Object, selector *metav1.LabelSelector, template corev1.PodTemplateSpec) {
	w := &Workload{Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName(), Selector: selector, Template: leanTemplate(template)}
	inv.workloads[w.Endpoint()] = w
}

// addBetween adds a ReplicaSet or Job: a step on the way to its owner, or a workload of its own.
func (inv *Inventory) addBetween(kind string, o metav1.Object, selector *metav1.LabelSelector, template corev1.PodTemplateSpec) {
	if owner := metav1.GetControllerOf(o); owner != nil {
		self := edge.Endpoint{Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName()}
		inv.between[self] = edge.Endpoint{Kind: owner.Kind, Namespace: o.GetNamespace(), Name: owner.Name}
		return
	}
	inv.addWorkload(kind, o, selector, template)
}

func (inv *Inventory) addService(s *corev1.Service) {
	inv.byName[nameOf(s)] = s
	inv.services.add(s)
}

func (inv *Inventory) addNode(n *corev1.Node) {
	for _, a := range n.Status.Addresses {
		if addr, err := parseAddr(a.Address); err == nil { // host names are in the same list
			inv.nodes[addr] = n.Name
		}
	}
	for _, cidr := range n.Spec.PodCIDRs {
		if p, err := netip.ParsePrefix(cidr); err == nil {
			inv.history.ranges = append(inv.history.ranges, p)
		}
	}
}

// place gives a pod to its workload and its addresses to the pod.
func (inv *Inventory) place(p *corev1.Pod) {
	ref := inv.madeBy(p)
	inv.owner[nameOf(p)] = ref
	w := inv.workloads[ref]
	if w == nil { // a bare pod, or an owner of a kind that Kubernetes does not have
		w = &Workload{
			Kind: ref.Kind, Namespace: ref.Namespace, Name: ref.Name,
			Template: leanTemplate(corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: p.Labels}, Spec: p.Spec}),
		}
		inv.workloads[ref] = w
	}
	kept := lean(p, w)
	inv.pods[nameOf(p)] = kept
	w.Pods = append(w.Pods, kept)
	if p.Spec.HostNetwork {
		return
	}
	for _, addr := range addressesOf(p) {
		inv.history.lived(addr, nameOf(p), ref, lifeOf(p, inv.taken))
	}
}

// addressesOf are a pod's addresses; nil: it has not told any. One that it has twice is one.
func addressesOf(p *corev1.Pod) (out []netip.Addr) {
	for _, ip := range append([]corev1.PodIP{{IP: p.Status.PodIP}}, p.Status.PodIPs...) {
		if addr, err := parseAddr(ip.IP); err == nil && !slices.Contains(out, addr) {
			out = append(out, addr)
		}
	}
	return out
}

// Workload returns what an endpoint stands for; nil when the inventory does not have it.
func (inv *Inventory) Workload(e edge.Endpoint) *Workload { return inv.workloads[e] }

// Workloads returns all workloads in the order of their endpoints.
func (inv *Inventory) Workloads() []*Workload {
	out := make([]*Workload, 0, len(inv.workloads))
	for _, w := range inv.workloads {
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b *Workload) int { return a.Endpoint().Compare(b.Endpoint()) })
	return out
}

// HasNamespace reports whether there is a Namespace object of this name, or anything in it.
func (inv *Inventory) HasNamespace(name string) bool { return name != "" && inv.known[name] }

// DNSSources returns the objects that tell where the cluster's DNS answers, in no order.
func (inv *Inventory) DNSSources() baseline.DNSSources {
	return baseline.DNSSources{
		Services:   slices.Collect(maps.Values(inv.byName)),
		DaemonSets: slices.Collect(maps.Values(inv.daemonSets)),
	}
}

func nameOf(o metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}
