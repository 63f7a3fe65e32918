// SPDX-License-Identifier: Apache-2.0

package netpol

import "errors"

// CommitAnnotation carries the Git commit that approved a policy.
const CommitAnnotation = "bulkhead.dev/approved-commit"

// Change is what happens to a cluster.
type Change struct {
	// Set are objects that are new, or replace those of the same kind and name.
	Set Objects
	// Deleted are objects that are gone; what is not there is not missed. An object that is in Set as
	// well is deleted first.
	Deleted []Key
}

// Key names an object. Kind is one of Namespace, Pod, Service, Node, NetworkPolicy and
// ClusterNetworkPolicy; Namespace is empty for kinds that have none.
type Key struct{ Kind, Namespace, Name string }

// Compile makes a snapshot of the objects. Staged policies take no part: see Stage. The error joins an *ObjectError for each fault; the
// snapshot is usable all the same: a rule, peer or port with a fault matches nothing, while the
// policy goes on isolating what it selects. A ClusterNetworkPolicy's rule with a fault fails closed.
func Compile(objs Objects) (*Snapshot, error) { return new(Snapshot).Apply(Change{Set: objs}) }

// Apply makes a snapshot of the cluster after a change. It shares with the old one, which stays as it is,
// all that the change does not reach. The error joins the faults of the objects in c.Set.
func (s *Snapshot) Apply(c Change) (*Snapshot, error) {
	b := newBuilder(s, &c.Set)
	for _, k := range c.Deleted {
		b.delete(k)
	}
	b.set(&c.Set)
	return b.build(), errors.Join(b.faults...)
}

// delete notes that an object is gone.
func (b *builder) delete(k Key) {
	switch k.Kind {
	case "Namespace":
		b.in(k.Name).undeclared = true
	case "Pod":
		c := b.in(k.Namespace)
		c.pods = append(c.pods, entry[*pod]{name: k.Name})
	case "Service":
		c := b.in(k.Namespace)
		c.services = append(c.services, entry[*service]{name: k.Name})
	case "Node":
		b.nodes = append(b.nodes, entry[*node]{name: k.Name})
	case kindPolicy:
		c := b.in(k.Namespace)
		c.policies = append(c.policies, entry[*policy]{name: k.Name})
	case kindClusterPolicy:
		b.cluster = append(b.cluster, entry[*clusterPolicy]{name: k.Name})
	}
}

// set notes the objects that are new or changed, compiled.
func (b *builder) set(objs *Objects) {
	for _, ns := range objs.Namespaces {
		b.in(ns.Name).declared = ns
	}
	for _, kp := range objs.Pods {
		c := b.in(kp.Namespace)
		c.pods = append(c.pods, entry[*pod]{kp.Name, compilePod(kp)})
	}
	for _, ks := range objs.Services {
		c := b.in(ks.Namespace)
		c.services = append(c.services, entry[*service]{ks.Name, compileService(ks)})
	}
	for _, kn := range objs.Nodes {
		b.nodes = append(b.nodes, entry[*node]{kn.Name, compileNode(kn)})
	}
	for _, np := range objs.Policies {
		k := Key{kindPolicy, np.Namespace, np.Name}
		if IsStaged(np) {
			b.deleteOnce(k)
			continue
		}
		p, faults := compilePolicy(np)
		if b.once(k, faults) {
			c := b.in(np.Namespace)
			c.policies = append(c.policies, entry[*policy]{np.Name, p})
		}
	}
	for _, cnp := range objs.ClusterPolicies {
		k := Key{Kind: kindClusterPolicy, Name: cnp.Name}
		if IsStaged(cnp) {
			b.deleteOnce(k)
			continue
		}
		p, faults := compileClusterPolicy(cnp)
		if b.once(k, faults) {
			b.cluster = append(b.cluster, entry[*clusterPolicy]{cnp.Name, p})
		}
	}
}

// deleteOnce notes that a policy is only staged: what was live under its name is not any more.
func (b *builder) deleteOnce(k Key) {
	if b.once(k, nil) {
		b.delete(k)
	}
}

// once notes the faults of a policy, and says whether it is the first of its name.
func (b *builder) once(k Key, faults []*ObjectError) bool {
	for _, f := range faults {
		b.faults = append(b.faults, f)
	}
	if b.seen[k] {
		c := compiler{origin: Origin{Kind: k.Kind, Namespace: k.Namespace, Name: k.Name}}
		c.fault("metadata.name", "given twice; the first one counts")
		b.faults = append(b.faults, c.faults[0])
		return false
	}
	b.seen[k] = true
	return true
}
