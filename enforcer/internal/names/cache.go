// SPDX-License-Identifier: Apache-2.0

package names

import (
	"cmp"
	"container/heap"
	"net/netip"
	"slices"
	"time"
)

// How many names are kept. A name of two addresses counts twice.
const (
	MaxNode    = 8192 // in all: some megabytes at the very most
	maxPod     = 512
	maxAddress = 8 // of a pod: names of one address
)

// Names are kept for at least shortest, for programs keep addresses longer than they were told to, and at most longest.
const (
	shortest = time.Minute
	longest  = time.Hour
)

// Cache knows, for each pod, by which names it found addresses. What one pod was told says nothing about another's
// connections. A pod that has too many names loses those that end first, and so does, when there are too many in all,
// the pod with the most. Pods are told apart by a number: their interface.
type Cache struct {
	pods    map[uint32]*pod
	held    int
	evicted uint64
}

type pod struct {
	byAddress map[netip.Addr][]*entry
	byEnd     ends
	until     time.Time // when the pod was gone; zero: it is there
}

type entry struct {
	addr  netip.Addr
	name  string
	end   time.Time
	place int // in the pod's heap
}

// Add notes what a pod was told now.
func (c *Cache) Add(number uint32, a Answer, now time.Time) {
	p := c.pods[number]
	if p == nil || !p.until.IsZero() { // another has its number
		c.forget(number)
		if c.pods == nil {
			c.pods = make(map[uint32]*pod)
		}
		p = &pod{byAddress: make(map[netip.Addr][]*entry)}
		c.pods[number] = p
	}
	end := now.Add(min(max(a.TTL, shortest), longest))
	for _, addr := range a.Addrs {
		c.add(p, addr, a.Name, end, now)
	}
}

func (c *Cache) add(p *pod, addr netip.Addr, name string, end, now time.Time) {
	same := p.byAddress[addr]
	if i := slices.IndexFunc(same, func(e *entry) bool { return e.name == name }); i >= 0 {
		if end.After(same[i].end) {
			same[i].end = end
			heap.Fix(&p.byEnd, same[i].place)
		}
		return
	}
	switch {
	case len(same) >= maxAddress:
		c.evict(p, slices.MinFunc(same, (*entry).compare), now)
	case len(p.byEnd) >= maxPod:
		c.evict(p, p.byEnd[0], now)
	case c.held >= MaxNode:
		largest := c.largest()
		c.evict(largest, largest.byEnd[0], now)
	}
	e := &entry{addr: addr, name: name, end: end}
	p.byAddress[addr] = append(p.byAddress[addr], e)
	heap.Push(&p.byEnd, e)
	c.held++
}

// largest is the pod with the most names; there is one.
func (c *Cache) largest() *pod {
	var largest *pod
	for _, p := range c.pods {
		if largest == nil || len(p.byEnd) > len(largest.byEnd) {
			largest = p
		}
	}
	return largest
}

// evict makes room; a name that has ended is no loss.
func (c *Cache) evict(p *pod, e *entry, now time.Time) {
	if e.end.After(now) {
		c.evicted++
	}
	c.remove(p, e)
}

func (c *Cache) remove(p *pod, e *entry) {
	heap.Remove(&p.byEnd, e.place)
	left := slices.DeleteFunc(p.byAddress[e.addr], func(o *entry) bool { return o == e })
	if p.byAddress[e.addr] = left; len(left) == 0 {
		delete(p.byAddress, e.addr)
	}
	c.held--
}

// Names are those that a pod had for an address at a time, sorted; nil: none is known.
func (c *Cache) Names(number uint32, addr netip.Addr, when time.Time) (names []string) {
	p := c.pods[number]
	if p == nil || !p.until.IsZero() && when.After(p.until) {
		return nil
	}
	for _, e := range p.byAddress[addr] {
		if e.end.After(when) {
			names = append(names, e.name)
		}
	}
	slices.Sort(names)
	return names
}

// Gone says that a pod is not there any more: whoever has its number next begins with no names.
func (c *Cache) Gone(number uint32, now time.Time) {
	if p := c.pods[number]; p != nil && p.until.IsZero() {
		p.until = now
	}
}

// Tidy drops names that had ended by then, and pods that were gone.
func (c *Cache) Tidy(then time.Time) {
	for number, p := range c.pods {
		for len(p.byEnd) > 0 && !p.byEnd[0].end.After(then) {
			c.remove(p, p.byEnd[0])
		}
		if len(p.byEnd) == 0 || !p.until.IsZero() && p.until.Before(then) {
			c.forget(number)
		}
	}
}

func (c *Cache) forget(number uint32) {
	if p := c.pods[number]; p != nil {
		c.held -= len(p.byEnd)
		delete(c.pods, number)
	}
}

// Counts returns how many names are held, and how many had to make room before their end.
func (c *Cache) Counts() (held int, evicted uint64) { return c.held, c.evicted }

func (e *entry) compare(o *entry) int {
	return cmp.Or(e.end.Compare(o.end), cmp.Compare(e.name, o.name))
}

// ends are a pod's entries; the first is the one that ends first. See container/heap.
type ends []*entry

func (h ends) Len() int           { return len(h) }
func (h ends) Less(i, j int) bool { return h[i].end.Before(h[j].end) }
func (h ends) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *ends) Push(x any) {
	e := x.(*entry)
	e.place = len(*h)
	*h = append(*h, e)
}

func (h *ends) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return e
}
