// SPDX-License-Identifier: Apache-2.0

package netpol

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// namespace is all that a snapshot has of a namespace. It does not change: a change of anything in it makes a
// new one, which shares what is the same.
type namespace struct {
	labels   labels.Set // with the standard label
	declared bool       // there is a Namespace object, not only something in it
	policies []*policy  // by name
	pods     []*pod     // by name
	services []*service // by name
	cluster  []*clusterPolicy
	// classes are the pods that carry the same labels, and so are governed by the same rules.
	classes []class
}

// class has no labels and no rules when it has no members; its place is then free.
type class struct {
	labels  labels.Set
	hash    uint64
	members int
	rules   [2]*RuleSet // by Direction
}

// keyed is something that is kept in order of its name.
type keyed interface{ key() string }

// find is the element with that name in a list that is ordered by name; the zero T when there is none.
func find[T keyed](list []T, name string) (found T) {
	if i, ok := search(list, name); ok {
		return list[i]
	}
	return found
}

func search[T keyed](list []T, name string) (int, bool) {
	return slices.BinarySearchFunc(list, name, func(e T, name string) int { return strings.Compare(e.key(), name) })
}

// namespaceLabels adds the label that the API server sets on every namespace, which a manifest
// need not carry and cannot change.
func namespaceLabels(name string, given map[string]string) labels.Set {
	if given[corev1.LabelMetadataName] == name {
		return given
	}
	set := make(labels.Set, len(given)+1)
	maps.Copy(set, given)
	set[corev1.LabelMetadataName] = name
	return set
}

func (ns *namespace) isEmpty() bool {
	return !ns.declared && len(ns.policies) == 0 && len(ns.pods) == 0 && len(ns.services) == 0
}

// join puts a new pod into the class of its labels, and says whether the class is new.
func (ns *namespace) join(p *pod) bool {
	hash, free := hashLabels(p.labels), -1
	for i := range ns.classes {
		c := &ns.classes[i]
		if c.members > 0 && c.hash == hash && maps.Equal(c.labels, p.labels) {
			c.members++
			p.class = i
			p.labels = c.labels // the same, kept once
			return false
		}
		if c.members == 0 {
			free = i
		}
	}
	if free < 0 {
		free = len(ns.classes)
		ns.classes = append(ns.classes, class{})
	}
	ns.classes[free] = class{labels: p.labels, hash: hash, members: 1}
	p.class = free
	return true
}

func (ns *namespace) part(p *pod) {
	c := &ns.classes[p.class]
	if c.members--; c.members == 0 {
		*c = class{}
	}
}

// ruler makes the rule sets of one namespace. Pods that the same policies select share one.
type ruler struct {
	ns     *namespace
	shared map[string][2]*RuleSet // by the policies that select
	key    []byte
}

func (ns *namespace) ruler() *ruler { return &ruler{ns: ns, shared: make(map[string][2]*RuleSet)} }

// govern gives a class its rules.
func (r *ruler) govern(c *class) {
	r.key = r.key[:0]
	for i, p := range r.ns.policies {
		if p.pods.Matches(c.labels) {
			r.key = binary.AppendUvarint(r.key, uint64(i))
		}
	}
	for i, p := range r.ns.cluster {
		if p.pods.Matches(c.labels) {
			r.key = binary.AppendUvarint(r.key, uint64(len(r.ns.policies)+i))
		}
	}
	sets, ok := r.shared[string(r.key)]
	if !ok {
		sets = r.sets()
		r.shared[string(r.key)] = sets
	}
	c.rules = sets
}

// sets makes the rule sets of the policies in the key.
func (r *ruler) sets() (sets [2]*RuleSet) {
	sets = [2]*RuleSet{new(RuleSet), new(RuleSet)}
	for key := r.key; len(key) > 0; {
		n, size := binary.Uvarint(key)
		key = key[size:]
		if i := int(n) - len(r.ns.policies); i >= 0 {
			sets[Ingress].addCluster(r.ns.cluster[i], Ingress)
			sets[Egress].addCluster(r.ns.cluster[i], Egress)
			continue
		}
		sets[Ingress].add(r.ns.policies[n], Ingress)
		sets[Egress].add(r.ns.policies[n], Egress)
	}
	return sets
}

func (s *RuleSet) add(p *policy, d Direction) {
	if !p.isolates[d] {
		return
	}
	s.Isolated = true
	s.By = append(s.By, &p.origin[d])
	s.Tiers[NetworkPolicies] = join(s.Tiers[NetworkPolicies], p.rules[d])
}

func (s *RuleSet) addCluster(p *clusterPolicy, d Direction) {
	s.Tiers[p.tier] = join(s.Tiers[p.tier], p.rules[d])
}

// join appends more, or shares it when there is nothing yet.
func join(rules, more []*Rule) []*Rule {
	if len(rules) == 0 {
		return slices.Clip(more)
	}
	return append(rules, more...)
}
