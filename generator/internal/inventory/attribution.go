// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"math"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
)

// Bounds of the records that wait one by one, and of the kinds of them: those of the same ends. Beyond them
// the records of a kind are settled together, as a pod's only if it had the address all the time. More is unclear then,
// nothing is wrong.
const (
	maxWaiting = 1 << 20
	maxKinds   = 1 << 16
)

// maxNodes bounds the nodes that are told apart in records that wait. The largest clusters have 5,000.
const maxNodes = 1 << 16

// Attribution folds records whose addresses are attributed by all of the input: a record that names a
// pod tells whose the address was in other records that do not. Records with an end that only has an
// address therefore wait for Settle; the order of records does not matter. It is not safe for
// concurrent use.
type Attribution struct {
	// Misdated are flows that only a wrong clock can have dated: they are more than a day from all others, and
	// few. Their connections count, their times do not. It is set by Settle.
	Misdated uint64

	inv     *Inventory
	origin  *origin
	eras    eras
	history *history
	met     met
	waiting map[edge.Key]*waiting
	count   int      // sightings that wait
	nodes   []string // by the number in a sighting; the first has no name
	numbers map[string]uint32
}

// waiting are records of the same ends.
type waiting struct {
	seen  []sighting
	names edge.Set
}

type sighting struct {
	id    uint64
	at    int64
	node  uint32
	since uint32 // seconds before at, rounded up, where the record begins
}

// Attribute returns an Attribution that keeps edges within the limits, and an Overflow of the others.
func (inv *Inventory) Attribute(limits edge.Limits) *Attribution {
	return &Attribution{
		inv: inv, origin: newOrigin(inv), eras: eras{limits: limits}, history: inv.history.clone(), met: met{},
		waiting: map[edge.Key]*waiting{}, nodes: []string{""}, numbers: map[string]uint32{"": 0},
	}
}

// Add folds a record, or keeps what Settle needs of it.
func (a *Attribution) Add(r *flows.Record) error {
	first, last := covered(r)
	now := a.eras.at(last)
	if now == nil {
		a.eras.dropped++
		return nil
	}
	now.flows++
	a.origin.node(r.Node)
	from, to := a.met.find(&r.Source), a.met.find(&r.Destination)
	k := a.inv.key(r, a.end(&r.Source, from, r), a.end(&r.Destination, to, r))
	if err := a.learn(&r.Source, from, k.From, first, last); err != nil {
		return err
	}
	if err := a.learn(&r.Destination, to, k.To, first, last); err != nil {
		return err
	}
	if !open(k.From) && !open(k.To) {
		return now.fold.Add(k, Observe(r)) // a sample never fails
	}
	if a.count == maxWaiting || len(a.waiting) == maxKinds {
		a.join()
	}
	w := a.waiting[k]
	if w == nil {
		w = &waiting{}
		a.waiting[k] = w
	}
	for _, name := range r.Destination.Names {
		w.names.Add(name)
	}
	w.seen = append(w.seen, a.sighting(r, first, last))
	a.count++
	return nil
}

// end is that of the pod that was met, or else what the inventory makes of it.
func (a *Attribution) end(e *flows.Endpoint, p *metPod, r *flows.Record) edge.Endpoint {
	if p != nil {
		return p.end
	}
	return a.inv.end(e, r)
}

// learn takes a record's word for who had an address. The error is that of tenant.
func (a *Attribution) learn(e *flows.Endpoint, p *metPod, end edge.Endpoint, first, last int64) error {
	switch {
	case e.Pod == "":
		return nil
	case p == nil:
		return a.meet(e, end, first, last)
	}
	a.origin.pod(e.Namespace, p.strange)
	p.address.saw(p.tenant, first, last)
	return nil
}

// meet does so for a pod that is not known by its names in the record.
func (a *Attribution) meet(e *flows.Endpoint, end edge.Endpoint, first, last int64) error {
	strange := !a.inv.HasNamespace(e.Namespace)
	a.origin.pod(e.Namespace, strange)
	if !a.inv.tells(e, end) {
		return nil
	}
	pod := types.NamespacedName{Namespace: e.Namespace, Name: e.Pod}
	t, at, err := a.history.tenant(e.Addr, pod, end)
	if err != nil {
		return err
	}
	at.saw(t, first, last)
	if a.inv.learner == nil { // which learns of each record
		_, byAny := a.inv.owner[pod]
		a.met.keep(e, &metPod{byAny: byAny, end: end, address: at, tenant: t, strange: strange})
	}
	return nil
}

// tells reports whether an end with a pod's name tells whose its address was.
func (inv *Inventory) tells(e *flows.Endpoint, end edge.Endpoint) bool {
	return e.Pod != "" && e.Addr.IsValid() && end.IsPod() && inv.services.byAddr[e.Addr] == nil
}

// learn takes the record's word for who had an address. The error is that of saw.
func (inv *Inventory) learn(h *history, e *flows.Endpoint, end edge.Endpoint, r *flows.Record) error {
	if !inv.tells(e, end) {
		return nil
	}
	first, last := covered(r)
	return h.saw(e.Addr, types.NamespacedName{Namespace: e.Namespace, Name: e.Pod}, end, first, last)
}

// covered is the time that a record is of.
func covered(r *flows.Record) (first, last int64) {
	last = nanos(r.Time)
	if r.Since.IsZero() {
		return last, last
	}
	return min(last, nanos(r.Since)), last
}

func (a *Attribution) sighting(r *flows.Record, first, last int64) sighting {
	seconds := (uint64(last-first) + uint64(time.Second) - 1) / uint64(time.Second)
	return sighting{id: r.ID, at: last, node: a.node(r.Node), since: uint32(min(seconds, math.MaxUint32))}
}

func (s sighting) first() int64 { return later(s.at, -time.Duration(s.since)*time.Second) }

func (a *Attribution) node(name string) uint32 {
	n, ok := a.numbers[name]
	if !ok && len(a.nodes) == maxNodes {
		return 0 // the node without a name
	}
	if !ok {
		n = uint32(len(a.nodes))
		a.nodes, a.numbers[name] = append(a.nodes, name), n
	}
	return n
}

func (a *Attribution) observation(w *waiting, s sighting) edge.Observation {
	return edge.Observation{ID: s.id, Time: time.Unix(0, s.at).UTC(), Node: a.nodes[s.node], Name: w.names}
}

// join makes room: what waits one by one then waits together.
func (a *Attribution) join() {
	for k, w := range a.waiting {
		for _, s := range w.seen {
			then, o := a.eras.at(s.at), a.observation(w, s)
			_ = then.rest.Add(k, o) // a sample never fails
			o.Time = time.Unix(0, s.first()).UTC()
			_ = then.rest.Add(k, o) // the same flow: only the time that is covered grows
		}
	}
	a.waiting, a.count = map[edge.Key]*waiting{}, 0
}

// Settle folds all that waits and returns all edges. It is called when the input was read, and once. It is
// an error if the flows are of another cluster than the inventory.
func (a *Attribution) Settle() (*edge.Fold, error) {
	if err := a.origin.check(); err != nil {
		return nil, err
	}
	a.Misdated = a.eras.judge()
	for k, w := range a.waiting {
		for _, s := range w.seen {
			then := a.eras.at(s.at)
			_ = then.fold.Add(a.attribute(k, then, s.first(), s.at), a.observation(w, s)) // a sample never fails
		}
	}
	for _, then := range a.eras.list {
		for _, e := range then.rest.Edges() {
			_ = then.fold.Put(a.attribute(e.Key, then, nanos(e.First), nanos(e.Last)), &e)
		}
		for _, o := range then.rest.Overflows() {
			then.fold.PutOverflow(&o)
		}
	}
	return a.eras.merge(), nil
}

// attribute does so by the times from first to last. Those of a wrong clock say nothing: then an address is
// only a pod's that had it at all times.
func (a *Attribution) attribute(k edge.Key, then *era, first, last int64) edge.Key {
	if then.wrong {
		first, last = never, forever
	}
	return a.history.attribute(k, first, last)
}

// attribute gives the ends that are only addresses to the pods that had them from first to last.
func (h *history) attribute(k edge.Key, first, last int64) edge.Key {
	for _, e := range []*edge.Endpoint{&k.From, &k.To} {
		if !open(*e) {
			continue
		}
		if end, known := h.at(e.Addr, first, last); known {
			*e = end
		}
	}
	return k
}

// open reports whether an end is an address of which only time can tell whose it was.
func open(e edge.Endpoint) bool {
	switch e.Entity {
	case EntityHost, EntityRemoteNode, EntityAPIServer, EntityService, EntityIngress, entityHealth, flows.EntityAggregated, flows.EntityOtherCluster:
		return false
	}
	return !e.IsPod()
}
