// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
)

// Bounds of what is believed about an address.
const (
	// skew is how far the clocks of nodes and API server may be apart. This near to where a pod's time at an
	// address begins or ends, nobody is said to have it: another pod, which nothing tells of, may have been next.
	skew = time.Second
	// tick is the precision of times in Kubernetes objects: fractions are cut off.
	tick = time.Second
	// silence is the longest time between two proofs of a pod that is taken for one stay. After a longer one a
	// pod of the same name may have been made anew, and another one had the address in between.
	silence = 5 * time.Minute
	// maxTenants bounds the memory: a day of 10,000 pod starts an hour.
	maxTenants = 1 << 18
)

// history is which pods had which address, and when. Proofs are kept as a union of intervals, so that
// neither their order nor their number matters.
type history struct {
	addresses map[netip.Addr]*address
	tenants   int
	ranges    []netip.Prefix // whose addresses only pods have
	fresh     []netip.Addr   // addresses since the last look at this; nil: nobody looks
}

type address struct {
	tenants  []*tenant
	timeline []segment // nil: to be made anew
}

// tenant is a pod that had the address at some time.
type tenant struct {
	pod    types.NamespacedName
	end    edge.Endpoint // its workload
	proofs []span        // when flows named the pod with the address; in order, more than silence apart
	seen   []span        // within each of these it had the address at some time; in order, apart
	lives  []*life       // by Pod objects of this name; empty: the pod is not in the inventory
}

// span is a closed interval of times in nanoseconds since 1970.
type span struct{ from, until int64 }

const (
	never   = math.MinInt64
	forever = math.MaxInt64
)

// life is what a Pod object says.
type life struct {
	uid   types.UID // of the object
	from  int64     // it cannot have had the address before; never: not known
	sure  int64     // it had the address from here on; forever: not known
	until int64     // it cannot have had the address after; forever: not known
	alive bool      // it still had the address when the inventory was taken
	taken int64     // when that was; forever: not known
}

func newHistory() *history { return &history{addresses: map[netip.Addr]*address{}} }

// clone copies what Pod objects say.
func (h *history) clone() *history {
	c := &history{addresses: make(map[netip.Addr]*address, len(h.addresses)), tenants: h.tenants, ranges: h.ranges}
	for addr, a := range h.addresses {
		own := &address{tenants: make([]*tenant, len(a.tenants))}
		for i, t := range a.tenants {
			own.tenants[i] = &tenant{pod: t.pod, end: t.end, lives: slices.Clone(t.lives)}
		}
		c.addresses[addr] = own
	}
	return c
}

// lived adds what a Pod object says of its address. An address that it has twice is one.
func (h *history) lived(addr netip.Addr, pod types.NamespacedName, end edge.Endpoint, l *life) {
	a := h.address(addr)
	if !slices.ContainsFunc(a.tenants, func(t *tenant) bool { return t.pod == pod }) {
		a.tenants = append(a.tenants, &tenant{pod: pod, end: end, lives: []*life{l}})
		h.tenants++
	}
}

// address returns what is known of an address, which is a pod's from now on.
func (h *history) address(addr netip.Addr) *address {
	a := h.addresses[addr]
	if a == nil {
		a = &address{}
		h.addresses[addr] = a
		if h.fresh != nil {
			h.fresh = append(h.fresh, addr)
		}
	}
	return a
}

// settle makes all timelines, so that a history that does not change can be read concurrently.
func (h *history) settle() {
	for _, a := range h.addresses {
		a.timeline = timeline(a.tenants)
	}
}

// saw adds the proof that a pod had the address at some time from first to last.
func (h *history) saw(addr netip.Addr, pod types.NamespacedName, end edge.Endpoint, first, last int64) error {
	t, a, err := h.tenant(addr, pod, end)
	if err != nil {
		return err
	}
	a.saw(t, first, last)
	return nil
}

// saw adds the proof that a tenant had the address at some time from first to last.
func (a *address) saw(t *tenant, first, last int64) {
	changed := false
	if first == last {
		t.proofs, changed = union(t.proofs, span{first, last}, silence)
	} else {
		t.seen, changed = union(t.seen, span{first, last}, 0)
	}
	if changed {
		a.timeline = nil
	}
}

func (h *history) tenant(addr netip.Addr, pod types.NamespacedName, end edge.Endpoint) (*tenant, *address, error) {
	a := h.address(addr)
	for i := len(a.tenants) - 1; i >= 0; i-- { // flows come roughly in order: the last one is the likely one
		t := a.tenants[i]
		if t.pod == pod {
			if end != t.end && end.Compare(t.end) < 0 { // observers disagree on the workload: any order gives the same
				t.end, a.timeline = end, nil
			}
			return t, a, nil
		}
	}
	if h.tenants >= maxTenants {
		return nil, nil, fmt.Errorf("more than %d pods had addresses: read fewer flows (--since, --last)", maxTenants)
	}
	h.tenants++
	t := &tenant{pod: pod, end: end}
	a.tenants, a.timeline = append(a.tenants, t), nil
	return t, a, nil
}

// union adds an interval to those of a list, which are in order and more than gap apart. It reports
// whether that changed the list.
func union(list []span, s span, gap time.Duration) ([]span, bool) {
	if n := len(list); n > 0 && list[n-1].from <= s.from && s.from <= later(list[n-1].until, gap) { // the usual cases, as time goes on
		grows := s.until > list[n-1].until
		list[n-1].until = max(list[n-1].until, s.until)
		return list, grows
	}
	i, _ := slices.BinarySearchFunc(list, later(s.from, -gap), func(l span, from int64) int { return cmp.Compare(l.until, from) })
	j := i
	for j < len(list) && list[j].from <= later(s.until, gap) {
		j++
	}
	if i == j {
		return slices.Insert(list, i, s), true
	}
	joined := span{min(s.from, list[i].from), max(s.until, list[j-1].until)}
	if j == i+1 && joined == list[i] {
		return list, false
	}
	list[i] = joined
	return slices.Delete(list, i+1, j), true
}

// at says whose the address was at all times from first to last. known is false when it was never
// known to be a pod's. Without a single owner the end is the address, as EntityPodAddress.
func (h *history) at(addr netip.Addr, first, last int64) (end edge.Endpoint, known bool) {
	a := h.addresses[addr]
	if a == nil && slices.ContainsFunc(h.ranges, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return edge.Endpoint{Addr: addr, Entity: EntityPodAddress}, true
	}
	if a == nil {
		return edge.Endpoint{}, false
	}
	if a.timeline == nil {
		a.timeline = timeline(a.tenants)
	}
	if t := owner(a.timeline, first, last); t >= 0 {
		return a.tenants[t].end, true
	}
	return edge.Endpoint{Addr: addr, Entity: EntityPodAddress}, true
}

// lifeOf reads a pod's times.
func lifeOf(p *corev1.Pod, taken int64) *life {
	l := &life{uid: p.UID, from: never, sure: forever, until: forever, taken: taken}
	if start := p.Status.StartTime; start != nil {
		l.from, l.sure = nanos(start.Time), nanos(start.Time)
	} else if !p.CreationTimestamp.IsZero() {
		l.from = nanos(p.CreationTimestamp.Time)
	}
	finished := int64(never)
	started := int64(forever)
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if run := c.State.Running; run != nil {
			started = min(started, nanos(run.StartedAt.Time))
		}
		if end := c.State.Terminated; end != nil {
			started = min(started, nanos(end.StartedAt.Time))
			finished = max(finished, nanos(end.FinishedAt.Time))
		}
	}
	if ready := networkReady(p); ready != nil { // the network was there before any container
		started = min(started, nanos(ready.LastTransitionTime.Time))
	}
	if started != forever {
		l.sure = max(started, l.from)
	}
	l.sure = later(l.sure, tick)
	switch {
	case p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed:
		l.alive = true
	case finished != never:
		l.until = later(max(finished, l.from), tick)
	default:
		l.sure = forever // it ended, and nothing says when
	}
	return l
}

func networkReady(p *corev1.Pod) *corev1.PodCondition {
	for i, c := range p.Status.Conditions {
		if c.Type == corev1.PodReadyToStartContainers && c.Status == corev1.ConditionTrue {
			return &p.Status.Conditions[i]
		}
	}
	return nil
}

// nanos is a time in nanoseconds since 1970; what does not fit is the first or last time that does.
func nanos(t time.Time) int64 {
	switch year := t.Year(); {
	case year < 1678:
		return never + 1
	case year > 2261:
		return forever - 1
	}
	return t.UnixNano()
}

// later adds without overflow; never and forever stay what they are.
func later(at int64, d time.Duration) int64 {
	switch {
	case at == never || at == forever:
		return at
	case d > 0 && at > forever-int64(d):
		return forever
	case d < 0 && at < never-int64(d):
		return never
	}
	return at + int64(d)
}
