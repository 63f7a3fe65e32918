// SPDX-License-Identifier: Apache-2.0

package reach

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// witness is a pod that does not exist yet. It stands for all pods of its description.
type witness struct {
	end Future
	// peer is the entry of a rule that it is made for; nil: any pod.
	peer *netpol.PeerMatch
	key  string // of peer
	// namespace is its name; empty: one that does not exist.
	namespace string
	// space are the labels of the namespace, where it does not exist.
	space labels.Set
	pod   labels.Set
}

// witnesses are any pod, and one for each selector of pods that the rules of the clusters have. Selectors that
// are met by the same pod share it, under the shortest description.
func witnesses(clusters ...*Cluster) []*witness {
	all := []*witness{{}}
	peers := map[string]bool{}
	for _, c := range clusters {
		for _, r := range c.rules {
			for i := range r.Peers {
				m := &r.Peers[i]
				if m.Pods != nil && !peers[m.Key()] {
					peers[m.Key()] = true
					all = append(all, meet(m, m.Key())...)
				}
			}
		}
	}
	slices.SortStableFunc(all[1:], func(a, b *witness) int {
		x, y := a.end.String(), b.end.String()
		return cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(x, y))
	})
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(w *witness) bool {
		key := fmt.Sprint(w.namespace, w.space, w.pod)
		defer func() { seen[key] = true }()
		return seen[key]
	})
}

// meet makes the pods that an entry of a rule matches: one for each namespace that it names, one where it
// names none.
func meet(m *netpol.PeerMatch, key string) (all []*witness) {
	pods, pod := m.Pods.String(), meetSelector(m.Pods)
	if m.Namespaces == nil {
		return []*witness{{Future{standardLabel(m.Namespace), pods}, m, key, m.Namespace, nil, pod}}
	}
	names, others := named(m.Namespaces)
	if names == nil {
		return []*witness{{Future{m.Namespaces.String(), pods}, m, key, "", meetSelector(m.Namespaces), pod}}
	}
	for _, name := range names {
		namespaces := strings.TrimSuffix(standardLabel(name)+","+others.String(), ",")
		all = append(all, &witness{Future{namespaces, pods}, m, key, name, meetSelector(others), pod})
	}
	return all
}

func standardLabel(namespace string) string { return corev1.LabelMetadataName + "=" + namespace }

// named are the namespaces that a selector names, and the rest of it; nil when it names none.
func named(s labels.Selector) (names []string, others labels.Selector) {
	requirements, _ := s.Requirements()
	others = labels.NewSelector()
	for _, r := range requirements {
		if r.Key() == corev1.LabelMetadataName && isOneOf(r.Operator()) && names == nil {
			names = slices.Sorted(maps.Keys(r.Values()))
			continue
		}
		others = others.Add(r)
	}
	return names, others
}

func isOneOf(o selection.Operator) bool {
	return o == selection.In || o == selection.Equals || o == selection.DoubleEquals
}

// meetSelector makes the labels that a selector asks for. It does not match them where it contradicts itself.
func meetSelector(s labels.Selector) labels.Set {
	set := labels.Set{}
	requirements, _ := s.Requirements()
	for _, r := range requirements {
		switch _, ok := set[r.Key()]; {
		case isOneOf(r.Operator()):
			set[r.Key()] = smallest(r, requirements)
		case r.Operator() == selection.Exists && !ok:
			set[r.Key()] = anyValue
		}
	}
	return set
}

// anyValue is a value that no selector is likely to ask for.
const anyValue = "bulkhead-any-value"

// smallest is the first value of a requirement that the others of the same key allow.
func smallest(r labels.Requirement, all labels.Requirements) string {
	for _, value := range slices.Sorted(maps.Keys(r.Values())) {
		refused := slices.ContainsFunc(all, func(o labels.Requirement) bool {
			return o.Key() == r.Key() && !o.Matches(labels.Set{r.Key(): value})
		})
		if !refused {
			return value
		}
	}
	return anyValue
}
