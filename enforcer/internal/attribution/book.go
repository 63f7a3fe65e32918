// SPDX-License-Identifier: Apache-2.0

package attribution

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	flowpb "github.com/cilium/cilium/api/v1/flow"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/names"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// OwnerFunc finds the controller of a ReplicaSet or Job, as inventory.Inventory.Owner does.
type OwnerFunc func(kind, namespace, name string) (owner *metav1.OwnerReference, known bool)

// Book knows who had which address and interface at which time, and the rules of policy sets. It is safe for
// concurrent use.
type Book struct {
	node    string
	ownerOf OwnerFunc

	mu         sync.Mutex
	pods       map[types.NamespacedName]*resident
	addresses  directory[netip.Addr]
	interfaces directory[uint32]
	local      map[uint32]types.NamespacedName // by interface, as they are now
	nodes      map[netip.Addr]string           // node name by address
	own        map[netip.Addr]bool             // addresses of this node, those of its interfaces included
	services   services
	names      names.Cache // by interface
	sets       policySets
	tidied     time.Time // when what is long past was forgotten
}

// NewBook returns an empty book for the node of that name.
func NewBook(node string, ownerOf OwnerFunc) *Book {
	return &Book{
		node: node, ownerOf: ownerOf,
		pods: make(map[types.NamespacedName]*resident), addresses: directory[netip.Addr]{}, interfaces: directory[uint32]{},
		sets: policySets{}, services: services{make(map[entrance][]lease), make(map[types.NamespacedName][]entrance)},
	}
}

// Pods writes down pods that are new or changed, and those that are gone, as of now. The objects are only
// read, and their labels kept.
func (b *Book) Pods(changed []*corev1.Pod, gone []types.NamespacedName, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range gone {
		b.move(name, nil, now)
	}
	for _, p := range changed {
		b.move(types.NamespacedName{Namespace: p.Namespace, Name: p.Name}, p, now)
	}
	if now.Sub(b.tidied) > remember/5 {
		b.tidied = now
		b.addresses.forget(now)
		b.interfaces.forget(now)
		b.services.forget(now)
		b.names.Tidy(now.Add(-remember))
	}
}

// Nodes writes down all nodes of the cluster.
func (b *Book) Nodes(nodes map[string]*corev1.Node) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nodes = nodeAddresses(nodes)
}

// Addresses writes down this node's own, those of its interfaces included.
func (b *Book) Addresses(own []netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.own = make(map[netip.Addr]bool, len(own))
	for _, addr := range own {
		b.own[addr] = true
	}
}

// Interfaces writes down which local pod is behind which interface, as of now.
func (b *Book) Interfaces(local map[uint32]types.NamespacedName, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ifindex, name := range b.local {
		if local[ifindex] == name {
			continue
		}
		b.names.Gone(ifindex, now)
		if r := b.pods[name]; r != nil {
			b.interfaces.end(ifindex, r, now)
		}
	}
	b.local = local
	for ifindex, name := range local {
		if r := b.pods[name]; r != nil {
			b.interfaces.begin(ifindex, r, now)
		}
	}
}

// move puts what is now called name in the place of what was; p is nil when there is nothing.
func (b *Book) move(name types.NamespacedName, p *corev1.Pod, now time.Time) {
	var r *resident // nil: nobody has addresses under this name
	if p != nil && netpol.HasIdentity(p) {
		r = newResident(p)
	}
	before := b.pods[name]
	if before != nil {
		for _, addr := range before.addrs {
			if r == nil || r.uid != before.uid || !slices.Contains(r.addrs, addr) {
				b.addresses.end(addr, before, now)
			}
		}
	}
	if r == nil {
		b.leave(name, before, now)
		return
	}
	b.pods[name] = r
	for _, addr := range r.addrs {
		b.addresses.begin(addr, r, now)
	}
	for ifindex, local := range b.local {
		if local == name {
			b.interfaces.begin(ifindex, r, now)
		}
	}
}

func (b *Book) leave(name types.NamespacedName, r *resident, now time.Time) {
	if r == nil {
		return
	}
	delete(b.pods, name)
	for ifindex, local := range b.local {
		if local == name {
			b.interfaces.end(ifindex, r, now)
		}
	}
}

// describe is what flows say of a pod.
func (b *Book) describe(r *resident) *flowpb.Endpoint {
	if r.endpoint != nil {
		return r.endpoint
	}
	workload, final := b.workload(r)
	e := &flowpb.Endpoint{
		Namespace: r.name.Namespace,
		PodName:   r.name.Name,
		Labels:    flowLabels(r.labels),
		Workloads: []*flowpb.Workload{workload},
	}
	if final {
		r.endpoint = e
	}
	return e
}

// flowLabels writes labels as Hubble does, sorted.
func flowLabels(labels map[string]string) []string {
	list := make([]string, 0, len(labels))
	for key, value := range labels {
		list = append(list, "k8s:"+key+"="+value)
	}
	slices.Sort(list)
	return list
}

// workload follows the controllers up: ReplicaSet to Deployment, Job to CronJob. A pod without a
// controller is its own workload. It is not final while a controller is still unknown.
func (b *Book) workload(r *resident) (w *flowpb.Workload, final bool) {
	c := r.controller
	if c == (controller{}) {
		return &flowpb.Workload{Name: r.name.Name, Kind: "Pod"}, true
	}
	w = &flowpb.Workload{Name: c.name, Kind: c.kind}
	if c.kind != "ReplicaSet" && c.kind != "Job" {
		return w, true
	}
	above, known := b.ownerOf(c.kind, r.name.Namespace, c.name)
	if above != nil {
		w = &flowpb.Workload{Name: above.Name, Kind: above.Kind}
	}
	return w, known
}

func nodeAddresses(nodes map[string]*corev1.Node) map[netip.Addr]string {
	named := map[netip.Addr]string{}
	for _, n := range nodes {
		for _, addr := range netpol.NodeAddresses(n) {
			named[addr] = n.Name
		}
	}
	return named
}

// endpointAt describes what is behind an address: a pod, this node, another one, or the world, with the numbers that
// Hubble's clients know these by.
func (b *Book) endpointAt(addr netip.Addr, when time.Time) *flowpb.Endpoint {
	if r := b.addresses.at(addr, when); r != nil {
		return b.describe(r)
	}
	switch b.nodes[addr] {
	case "":
		return &flowpb.Endpoint{Identity: 2, Labels: []string{"reserved:world"}}
	case b.node:
		return &flowpb.Endpoint{Identity: 1, Labels: []string{"reserved:host"}}
	}
	return &flowpb.Endpoint{Identity: 6, Labels: []string{"reserved:remote-node"}}
}
