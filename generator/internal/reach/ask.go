// SPDX-License-Identifier: Apache-2.0

package reach

import "github.com/bulkhead-dev/bulkhead/policies/netpol"

// asker asks a world what may pass, and remembers the answers by what they depend on. It is for one
// goroutine.
type asker struct {
	*world // nil: nothing may pass
	known  map[string]*netpol.PortSet
	key    []byte
}

// nothing is what may pass where an end does not exist.
var nothing = new(netpol.PortSet)

func newAsker(w *world) *asker { return &asker{world: w, known: map[string]*netpol.PortSet{}} }

// between is what may pass from any point of one end to any of the other.
func (a *asker) between(from, to int) *netpol.PortSet {
	if a.world == nil {
		return nothing
	}
	found := nothing
	for _, p := range a.ends[from] {
		for _, q := range a.ends[to] {
			if !canMeet(p, q) {
				continue
			}
			if ports := a.ask(p, q); found == nothing {
				found = ports
			} else if ports != found {
				union := found.Union(*ports)
				found = &union
			}
		}
	}
	return found
}

// canMeet says whether policies decide about connections of the two: one of them is a pod that exists or both are
// pods, and their addresses are of one family.
func canMeet(from, to *point) bool {
	a, b := from.source.Addr, to.destination.Addr
	decided := from.identity && to.identity || from.identity && !from.isWitness || to.identity && !to.isWitness
	return decided && (!a.IsValid() || !b.IsValid() || a.Is4() == b.Is4())
}

func (a *asker) ask(from, to *point) *netpol.PortSet {
	a.key = from.matched(a.key[:0], netpol.Egress, to)
	a.key = to.matched(a.key, netpol.Ingress, from)
	a.key = append(a.key, to.ports...)
	ports, ok := a.known[string(a.key)]
	if !ok {
		set := a.snapshot.Allowed(from.source, to.destination)
		ports = &set
		a.known[string(a.key)] = ports
	}
	return ports
}

// delta is what may pass from one end to another, before and after.
type delta struct{ old, new *netpol.PortSet }

func (d delta) isChange() bool { return d.old != d.new && !d.old.Equal(*d.new) }

func (d delta) equal(o delta) bool {
	return (d.old == o.old || d.old.Equal(*o.old)) && (d.new == o.new || d.new.Equal(*o.new))
}

func (d delta) added() netpol.PortSet   { return d.new.Subtract(*d.old) }
func (d delta) removed() netpol.PortSet { return d.old.Subtract(*d.new) }

// within says whether all that changes here changes there too.
func (d delta) within(o delta) bool {
	return d.added().Subtract(o.added()).Empty() && d.removed().Subtract(o.removed()).Empty()
}
