// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"slices"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

const (
	maxExamples = 10 // of what a foreign policy opens
	maxRules    = 20 // of a foreign policy that are listed
)

// opening compares the judged policies with what a foreign one allows by itself. Isolation adds up and rules do, so what
// both do together follows from the two.
type opening struct {
	*Foreign
	judged, alone *judge
	before, after []resident // the same workloads, as the judged policies and as the foreign one govern them
	observed      map[pair][]netpol.PortRange
	outside       map[way][]netpol.PortRange
}

// weigh finds what the policy of alone opens.
func (f *Foreign) weigh(judged, alone *judge, before []resident, connections []evidence.Connection) {
	seen := make([]*evidence.Connection, len(connections))
	for i := range connections {
		seen[i] = &connections[i]
	}
	o := opening{f, judged, alone, before, alone.residents(), alone.observed(seen), alone.observedOutside(seen)}
	for i := range o.after {
		if !o.after[i].judged {
			continue
		}
		for _, d := range []netpol.Direction{netpol.Ingress, netpol.Egress} {
			if o.governs(i, d) {
				o.everything(i, d)
				o.workloads(i, d)
				o.addresses(i, d)
			}
		}
	}
	future, ranges := alone.future(), alone.ranges(seen)
	f.Future, f.Ranges = future[:min(len(future), maxRules)], ranges[:min(len(ranges), maxRules)]
}

// governs says whether the foreign policy has rules for a workload.
func (o *opening) governs(i int, d netpol.Direction) bool {
	return slices.ContainsFunc(o.after[i].points, func(p point) bool { return p.sides[d] != nil && !p.sides[d].isEmpty() })
}

func (s *side) isEmpty() bool { return len(s.far)+len(s.near) == 0 }

// everything notes a workload that the judged policies restrict and the foreign one does not.
func (o *opening) everything(i int, d netpol.Direction) {
	for k := range o.after[i].points {
		before, after := o.before[i].points[k], o.after[i].points[k]
		if before.sides[d] == nil || before.sides[d].isOpen(before.Endpoint) || after.sides[d] == nil || !after.sides[d].isOpen(after.Endpoint) {
			continue
		}
		if name := o.after[i].String(); d == netpol.Ingress {
			o.AllIn = append(o.AllIn, name)
		} else {
			o.AllOut = append(o.AllOut, name)
		}
		return
	}
}

// isOpen says whether rules let everyone use all ports: with no peers at all, or with all addresses of a family.
func (s *side) isOpen(destination netpol.Endpoint) bool {
	var all netpol.PortSet
	for _, r := range s.far {
		everyone := len(r.compiled.Peers) == 0 || slices.ContainsFunc(r.compiled.Peers, func(m netpol.PeerMatch) bool {
			return m.Block.IsValid() && m.Block.Bits() == 0 && len(m.Except) == 0
		})
		if everyone {
			all = all.Union(r.compiled.PortsAt(destination))
		}
	}
	return all.All()
}

// workloads counts what is opened between a workload and others.
func (o *opening) workloads(i int, d netpol.Direction) {
	for k := range o.after {
		from, to := k, i
		if d == netpol.Egress {
			from, to = i, k
		} else if o.after[k].judged && o.governs(k, netpol.Egress) {
			continue // it is counted from there
		}
		seen := netpol.Ports(o.observed[pair{o.after[from].end, o.after[to].end}]...)
		o.add(o.after[from].Endpoint, o.after[to].Endpoint, o.opened(from, to).Subtract(seen))
	}
}

func (o *opening) add(from, to edge.Endpoint, opened netpol.PortSet) {
	ranges := opened.Ranges()
	if len(ranges) == 0 {
		return
	}
	o.Pairs++
	o.Count += len(ranges)
	for _, r := range ranges[:min(len(ranges), maxExamples-len(o.Examples))] {
		o.Examples = append(o.Examples, Unseen{from.String(), to.String(), r.Protocol, portsOf(r)})
	}
}

// opened is what both let through between two workloads and the judged policies do not.
func (o *opening) opened(from, to int) (more netpol.PortSet) {
	var already netpol.PortSet
	for a := range o.before[from].points {
		for b := range o.before[to].points {
			src, dst := &o.before[from].points[a], &o.before[to].points[b]
			egress, ingress := src.sides[netpol.Egress], dst.sides[netpol.Ingress]
			if egress == nil && ingress == nil {
				continue // open already: that is said of each end
			}
			out, in := egress.lets(dst.Endpoint, dst.Endpoint), ingress.lets(src.Endpoint, dst.Endpoint)
			already = already.Union(out.Intersect(in))
			src, dst = &o.after[from].points[a], &o.after[to].points[b]
			out = beside(egress, out, src.sides[netpol.Egress], dst.Endpoint, dst.Endpoint)
			in = beside(ingress, in, dst.sides[netpol.Ingress], src.Endpoint, dst.Endpoint)
			more = more.Union(out.Intersect(in))
		}
	}
	return more.Subtract(already)
}

// beside is what one side allows with the foreign policy: what it allows without, where nothing isolates it now, the
// foreign policy's rules, and both where both do.
func beside(before *side, allowed netpol.PortSet, foreign *side, peer, destination netpol.Endpoint) netpol.PortSet {
	switch {
	case foreign == nil:
		return allowed
	case before == nil:
		return foreign.lets(peer, destination)
	}
	return allowed.Union(foreign.lets(peer, destination))
}

// addresses counts what is opened between a workload and the addresses that the foreign policy names one at a time.
func (o *opening) addresses(i int, d netpol.Direction) {
	before, after := &o.before[i], &o.after[i]
	if slices.ContainsFunc(before.points, func(p point) bool { return p.sides[d] == nil }) {
		return // open already
	}
	for _, addr := range after.named(d) {
		opened := o.alone.letsOutside(after.end, d, addr).Subtract(o.judged.letsOutside(before.end, d, addr))
		opened = opened.Subtract(netpol.Ports(o.outside[way{after.end, d, addr}]...))
		from, to := after.Endpoint, edge.Endpoint{Addr: addr}
		if d == netpol.Ingress {
			from, to = to, from
		}
		o.add(from, to, opened)
	}
}
