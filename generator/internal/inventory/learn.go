// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
)

// Bounds of what is learned from flows. Pods are told apart by their labels, so these are few however many pods there
// were. A namespace beyond its bound is not learned; beyond those of the cluster nothing is, which is an error. Either is so
// in whatever order the flows come.
const (
	maxAlike      = 1024    // kinds of pods in a namespace
	maxAllAlike   = 1 << 15 // in all namespaces
	maxNamespaces = 1 << 14
	maxServices   = 1 << 16 // addresses of Services
	maxReadings   = 1 << 13 // of lists of labels; then they are read anew
)

// learner learns an inventory from flows that name pods and their labels. While flows are read, such a pod is an end of
// its own: the pods of a namespace that have the same lasting labels. What their workload is, is decided by all of the
// flows, once they were read; so their order makes no difference.
type learner struct {
	alike      map[string]*alike // by what makes it
	readings   map[list]reading
	namespaces map[string]int         // how many kinds of pods and workloads each has
	bare       map[edge.Endpoint]bool // workloads of pods without labels that can be used
	services   map[netip.Addr]bool    // addresses that flows give to Services
	invalid    edge.Set               // namespaces with labels that no pod can have
	err        error                  // there is more than can be learned
}

// list is a list of labels in memory, of which the reader makes the same one for the same labels.
type list struct {
	first     *string
	length    int
	namespace string
}

// reading is what a list of labels says of a pod.
type reading struct {
	of   *alike // nil: it has no labels that can be used
	hint hint
}

// alikeKind is the kind of the ends that pods are until all records were read. It is none of those with ever new names, which
// edge.Limits bounds together.
const alikeKind = "+"

// alike are the pods of a namespace, of one cluster, that have the same lasting labels.
type alike struct {
	namespace, cluster string            // cluster is empty where it is not known
	labels             map[string]string // never empty
	id                 string            // in place of a pod's name; no pod can be called so
	said               claims            // workloads that flows give to these pods
	derived            claims            // workloads that their names and labels speak of; of use only where flows say nothing
	pods               edge.Set          // the first of their names
}

// claims are the first two of the workloads that pods are said to be of: one is believed, and two are named.
type claims []edge.Endpoint

// add adds a workload; one of which the kind is not known is any of the same name.
func (c *claims) add(e edge.Endpoint) {
	i, found := slices.BinarySearchFunc(*c, e, edge.Endpoint.Compare)
	if found || i == 2 {
		return
	}
	for j, o := range *c {
		switch {
		case o.Name != e.Name: // the namespace is the same
		case e.Kind == unnamed:
			return
		case o.Kind == unnamed:
			(*c)[j] = e
			return
		}
	}
	*c = slices.Insert(*c, i, e)
	*c = (*c)[:min(len(*c), 2)]
}

// Learning returns an inventory without objects that learns from the flows which an Attribution of it reads, labels
// included (flows.WithLabels). It is complete once Conclude was called.
func Learning() *Inventory {
	inv := New(nil)
	inv.learner = &learner{
		alike: map[string]*alike{}, readings: map[list]reading{}, namespaces: map[string]int{}, bare: map[edge.Endpoint]bool{}, services: map[netip.Addr]bool{},
	}
	return inv
}

// end is the end that a pod is until all records were read.
func (l *learner) end(e *flows.Endpoint) edge.Endpoint {
	r := l.read(e)
	said := above(edge.Endpoint{Kind: e.Kind, Namespace: e.Namespace, Name: e.Workload})
	switch a := r.of; {
	case a == nil && e.Workload == "":
		return edge.Endpoint{Kind: "Pod", Namespace: e.Namespace, Name: e.Pod}
	case a == nil:
		if !l.bare[said] && l.room(e.Namespace) {
			l.bare[said] = true
		}
		return said
	case e.Workload != "":
		a.said.add(said)
	case len(a.said) == 0:
		a.derived.add(derive(e.Namespace, e.Pod, r.hint))
	}
	r.of.pods.Add(e.Pod)
	return edge.Endpoint{Kind: alikeKind, Namespace: e.Namespace, Name: r.of.id}
}

// destination is the end that an address is. What the observer calls a node is one also where a Service leads to it.
func (l *learner) destination(to edge.Endpoint, r *flows.Record) edge.Endpoint {
	if r.Destination.Service == "" || !isOutside(to) {
		return to
	}
	l.services[to.Addr] = true
	if len(l.services) > maxServices {
		l.err = fmt.Errorf("flows name more than %d addresses of Services: give --inventory or --kubeconfig, or fewer flows", maxServices)
		clear(l.services)
	}
	return edge.Endpoint{Addr: to.Addr, Entity: EntityService}
}

// isOutside reports whether an end is an address of which the observer does not say that it is of the cluster.
func isOutside(e edge.Endpoint) bool {
	return !e.IsPod() && (e.Entity == "" || e.Entity == "world")
}

// read says what the labels of a pod mean.
func (l *learner) read(e *flows.Endpoint) reading {
	if len(e.Labels) == 0 {
		return reading{}
	}
	k := list{&e.Labels[0], len(e.Labels), e.Namespace}
	r, known := l.readings[k]
	if known {
		return r
	}
	all, cluster, err := podLabels(e.Labels)
	if err != nil {
		l.invalid.Add(e.Namespace)
	} else {
		r = reading{l.make(e.Namespace, cluster, StableLabels(all)), hintOf(all)}
	}
	if len(l.readings) == maxReadings {
		clear(l.readings)
	}
	if sizeOf(e.Labels) <= 2*maxLabels { // the memory holds on to the list
		l.readings[k] = r
	}
	return r
}

// make returns the pods with these labels; nil: there are no labels, or too many kinds of pods.
func (l *learner) make(namespace, cluster string, stable map[string]string) *alike {
	if len(stable) == 0 {
		return nil
	}
	key := strings.Join([]string{namespace, cluster, labels.Set(stable).String()}, "\x00")
	if a := l.alike[key]; a != nil {
		return a
	}
	if !l.room(namespace) {
		return nil
	}
	if len(l.alike) == maxAllAlike {
		l.err = fmt.Errorf("flows name pods with more than %d different sets of labels: give --inventory or --kubeconfig, or fewer flows", maxAllAlike)
		return nil
	}
	hash := fnv.New128a()
	_, _ = hash.Write([]byte(key))
	a := &alike{namespace: namespace, cluster: cluster, labels: stable, id: fmt.Sprintf("+%x", hash.Sum(nil))}
	l.alike[key] = a
	return a
}

// room takes one of the places for kinds of pods that a namespace has.
func (l *learner) room(namespace string) bool {
	if l.namespaces[namespace] == 0 && len(l.namespaces) == maxNamespaces {
		l.err = fmt.Errorf("flows name more than %d namespaces: give --inventory or --kubeconfig, or fewer flows", maxNamespaces)
		return false
	}
	l.namespaces[namespace] = min(l.namespaces[namespace]+1, maxAlike+1)
	return !l.crowded(namespace)
}

// crowded reports whether a namespace has more kinds of pods than are learned.
func (l *learner) crowded(namespace string) bool { return l.namespaces[namespace] > maxAlike }

// Learns reports whether the inventory learns from flows, so that their labels are needed.
func (inv *Inventory) Learns() bool { return inv.learner != nil }
