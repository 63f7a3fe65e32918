// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Set is what Load found. It is immutable and may be used by several goroutines.
type Set struct {
	// Objects in the order of the paths; of a folder in the order of file names; of a file as written.
	Objects []Object
	// Skipped counts objects of kinds that say nothing about connections. Nil: there were none.
	Skipped map[schema.GroupKind]int
	// Warnings are sentences for a person: what was found and is not part of the Set, although it
	// may change the answer.
	Warnings []string

	index map[key]int // into Objects
}

// Object is an object of a kind that is read. A namespaced one always has a namespace, and each
// has a name.
type Object struct {
	runtime.Object
	source source
}

// key names an object. No two kinds that are read share a name.
type key struct{ kind, namespace, name string }

func (k key) String() string { return called(k.kind, k.namespace, k.name) }

// Position is the place of a field of an object, such as spec.ingress[0].from[1].ipBlock.cidr or
// metadata.labels[app]. Where the file has no such field it is the nearest parent's, at last the
// object's (path "" is the object); of an object that a kustomization made it is in its source. A namespaced
// object without a namespace is looked for in "default". The zero Position: the Set has no such object.
// The first question about a file parses it again, because most files are never asked about.
func (s *Set) Position(kind, namespace, name, path string) Position {
	if namespace == "" && !clusterScoped[kind] {
		namespace = "default"
	}
	i, ok := s.index[key{kind, namespace, name}]
	if !ok {
		return Position{}
	}
	return s.Objects[i].source.at(path)
}

// Runtime are the Objects without their positions, in the same order.
func (s *Set) Runtime() []runtime.Object {
	out := make([]runtime.Object, len(s.Objects))
	for i, o := range s.Objects {
		out[i] = o.Object
	}
	return out
}

// Netpol are the objects that the evaluator knows, in the order of Objects. Workloads are not part
// of it: an inventory makes pods of them.
func (s *Set) Netpol() netpol.Objects { return Netpol(s.Runtime()) }

// Netpol are those of the objects that the evaluator knows, in the same order.
func Netpol(objects []runtime.Object) netpol.Objects {
	var out netpol.Objects
	for _, object := range objects {
		switch o := object.(type) {
		case *corev1.Namespace:
			out.Namespaces = append(out.Namespaces, o)
		case *corev1.Pod:
			out.Pods = append(out.Pods, o)
		case *corev1.Service:
			out.Services = append(out.Services, o)
		case *corev1.Node:
			out.Nodes = append(out.Nodes, o)
		case *networkingv1.NetworkPolicy:
			out.Policies = append(out.Policies, o)
		case *policyv1alpha2.ClusterNetworkPolicy:
			out.ClusterPolicies = append(out.ClusterPolicies, o)
		}
	}
	return out
}
