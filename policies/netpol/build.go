// SPDX-License-Identifier: Apache-2.0

package netpol

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// builder collects what a change is about, and then makes the next snapshot of it.
type builder struct {
	old     *Snapshot
	changes map[string]*namespaceChange
	cluster []entry[*clusterPolicy]
	nodes   []entry[*node]
	seen    map[Key]bool // policies of the change
	faults  []error

	namespaces *edit[string, *namespace]
	byName     *edit[string, *node]
	pods       *edit[netip.Addr, []*pod]
	hostPods   *edit[netip.Addr, []*pod]
	nodeAddrs  *edit[netip.Addr, []*node]
	services   *edit[netip.Addr, []*service]
	external   *edit[netip.Addr, []*service]
	nodePorts  *edit[nodePort, []*service]
}

// namespaceChange is what happens in one namespace.
type namespaceChange struct {
	declared   *corev1.Namespace // the Namespace object from now on; nil: as it was
	undeclared bool              // the Namespace object is gone, before declared
	policies   []entry[*policy]
	pods       []entry[*pod]
	services   []entry[*service]
}

// entry is what a name stands for from now on; nil: nothing.
type entry[T any] struct {
	name  string
	value T
}

func newBuilder(s *Snapshot, objs *Objects) *builder {
	pods, services, nodes := len(objs.Pods), len(objs.Services), len(objs.Nodes)
	return &builder{
		old:        s,
		changes:    make(map[string]*namespaceChange),
		seen:       make(map[Key]bool, len(objs.Policies)),
		namespaces: s.namespaces.edit(len(objs.Namespaces)),
		byName:     s.nodes.edit(nodes),
		pods:       s.pods.edit(pods),
		hostPods:   s.hostPods.edit(0),
		nodeAddrs:  s.nodeAddrs.edit(nodes),
		services:   s.services.edit(services),
		external:   s.external.edit(0),
		nodePorts:  s.nodePorts.edit(0),
	}
}

func (b *builder) in(namespace string) *namespaceChange {
	c := b.changes[namespace]
	if c == nil {
		c = new(namespaceChange)
		b.changes[namespace] = c
	}
	return c
}

func (b *builder) build() *Snapshot {
	cluster, touched := b.clusterPolicies()
	if len(touched) > 0 {
		b.reach(touched)
	}
	b.buildNodes()
	for name, change := range b.changes {
		b.namespace(name, change, cluster, touched)
	}
	return &Snapshot{
		namespaces: b.namespaces.dict, nodes: b.byName.dict, cluster: cluster,
		pods: b.pods.dict, hostPods: b.hostPods.dict, nodeAddrs: b.nodeAddrs.dict,
		services: b.services.dict, external: b.external.dict, nodePorts: b.nodePorts.dict,
	}
}

// reach adds the namespaces that ClusterNetworkPolicies are about to those that change.
func (b *builder) reach(policies []*clusterPolicy) {
	for name, ns := range b.old.namespaces.all() {
		if slices.ContainsFunc(policies, func(p *clusterPolicy) bool { return p.namespaces.Matches(ns.labels) }) {
			b.in(name)
		}
	}
}

// clusterPolicies are those from now on, in order of precedence, and those that came or went.
func (b *builder) clusterPolicies() (all, touched []*clusterPolicy) {
	if len(b.cluster) == 0 {
		return b.old.cluster, nil
	}
	byName := slices.SortedFunc(slices.Values(b.old.cluster), func(p, q *clusterPolicy) int { return strings.Compare(p.name, q.name) })
	all, gone, come := merge(byName, b.cluster)
	slices.SortFunc(all, (*clusterPolicy).compare)
	return all, append(gone, come...)
}

func (b *builder) buildNodes() {
	for _, e := range b.nodes {
		if old := b.byName.get(e.name); old != nil {
			for _, addr := range old.addrs {
				disclaim(b.nodeAddrs, addr, old)
			}
			b.byName.delete(e.name)
		}
		if e.value != nil {
			b.byName.set(e.name, e.value)
			for _, addr := range e.value.addrs {
				claim(b.nodeAddrs, addr, e.value, compareNodes)
			}
		}
	}
}

// namespace makes the namespace anew.
func (b *builder) namespace(name string, change *namespaceChange, cluster, touched []*clusterPolicy) {
	ns := b.next(name, change)
	if ns.cluster == nil || len(touched) > 0 || change.relabels() {
		ns.cluster = nil
		for _, p := range cluster {
			if p.namespaces.Matches(ns.labels) {
				ns.cluster = append(ns.cluster, p)
			}
		}
	}
	ns.policies, _, _ = merge(ns.policies, change.policies)
	b.buildServices(ns, change.services)
	fresh := b.buildPods(ns, change.pods)
	if len(change.policies) > 0 || len(touched) > 0 || change.relabels() {
		fresh = nil // all of them
		for i := range ns.classes {
			fresh = append(fresh, i)
		}
	}
	ruler := ns.ruler()
	for _, i := range fresh {
		if c := &ns.classes[i]; c.members > 0 {
			ruler.govern(c)
		}
	}
	if ns.isEmpty() {
		b.namespaces.delete(name)
	} else {
		b.namespaces.set(name, ns)
	}
}

// relabels says whether the namespace's labels may be others from now on.
func (c *namespaceChange) relabels() bool { return c.declared != nil || c.undeclared }

// next is a copy of the namespace, with its labels of from now on, whose classes may be written to.
func (b *builder) next(name string, change *namespaceChange) *namespace {
	ns := new(namespace)
	if old := b.old.namespaces.get(name); old != nil {
		*ns = *old
		ns.classes = slices.Clone(old.classes)
	}
	if change.undeclared || ns.labels == nil {
		ns.labels, ns.declared = namespaceLabels(name, nil), false
	}
	if change.declared != nil {
		ns.labels, ns.declared = namespaceLabels(name, change.declared.Labels), true
	}
	return ns
}

// buildPods changes the namespace's pods, their classes and their addresses. It returns the classes that
// are new.
func (b *builder) buildPods(ns *namespace, changes []entry[*pod]) (fresh []int) {
	all, gone, come := merge(ns.pods, changes)
	ns.pods = all
	for _, p := range gone {
		if p.hasIdentity() {
			ns.part(p)
		}
		for _, addr := range p.addrs {
			disclaim(b.pods, addr, p)
			disclaim(b.hostPods, addr, p)
		}
	}
	for _, p := range come {
		if p.hasIdentity() && ns.join(p) {
			fresh = append(fresh, p.class)
		}
		b.claimAddresses(p)
	}
	return fresh
}

// claimAddresses: host-network pods stand for their node.
func (b *builder) claimAddresses(p *pod) {
	for _, addr := range p.addrs {
		switch {
		case p.hasIdentity():
			claim(b.pods, addr, p, comparePods)
		case !p.completed && p.node != "":
			claim(b.hostPods, addr, p, comparePodNames)
		}
	}
}

func (b *builder) buildServices(ns *namespace, changes []entry[*service]) {
	all, gone, come := merge(ns.services, changes)
	ns.services = all
	for _, svc := range gone {
		for _, addr := range svc.addrs {
			disclaim(b.services, addr, svc)
		}
		for _, addr := range svc.external {
			disclaim(b.external, addr, svc)
		}
		for _, port := range svc.nodePorts() {
			disclaim(b.nodePorts, port, svc)
		}
	}
	for _, svc := range come {
		for _, addr := range svc.addrs {
			claim(b.services, addr, svc, compareServices)
		}
		for _, addr := range svc.external {
			claim(b.external, addr, svc, compareServices)
		}
		for _, port := range svc.nodePorts() {
			claim(b.nodePorts, port, svc, compareServices)
		}
	}
}

// claim adds a claimant in its place.
func claim[K comparable, T any](e *edit[K, []*T], k K, claimant *T, compare func(a, b *T) int) {
	old := e.get(k)
	i, _ := slices.BinarySearchFunc(old, claimant, compare)
	list := make([]*T, 0, len(old)+1) // the old list may be in use by another snapshot
	e.set(k, append(append(append(list, old[:i]...), claimant), old[i:]...))
}

// disclaim removes a claimant, if it is one.
func disclaim[K comparable, T any](e *edit[K, []*T], k K, claimant *T) {
	old := e.get(k)
	i := slices.Index(old, claimant)
	switch {
	case i < 0:
	case len(old) == 1:
		e.delete(k)
	default:
		e.set(k, slices.Concat(old[:i], old[i+1:]))
	}
}

// merge is a list, ordered by name, after changes of which the last of a name counts. Gone is what is in it no
// more, come is what was not in it before.
func merge[T interface {
	comparable
	keyed
}](old []T, changes []entry[T]) (all, gone, come []T) {
	if len(changes) == 0 {
		return old, nil, nil
	}
	slices.SortStableFunc(changes, func(a, b entry[T]) int { return strings.Compare(a.name, b.name) })
	var none T
	all = make([]T, 0, len(old)+len(changes))
	for i, change := range changes {
		if i+1 < len(changes) && changes[i+1].name == change.name {
			continue
		}
		at, found := search(old, change.name)
		all, old = append(all, old[:at]...), old[at:]
		if found {
			gone, old = append(gone, old[0]), old[1:]
		}
		if change.value != none {
			all, come = append(all, change.value), append(come, change.value)
		}
	}
	return append(all, old...), gone, come
}
