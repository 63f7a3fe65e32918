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
)

// OwnerFunc finds the controller of a ReplicaSet or Job, as inventory.Inventory.Owner does.
type OwnerFunc func(kind, namespace, name string) (owner *metav1.OwnerReference, known bool)

// Book knows who had which address and interface at which time, and the rules of the latest
// generations. It is safe for concurrent use.
type Book struct {
	node    string
	ownerOf OwnerFunc

	mu         sync.Mutex
	current    census
	pages      map[types.UID]page
	unfinished bool // some pod's workload is not known yet
	addresses  directory[netip.Addr]
	interfaces directory[uint32]
	nodes      map[netip.Addr]string // node name by address
	rules      generations
}

// census is who is there.
type census struct {
	pods  []*corev1.Pod
	local map[uint32]types.NamespacedName // by interface
}

// page is what was written about a pod.
type page struct {
	version  string
	endpoint *flowpb.Endpoint
	final    bool // its workload is known
}

// NewBook returns an empty book for the node of that name.
func NewBook(node string, ownerOf OwnerFunc) *Book {
	return &Book{
		node: node, ownerOf: ownerOf,
		addresses: directory[netip.Addr]{}, interfaces: directory[uint32]{},
	}
}

// Update writes down the cluster's pods and nodes, and which local pod is behind which interface, as of
// now. The objects are kept, and only read.
func (b *Book) Update(pods []*corev1.Pod, nodes []*corev1.Node, local map[uint32]types.NamespacedName, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.current = census{pods: pods, local: local}
	b.nodes = nodeAddresses(nodes)
	b.writeAll(now)
}

func (b *Book) writeAll(now time.Time) {
	previous := b.pages
	b.pages, b.unfinished = make(map[types.UID]page, len(b.current.pods)), false
	addresses := make(map[netip.Addr]owner, len(b.current.pods))
	names := make(map[types.NamespacedName]owner, len(b.current.pods))
	for _, p := range b.current.pods {
		if !ownsAddresses(p) {
			continue
		}
		o := owner{uid: p.UID, endpoint: b.write(p, previous[p.UID])}
		names[types.NamespacedName{Namespace: p.Namespace, Name: p.Name}] = o
		for _, ip := range p.Status.PodIPs {
			if addr, err := netip.ParseAddr(ip.IP); err == nil {
				addresses[addr.Unmap()] = o
			}
		}
	}
	interfaces := make(map[uint32]owner, len(b.current.local))
	for ifindex, name := range b.current.local {
		if o, found := names[name]; found {
			interfaces[ifindex] = o
		}
	}
	b.addresses.update(addresses, now)
	b.interfaces.update(interfaces, now)
}

// ownsAddresses is false for pods on the host network and completed ones.
func ownsAddresses(p *corev1.Pod) bool {
	return !p.Spec.HostNetwork && p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed
}

// write describes a pod, anew only if it changed or its workload was not known yet.
func (b *Book) write(p *corev1.Pod, entry page) *flowpb.Endpoint {
	if !entry.final || entry.version != p.ResourceVersion {
		workload, final := b.workload(p)
		entry = page{version: p.ResourceVersion, final: final, endpoint: &flowpb.Endpoint{
			Namespace: p.Namespace,
			PodName:   p.Name,
			Labels:    flowLabels(p.Labels),
			Workloads: []*flowpb.Workload{workload},
		}}
	}
	b.pages[p.UID] = entry
	b.unfinished = b.unfinished || !entry.final
	return entry.endpoint
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
func (b *Book) workload(p *corev1.Pod) (w *flowpb.Workload, final bool) {
	owner := metav1.GetControllerOf(p)
	if owner == nil {
		return &flowpb.Workload{Name: p.Name, Kind: "Pod"}, true
	}
	w = &flowpb.Workload{Name: owner.Name, Kind: owner.Kind}
	if owner.Kind != "ReplicaSet" && owner.Kind != "Job" {
		return w, true
	}
	above, known := b.ownerOf(owner.Kind, p.Namespace, owner.Name)
	if above != nil {
		w = &flowpb.Workload{Name: above.Name, Kind: above.Kind}
	}
	return w, known
}

func nodeAddresses(nodes []*corev1.Node) map[netip.Addr]string {
	named := map[netip.Addr]string{}
	for _, n := range nodes {
		for _, a := range n.Status.Addresses {
			if addr, err := netip.ParseAddr(a.Address); err == nil {
				named[addr.Unmap()] = n.Name
			}
		}
	}
	return named
}

// endpointAt describes what is behind an address that is no pod's: this node, another one, or the world.
func (b *Book) endpointAt(addr netip.Addr, when time.Time) *flowpb.Endpoint {
	if e := b.addresses.at(addr, when); e != nil {
		return e
	}
	switch b.nodes[addr] {
	case "":
		return &flowpb.Endpoint{Labels: []string{"reserved:world"}}
	case b.node:
		return &flowpb.Endpoint{Labels: []string{"reserved:host"}}
	}
	return &flowpb.Endpoint{Labels: []string{"reserved:remote-node"}}
}
