// SPDX-License-Identifier: Apache-2.0

package reach

import (
	"cmp"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Map is what may talk to what.
type Map struct {
	// Ends in order: all workloads, also those that have no connection, and the other ends of Lines.
	Ends []End
	// Lines in order of From and To; an end's connections to itself (from one pod to another) too. Pairs
	// between which nothing may pass have none.
	Lines []Line
	// Warnings are sentences for a person: where a line is less than the whole truth.
	Warnings []string
}

// Line is one connection: something may pass from one end to the other.
type Line struct {
	From, To End
	Ports    netpol.PortSet
}

// End is one end of a connection. Exactly one of its forms is in use.
type End struct {
	// Kind, Namespace and Name of a workload: Deployment, shop, api.
	Kind, Namespace, Name string
	// Outside are addresses that this connection's policies treat alike; nil for other ends.
	Outside *Ranges
	// Future are pods that do not exist yet; nil for other ends.
	Future *Future
}

// Ranges are addresses that no pod has: in order, IPv4 first, as few as there can be.
type Ranges struct{ Prefixes []netip.Prefix }

// Future describes pods by the labels that they would have. The empty selectors mean any namespace,
// and any pod.
type Future struct {
	// Namespaces is a selector in the form of kubectl -l; a namespace that exists is its name's label.
	Namespaces string
	// Pods is a selector in the form of kubectl -l.
	Pods string
}

// IsWorkload says whether the end is pods that exist.
func (e End) IsWorkload() bool { return e.Kind != "" }

// String is the end in one phrase: "Deployment shop/api", "0.0.0.0/0 except 10.0.0.0/8", "any pod",
// "pods app=web in namespaces team=shop".
func (e End) String() string {
	switch {
	case e.Outside != nil:
		return e.Outside.String()
	case e.Future != nil:
		return e.Future.String()
	}
	return e.Kind + " " + e.Namespace + "/" + e.Name
}

// Compare orders ends: workloads by namespace, name and kind, then addresses, then pods that do not exist
// yet.
func (e End) Compare(o End) int {
	if e.IsWorkload() && o.IsWorkload() {
		return cmp.Or(strings.Compare(e.Namespace, o.Namespace), strings.Compare(e.Name, o.Name), strings.Compare(e.Kind, o.Kind))
	}
	return cmp.Or(cmp.Compare(e.form(), o.form()), strings.Compare(e.String(), o.String()))
}

func (e End) form() int {
	switch {
	case e.Outside != nil:
		return 1
	case e.Future != nil:
		return 2
	}
	return 0
}

// String is the pods in words: "any pod", "any pod in namespace shop", "pods app=web in namespaces
// team=shop".
func (f *Future) String() string {
	pods, namespaces := "any pod", ""
	if f.Pods != "" {
		pods = "pods " + f.Pods
	}
	name, standard := strings.CutPrefix(f.Namespaces, corev1.LabelMetadataName+"=")
	switch {
	case standard && !strings.ContainsAny(name, ",()"):
		namespaces = " in namespace " + name
	case f.Namespaces != "":
		namespaces = " in namespaces " + f.Namespaces
	case f.Pods != "":
		namespaces = " in any namespace"
	}
	return pods + namespaces
}
