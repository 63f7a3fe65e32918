// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"net/netip"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
)

// Kinds that a Tracker is told of between inventories, as resources of the API.
const (
	Pods     = "pods"
	Services = "services"
	Jobs     = "jobs" // a pod's owner can be gone before the next inventory
)

const (
	// patience is how long a watch may be silent before records do not wait for it any more. API servers send a
	// bookmark every minute.
	patience = 3 * time.Minute
	// maxGaps bounds the times at which nobody watched. Beyond it the oldest two are joined with what is between them.
	maxGaps = 1024
	// maxServed bounds the addresses that were Services', and maxOwners the Jobs that are remembered.
	maxServed = 1 << 16
	maxOwners = 1 << 16
)

// watched is what watching the API server tells.
type watched struct {
	beats  map[string]int64 // kinds of objects that have addresses → until when everything of them was told
	gaps   []span           // when something can have been missed, in order; what is after the beats is one as well
	pods   map[types.UID][]netip.Addr
	served map[netip.Addr]int64          // addresses that were Services' → when last
	owners map[edge.Endpoint]remembrance // Job → what made it
	near   map[netip.Prefix]bool         // networks of pods' addresses; nil: to be made anew
}

type remembrance struct {
	end edge.Endpoint
	at  int64
}

func newWatched() watched {
	return watched{
		beats: map[string]int64{Pods: never, Services: never}, gaps: []span{}, pods: map[types.UID][]netip.Addr{},
		served: map[netip.Addr]int64{}, owners: map[edge.Endpoint]remembrance{},
	}
}

// See takes an object as a watch gives it now; gone: as it was before it was deleted. Kinds that do not matter are ignored.
func (t *Tracker) See(object any, gone bool, now time.Time) {
	at := nanos(now)
	switch o := object.(type) {
	case *corev1.Pod:
		t.seePod(o, gone, at, nil)
		t.Beat(Pods, now)
	case *corev1.Service:
		t.seeService(o, at)
		t.Beat(Services, now)
	case *batchv1.Job:
		t.seeJob(o, at)
	}
}

// Begin takes all objects of a kind, with which a watch begins. What came and went since it last told anything is not known.
func (t *Tracker) Begin(kind string, objects []any, now time.Time) {
	at := nanos(now)
	last, matters := t.watched.beats[kind]
	if matters {
		if last != never {
			t.figures.Restarts++
		}
		t.watched.miss(span{last, at})
		t.watched.beats[kind] = at
	}
	if kind == Pods {
		t.beginPods(objects, last, at)
		return
	}
	for _, o := range objects {
		t.See(o, false, now)
	}
}

// beginPods takes all pods. Those that are not among them any more were there until the watch last told anything.
func (t *Tracker) beginPods(objects []any, last, at int64) {
	before, homes := t.watched.pods, t.history.homes()
	t.watched.pods = map[types.UID][]netip.Addr{}
	for _, o := range objects {
		if p, is := o.(*corev1.Pod); is {
			t.seePod(p, false, at, homes)
			delete(before, p.UID)
		}
	}
	for uid, addresses := range before {
		for _, addr := range addresses {
			t.history.outlived(addr, uid, last)
		}
		if len(addresses) == 0 { // it can have had one that it had not told yet
			t.watched.miss(span{later(last, -reporting), last})
		}
	}
}

// Beat says that the watch of a kind has told everything until now.
func (t *Tracker) Beat(kind string, now time.Time) {
	if last, matters := t.watched.beats[kind]; matters && last != never {
		t.watched.beats[kind] = max(last, nanos(now))
	}
}

// seePod takes a pod. homes are until when pods that are new to the watch had addresses; nil: they had none.
func (t *Tracker) seePod(p *corev1.Pod, gone bool, at int64, homes map[types.UID]int64) {
	if p.Spec.HostNetwork {
		return
	}
	before, known := t.watched.pods[p.UID]
	if known {
		homes = t.history.home(p.UID, before)
	}
	l, addresses := lifeOf(p, at), addressesOf(p)
	for _, addr := range addresses {
		if t.history.tenants >= maxTenants {
			t.history.address(addr)
			t.figures.Forgotten++
			continue
		}
		t.history.extend(addr, &tenant{pod: nameOf(p), end: t.inv.madeBy(p)}, l, homes)
	}
	t.watched.near = nil
	if len(addresses) == 0 && p.Spec.NodeName != "" {
		t.watched.miss(l.untold(gone, at))
	}
	if gone || len(t.watched.pods) >= maxTenants {
		delete(t.watched.pods, p.UID)
		return
	}
	t.watched.pods[p.UID] = addresses
}

// untold is when a pod that has not told its address can have had one. One that runs tells it in time, and one that is gone
// can go on running without its object.
func (l *life) untold(gone bool, at int64) span {
	switch {
	case l.until != forever:
		return span{l.from, l.until}
	case gone && l.alive:
		return span{max(l.from, later(at, -reporting)), later(at, reporting)}
	}
	return span{forever, never}
}

func (t *Tracker) seeService(o *corev1.Service, at int64) {
	for _, addr := range serviceAddresses(o) {
		t.serve(addr, at)
	}
}

// serve notes that an address was a Service's.
func (t *Tracker) serve(addr netip.Addr, at int64) {
	if _, known := t.watched.served[addr]; !known && len(t.watched.served) >= maxServed {
		t.figures.Forgotten++
		return
	}
	t.watched.served[addr] = max(t.watched.served[addr], at)
}

func (t *Tracker) seeJob(o *batchv1.Job, at int64) {
	owner := metav1.GetControllerOf(o)
	if owner == nil {
		return
	}
	self := edge.Endpoint{Kind: "Job", Namespace: o.Namespace, Name: o.Name}
	if _, known := t.watched.owners[self]; !known && len(t.watched.owners) >= maxOwners {
		t.figures.Forgotten++
		return
	}
	t.watched.owners[self] = remembrance{edge.Endpoint{Kind: owner.Kind, Namespace: o.Namespace, Name: owner.Name}, at}
}

// followServices goes on to the next inventory: an address that a Service has no more was one's.
func (t *Tracker) followServices(next *Inventory) {
	if t.inv == nil {
		return
	}
	for addr := range t.inv.services.byAddr {
		if next.services.byAddr[addr] == nil {
			t.serve(addr, next.taken)
		}
	}
}

// forget lets go of what ended before a time.
func (w *watched) forget(before int64) {
	w.near = nil
	for addr, at := range w.served {
		if at < before {
			delete(w.served, addr)
		}
	}
	for job, o := range w.owners {
		if o.at < before {
			delete(w.owners, job)
		}
	}
}

// miss notes a time at which something can have been missed.
func (w *watched) miss(s span) {
	if s.from > s.until {
		return
	}
	w.gaps, _ = union(w.gaps, s, 0)
	if len(w.gaps) > maxGaps {
		w.gaps[1].from = w.gaps[0].from
		w.gaps = slices.Delete(w.gaps, 0, 1)
	}
}

// until is until when everything was told; never: nothing was.
func (w *watched) until() int64 {
	until := int64(forever)
	for _, at := range w.beats {
		until = min(until, at)
	}
	return until
}

// complete reports whether nothing can have been missed at any time from first to last.
func (w *watched) complete(first, last int64) bool {
	first, last = later(first, -skew), later(last, skew)
	return last <= w.until() && !slices.ContainsFunc(w.gaps, func(g span) bool { return g.from <= last && first <= g.until })
}

// resolve gives what watching tells to the ends of a record from first to last that are still addresses.
func (t *Tracker) resolve(e edge.Endpoint, first, last int64) edge.Endpoint {
	if o, known := t.watched.owners[e]; known {
		return o.end
	}
	if !open(e) || e.Entity == EntityPodAddress {
		return e
	}
	if _, was := t.watched.served[e.Addr]; was {
		return edge.Endpoint{Addr: e.Addr, Entity: EntityService}
	}
	if !t.watched.complete(first, last) && t.podLike(e.Addr) {
		return edge.Endpoint{Addr: e.Addr, Entity: EntityPodAddress}
	}
	return e
}

// Reconcile leaves out the edges of what nobody watched if the same connection was seen while somebody did: then the address
// is not a pod's, and they add nothing. So it is for each start: what came shortly before it is read again.
func (t *Tracker) Reconcile(edges []edge.Edge) []edge.Edge {
	known := map[edge.Key]bool{}
	for i := range edges {
		if k := edges[i].Key; !t.unwatched(k.From) && !t.unwatched(k.To) && (open(k.From) || open(k.To)) {
			known[bare(k)] = true
		}
	}
	return slices.DeleteFunc(edges, func(e edge.Edge) bool {
		return (t.unwatched(e.From) || t.unwatched(e.To)) && known[bare(e.Key)]
	})
}

// unwatched reports whether an end is only taken for a pod's because nobody watched.
func (t *Tracker) unwatched(e edge.Endpoint) bool {
	if e.Entity != EntityPodAddress {
		return false
	}
	_, known := t.history.at(e.Addr, never, forever)
	return !known
}

// bare is an edge without what observers call its addresses.
func bare(k edge.Key) edge.Key {
	if open(k.From) {
		k.From.Entity = ""
	}
	if open(k.To) {
		k.To.Entity = ""
	}
	return k
}

// shared is the other range that addresses of pods are taken from, beside the private ones (RFC 6598).
var shared = netip.MustParsePrefix("100.64.0.0/10")

// podLike reports whether an address that is not known to have been a pod's looks as if it could be: it is private, or
// near to one that was.
func (t *Tracker) podLike(addr netip.Addr) bool {
	if addr.IsPrivate() || shared.Contains(addr) {
		return true
	}
	if t.watched.near == nil {
		t.watched.near = map[netip.Prefix]bool{}
		for a := range t.history.addresses {
			t.watched.near[network(a)] = true
		}
	}
	return t.watched.near[network(addr)]
}

// network is the smallest one that nodes are given as a rule.
func network(addr netip.Addr) netip.Prefix {
	bits := 24
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits) // valid for every address
	return p
}
