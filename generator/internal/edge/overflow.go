// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// Overflow is the evidence of edges that had no place within the limits. Policies made of the remaining
// edges would not allow what these were seen to do.
type Overflow struct {
	// Key has what the edges have in common: the address is blank at an end that is no pod; between pods the
	// port is 0; the name is empty of a pod, Job or ReplicaSet that no owner is known of. When there
	// are many, those of one workload and direction are one, without protocol and port (to pods: Kind "*"),
	// and those of many workloads are one with a zero Key.
	Key
	// Edges are the distinct edges.
	Edges Count
	Evidence
	mark mark
}

// String is what the edges have in common in one phrase: "Deployment shop/web → other addresses TCP/443".
func (o *Overflow) String() string {
	if o.Key == (Key{}) {
		return "any"
	}
	text := o.From.others() + " → " + o.To.others()
	if o.Protocol == "" {
		return text
	}
	text += " " + string(o.Protocol)
	if o.Port != 0 {
		text += fmt.Sprintf("/%d", o.Port)
	}
	return text
}

// EntityOthers is the Entity of an end that stands for many: its Addr is unspecified, or it is a pod that was
// talked to on many ports.
const EntityOthers = "others"

// Edge is the overflow as one edge, so that it can be listed with the others. One of its ends has EntityOthers.
func (o *Overflow) Edge() Edge {
	e := Edge{o.Key, o.clone()}
	if e.internal() {
		e.To.Entity = EntityOthers
	}
	e.From, e.To = e.From.named(), e.To.named()
	return e
}

func (e Endpoint) named() Endpoint {
	switch {
	case !e.IsPod() || e.Kind == anyPod.Kind:
		return Endpoint{Addr: netip.IPv4Unspecified(), Entity: EntityOthers}
	case e.Name == "":
		e.Name = "*"
	}
	return e
}

func (e Endpoint) others() string {
	switch {
	case e == anyPod:
		return "any pod"
	case e.IsPod() && e.Name == "":
		return e.Kind + " " + e.Namespace + "/*"
	case e.IsPod():
		return e.String()
	case e.Entity != "" && e.Entity != "world":
		return "other addresses of " + e.Entity
	}
	return "other addresses"
}

const (
	maxOverflows      = 16_384 // in memory, before they are cut to
	overflowsPerScope = 8      // beside the one for the rest, of
	overflowScopes    = 1024
)

// Overflows returns copies in the order of Key.Compare. It is empty when nothing was left out.
func (f *Fold) Overflows() []Overflow {
	f.prune()
	out := make([]Overflow, 0, len(f.over))
	for _, o := range f.over {
		out = append(out, Overflow{Key: o.Key, Edges: o.Edges.clone(), Evidence: o.clone()})
	}
	slices.SortFunc(out, func(a, b Overflow) int { return a.Compare(b.Key) })
	return out
}

// LeftOut is about how many edges had no place, and in how many overflows they are. It does not count those
// that the next Edges takes out.
func (f *Fold) LeftOut() (edges uint64, overflows int) {
	f.settle()
	for _, o := range f.over {
		n, _ := o.Edges.Value()
		edges += n
	}
	return edges, len(f.over)
}

func (f *Fold) overflow(key Key) *Overflow {
	if o := f.over[key]; o != nil {
		return o
	}
	if len(f.over) >= maxOverflows {
		f.pruneOverflows()
	}
	o := &Overflow{Key: key}
	f.over[key] = o
	return o
}

// PutOverflow adds an overflow of another Fold, of which nothing is shared afterwards.
func (f *Fold) PutOverflow(o *Overflow) {
	into := f.overflow(o.Key)
	into.Edges.Merge(&o.Edges)
	into.merge(&o.Evidence)
	f.touchOverflow(into)
}

func (f *Fold) removeOverflow(o *Overflow) {
	f.forgetOverflow(o)
	delete(f.over, o.Key)
}

// pruneOverflows keeps those of the smallest hashes, like Limits, and merges the others into one of their
// scope, and scopes into one of all.
func (f *Fold) pruneOverflows() {
	scopes := map[Key][]*Overflow{}
	for _, o := range f.over {
		scopes[o.scope()] = append(scopes[o.scope()], o)
	}
	delete(scopes, Key{})
	keys := slices.SortedFunc(maps.Keys(scopes), smallestHash)
	for i, key := range keys {
		if i >= overflowScopes {
			f.collapse(scopes[key], Key{})
			continue
		}
		groups := slices.DeleteFunc(scopes[key], func(o *Overflow) bool { return o.Key == key })
		slices.SortFunc(groups, func(a, b *Overflow) int { return smallestHash(a.Key, b.Key) })
		f.collapse(groups[min(len(groups), overflowsPerScope):], key)
	}
}

func (f *Fold) collapse(overflows []*Overflow, key Key) {
	for _, o := range overflows {
		f.removeOverflow(o)
		o.Key = key
		f.PutOverflow(o)
	}
}

func smallestHash(a, b Key) int { return cmp.Or(cmp.Compare(a.hash(), b.hash()), a.Compare(b)) }
