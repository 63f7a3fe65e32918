// SPDX-License-Identifier: Apache-2.0

package reach

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Change is a connection that is not what it was.
type Change struct {
	From, To End
	// Old and New are what might pass and what may.
	Old, New netpol.PortSet
	// Appeared are the workloads among From and To that there are only now, Gone those that there are no more.
	Appeared, Gone []End
	// Causes are the rules and policies that decide about one port of what is added, and one of what is
	// removed: those of the old objects first.
	Causes []Cause
}

// Added is what may pass only now.
func (c *Change) Added() netpol.PortSet { return c.New.Subtract(c.Old) }

// Removed is what may not pass any more.
func (c *Change) Removed() netpol.PortSet { return c.Old.Subtract(c.New) }

// Cause is a part of a policy that decides about a connection.
type Cause struct {
	// New says on which side the object stands: the new one or the old one.
	New bool
	// Effect is what it does to the connection.
	Effect Effect
	Origin netpol.Origin
}

// Effect is what a policy does to a connection, as a verb.
type Effect string

// The effects. What isolates denies what no rule allows; what passes leaves it to the next tier.
const (
	Allows   Effect = "allows"
	Denies   Effect = "denies"
	Isolates Effect = "isolates"
	Passes   Effect = "passes"
)

// Diff is what becomes possible and impossible between two clusters, in order of From and To: nil when all
// that may pass in one may pass in the other. Addresses are cut along the ranges of both, and pods that do not
// exist yet are those of both.
func Diff(old, new *Cluster) ([]Change, error) {
	all, rows, err := compare(old, new, true)
	if err != nil {
		return nil, err
	}
	ends, found := all.name(rows)
	var changes []Change
	for i := range found {
		f := &found[i]
		c := Change{From: ends[f.fromEnd], To: ends[f.toEnd], Old: *f.old, New: *f.new, Causes: all.causes(f)}
		for _, n := range slices.Compact([]int{f.from, f.to}) {
			switch {
			case n >= len(all.workloads):
			case !old.has(all.workloads[n]):
				c.Appeared = append(c.Appeared, all.workloads[n])
			case !new.has(all.workloads[n]):
				c.Gone = append(c.Gone, all.workloads[n])
			}
		}
		changes = append(changes, c)
	}
	return changes, nil
}

// causes finds who decides about one port of each thing that changes.
func (c *comparison) causes(f *finding) (all []Cause) {
	for _, ports := range []netpol.PortSet{f.added(), f.removed()} {
		if ports.Empty() {
			continue
		}
		protocol, port := one(ports)
		before := c.old.judge(f, c.elsewhere(), protocol, port, f.old.Contains(protocol, port))
		after := c.new.judge(f, c.elsewhere(), protocol, port, f.new.Contains(protocol, port))
		for _, cause := range deciders(before, after) {
			if !slices.Contains(all, cause) {
				all = append(all, cause)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Cause) int {
		switch {
		case a.New == b.New:
			return 0
		case a.New:
			return 1
		}
		return -1
	})
	return all
}

// one is a member of the set, of a protocol that has ports if there is one.
func one(ports netpol.PortSet) (corev1.Protocol, uint16) {
	ranges := ports.Ranges()
	if len(ranges) == 0 {
		return "ICMP", 0
	}
	return ranges[0].Protocol, min(max(ranges[0].From, 1), ranges[0].To)
}

// has says whether the cluster has a workload.
func (c *Cluster) has(e End) bool {
	_, ok := slices.BinarySearchFunc(c.members, e, func(m member, e End) int { return m.end.Compare(e) })
	return ok
}

// judge is the verdict between points of the two ends that comes out as it should: nil when there are none.
// An address that is not known is judged at elsewhere.
func (w *world) judge(f *finding, elsewhere netip.Addr, protocol corev1.Protocol, port uint16, allowed bool) *netpol.Verdict {
	for _, p := range w.ends[f.from] {
		for _, q := range w.ends[f.to] {
			c := netpol.Connection{From: p.asSource, To: q.asDestination, Protocol: protocol, Port: port}
			for _, peer := range []*netpol.Peer{&c.From, &c.To} {
				if *peer == (netpol.Peer{}) {
					peer.Addr = elsewhere
				}
			}
			if v := w.snapshot.Evaluate(c); canMeet(p, q) && v.Allowed == allowed {
				return &v
			}
		}
	}
	return nil
}

// deciders are the causes of two verdicts. Where both are known, one of them denies in some direction, and
// that is what counts.
func deciders(before, after *netpol.Verdict) (all []Cause) {
	for _, d := range []netpol.Direction{netpol.Egress, netpol.Ingress} {
		b, a := decision(before, d), decision(after, d)
		if before == nil || after == nil || b.Allowed != a.Allowed {
			all = append(append(all, causesOf(b, false)...), causesOf(a, true)...)
		}
	}
	return all
}

// decision is that of one side; of no verdict it names nothing.
func decision(v *netpol.Verdict, d netpol.Direction) *netpol.Decision {
	switch {
	case v == nil:
		return &netpol.Decision{}
	case d == netpol.Egress:
		return &v.Egress
	}
	return &v.Ingress
}

// causesOf are the parts of policies that a decision names.
func causesOf(d *netpol.Decision, isNew bool) (all []Cause) {
	if d.Passed != nil {
		all = append(all, Cause{isNew, Passes, *d.Passed})
	}
	if d.Rule != nil {
		effect := Denies
		if d.Allowed {
			effect = Allows
		}
		all = append(all, Cause{isNew, effect, *d.Rule})
	}
	for _, o := range d.By {
		all = append(all, Cause{isNew, Isolates, *o})
	}
	return all
}
