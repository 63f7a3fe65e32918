// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
)

// Entities that this package gives to addresses, beside those of the observer.
const (
	EntityHost       = "host"        // the node on which the record was taken, or a pod on its network
	EntityRemoteNode = "remote-node" // another node
	EntityService    = "service"     // a Service whose pods cannot be told
	EntityPodAddress = "pod-address" // pods had it, or can have had it unseen, and it cannot be told which one at that time
)

// EntityAPIServer is the observer's word for where the API server answers: outside of the cluster, or on a node.
// It stays, because a policy that is made of it is about the API server, not about the node.
const EntityAPIServer = "kube-apiserver"

// Words of observers for what answers on a node beside the node itself, at an address of the pods' ranges that is no pod's.
const (
	EntityIngress = "ingress" // a proxy, which clients outside come in through
	entityHealth  = "health"
)

// OfCluster reports whether an address is of the cluster itself: a node's, or the API server's.
func OfCluster(e edge.Endpoint) bool {
	switch e.Entity {
	case EntityHost, EntityRemoteNode, EntityAPIServer, EntityIngress, entityHealth:
		return true
	}
	return false
}

// named is the edge by the names in the record, nodes and Services. An end without any of them stays an
// address.
func (inv *Inventory) named(r *flows.Record) edge.Key {
	return inv.key(r, inv.end(&r.Source, r), inv.end(&r.Destination, r))
}

// key is the edge between the ends of a record.
func (inv *Inventory) key(r *flows.Record, from, to edge.Endpoint) edge.Key {
	k := edge.Key{Protocol: r.Protocol, Verdict: r.Verdict, From: from, To: to}
	if !r.Oriented {
		return k
	}
	k.Side = r.Side
	k.To, k.Port = inv.destination(to, r)
	if inv.isKubelet(k, r) {
		k.From.Entity = EntityHost
	}
	return k
}

// Settle names the workloads of an edge that was folded with less knowledge: a pod by its owner, a
// ReplicaSet or Job by what made it.
func (inv *Inventory) Settle(k edge.Key) edge.Key {
	k.From, k.To = inv.settle(k.From), inv.settle(k.To)
	return k
}

func (inv *Inventory) settle(e edge.Endpoint) edge.Endpoint {
	if up, ok := inv.between[e]; ok {
		return up
	}
	if owner, ok := inv.owner[types.NamespacedName{Namespace: e.Namespace, Name: e.Name}]; ok && e.Kind == "Pod" {
		return owner
	}
	return e
}

// Observe is what a record adds to its edge.
func Observe(r *flows.Record) edge.Observation {
	return edge.Observation{ID: r.ID, Time: r.Time, Node: r.Node, Name: r.Destination.Names}
}

// end takes the observer's word for a pod, for it was there.
func (inv *Inventory) end(e *flows.Endpoint, r *flows.Record) edge.Endpoint {
	if e.Pod != "" {
		return inv.podEnd(e, r)
	}
	if _, ok := inv.nodes[e.Addr]; ok || e.Entity == EntityHost {
		return inv.nodeEnd(e, r)
	}
	if e.Entity == flows.EntityPod {
		return edge.Endpoint{Addr: e.Addr, Entity: EntityPodAddress} // until it is known whose it was then
	}
	return edge.Endpoint{Addr: e.Addr, Entity: e.Entity}
}

// nodeEnd tells the node that the record was taken on from the others: only the first may reach
// its own pods without a rule. The API server stays what it is.
func (inv *Inventory) nodeEnd(e *flows.Endpoint, r *flows.Record) edge.Endpoint {
	entity := EntityRemoteNode
	if e.Entity == EntityAPIServer {
		entity = EntityAPIServer
	} else if node, known := inv.nodes[e.Addr]; e.Entity == EntityHost || known && node == nodeOf(r.Node) {
		entity = EntityHost
	}
	return edge.Endpoint{Addr: e.Addr, Entity: entity}
}

// nodeOf is the name of the node that a record was taken on: a relay puts the cluster's name before it.
func nodeOf(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

func (inv *Inventory) podEnd(e *flows.Endpoint, r *flows.Record) edge.Endpoint {
	if inv.learner != nil {
		return inv.learner.end(e)
	}
	name := types.NamespacedName{Namespace: e.Namespace, Name: e.Pod}
	ref, known := inv.owner[name]
	switch {
	case known:
	case e.Workload != "":
		ref = inv.ofWorkload(e)
	default:
		ref = inv.bySelector(e)
	}
	if inv.onNodes[ref.Name] { // few are: the name is looked up in less time than the workload
		if w := inv.workloads[ref]; w != nil && w.HostNetwork() {
			return inv.nodeEnd(e, r)
		}
	}
	return ref
}

// ofWorkload is the workload that the record names, or what made that. Of what is gone, its name or its pod's labels tell that: what
// comes next may be in the inventory.
func (inv *Inventory) ofWorkload(e *flows.Endpoint) edge.Endpoint {
	ref := edge.Endpoint{Kind: e.Kind, Namespace: e.Namespace, Name: e.Workload}
	if up, ok := inv.between[ref]; ok {
		return up
	}
	if inv.workloads[ref] != nil {
		return ref
	}
	if up := above(ref); inv.workloads[up] != nil {
		return up
	}
	if e.IsPassing() {
		if alike := inv.bySelector(e); inv.workloads[alike] != nil {
			return alike
		}
	}
	return ref
}

// bySelector finds the only workload whose selector matches the labels in the record; a pod
// that none or several match stays a pod.
func (inv *Inventory) bySelector(e *flows.Endpoint) edge.Endpoint {
	pod := edge.Endpoint{Kind: "Pod", Namespace: e.Namespace, Name: e.Pod}
	if len(e.Labels) == 0 {
		return pod
	}
	set := labels.Set{}
	for _, l := range e.Labels {
		if key, value, ok := strings.Cut(strings.TrimPrefix(l, "k8s:"), "="); ok {
			set[key] = value
		}
	}
	found := pod
	for _, w := range inv.selecting[e.Namespace] {
		if !w.selects.Matches(set) {
			continue
		}
		if found != pod {
			return pod
		}
		found = w.Endpoint()
	}
	return found
}
